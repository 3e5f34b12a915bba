/* SPDX-License-Identifier: Apache-2.0
 * Private to the program kosctl: what its commands share. */
#ifndef KOS_KOSCTL_KOSCTL_H
#define KOS_KOSCTL_KOSCTL_H

#include <getopt.h>
#include <jansson.h>
#include "conf/instance.h"
#include "control/control.h"
#include "core/plain.h"

/* kosctl(1), "Exit status". */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_KOSD = 3, EXIT_DEADLINE = 4 };

struct kosctl {
    const char *dir;               /* -i; NULL: the environment's or the system's */
    bool json;
    const char *command;           /* as typed, for messages: "task send" */
    const char *synopsis;
    struct kos_plain plain;
    struct kos_instance instance;
    struct kos_client *client;
};

struct command {
    const char *name;              /* "task send" */
    const char *synopsis;
    const char *summary;
    int (*run)(struct kosctl *ctl, int argc, char **argv);
};

/* Every command parses its words through this: own long options besides -i, --json and --help. Returns as getopt_long;
 * -2: help was printed; '?': a usage error was said. */
int kosctl_option(struct kosctl *ctl, int argc, char **argv, const struct option *own);
/* Says it and returns EXIT_USAGE. */
int kosctl_usage(struct kosctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Error name and sentence on stderr, with --json a document on stdout; returns the exit status that belongs to it. */
int kosctl_fail(struct kosctl *ctl, const struct kos_error *error);
/* For a command without options of its own, with `count` words: -1 to go on, else the exit status to return. */
int kosctl_plain(struct kosctl *ctl, int argc, char **argv, int count, const char *what);
/* Exactly `count` words must be left; says what is missing. True when so. */
bool kosctl_words(struct kosctl *ctl, int argc, int count, const char *what);

/* Instance and control socket. */
int32_t kosctl_instance(struct kosctl *ctl, struct kos_error *ret_error);
int kosctl_open(struct kosctl *ctl);                /* EXIT_DONE, or said and EXIT_* */
/* One call; on failure says so. parameters stolen. */
int kosctl_call(struct kosctl *ctl, const char *method, json_t *parameters, uint64_t timeout_ms, json_t **ret_reply);
/* The usual: open, call, and with --json print the reply and be done (returns -1 when the caller shall print). */
int kosctl_ask(struct kosctl *ctl, const char *method, json_t *parameters, json_t **ret_reply);

/* Printing */
void kosctl_print_json(json_t *document);           /* stolen; indented on a terminal, one line else */
bool kosctl_colour(int fd);                         /* a terminal, and NO_COLOR unset */
/* Columns of strings; the last is NULL. Widths by content. Control characters are escaped: names come from others. */
struct table;
struct table *columns_new(const char *const *headings);
void table_row(struct table *table, ...) __attribute__((sentinel)); /* const char *, as many as headings, then NULL */
void table_print(struct table *table);              /* and frees */
const char *str(json_t *object, const char *name);  /* "" when absent */
const char *since(int64_t ms, char buf[32]);        /* "3 min" */
char *escaped(const char *text);                    /* malloc'ed, fit for a terminal */
/* "30s", "5m"...: milliseconds, or a usage error said and false. */
bool kosctl_duration(struct kosctl *ctl, const char *option, const char *text, int64_t *ret_ms);
bool kosctl_number(struct kosctl *ctl, const char *option, const char *text, double min, double max, double *ret_number);

int cmd_init(struct kosctl *ctl, int argc, char **argv);
int cmd_status(struct kosctl *ctl, int argc, char **argv);
int cmd_id(struct kosctl *ctl, int argc, char **argv);
int cmd_peers(struct kosctl *ctl, int argc, char **argv);
int cmd_watch(struct kosctl *ctl, int argc, char **argv);
int cmd_connect(struct kosctl *ctl, int argc, char **argv);
int cmd_disconnect(struct kosctl *ctl, int argc, char **argv);
int cmd_trust(struct kosctl *ctl, int argc, char **argv);
int cmd_untrust(struct kosctl *ctl, int argc, char **argv);
int cmd_agent_add(struct kosctl *ctl, int argc, char **argv);
int cmd_agent_list(struct kosctl *ctl, int argc, char **argv);
int cmd_agent_remove(struct kosctl *ctl, int argc, char **argv);
int cmd_task_send(struct kosctl *ctl, int argc, char **argv);
int cmd_task_list(struct kosctl *ctl, int argc, char **argv);
int cmd_task_show(struct kosctl *ctl, int argc, char **argv);
int cmd_task_wait(struct kosctl *ctl, int argc, char **argv);
int cmd_task_cancel(struct kosctl *ctl, int argc, char **argv);
int cmd_announce(struct kosctl *ctl, int argc, char **argv);
int cmd_policy_check(struct kosctl *ctl, int argc, char **argv);
int cmd_policy_explain(struct kosctl *ctl, int argc, char **argv);
int cmd_policy_reload(struct kosctl *ctl, int argc, char **argv);
int cmd_plugin_list(struct kosctl *ctl, int argc, char **argv);
int cmd_plugin_info(struct kosctl *ctl, int argc, char **argv);
int cmd_plugin_reload(struct kosctl *ctl, int argc, char **argv);
int cmd_store_check(struct kosctl *ctl, int argc, char **argv);
int cmd_message_sign(struct kosctl *ctl, int argc, char **argv);
int cmd_message_verify(struct kosctl *ctl, int argc, char **argv);

#endif
