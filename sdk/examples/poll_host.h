/* SPDX-License-Identifier: Apache-2.0
 *
 * A host small enough to read, for unit tests of plugins: one plugin, poll(2), state in memory. It keeps the rules that
 * kosd keeps (never a call into the plugin inside a call of the plugin, nothing after `stopped`), so a plugin that
 * works here lives by the same contract there. It grants every right.
 */
#ifndef KOS_EXAMPLES_POLL_HOST_H
#define KOS_EXAMPLES_POLL_HOST_H

#include <kos/handler.h>
#include <kos/plugin.h>

struct poll_host;

/* What a test wants to see. Any may be NULL. Called when the plugin makes the call, with borrowed arguments. */
struct poll_host_hooks {
    const void *(*feature)(void *arg, const char *name);
    void (*log)(void *arg, int32_t level, const char *text);
    void (*complete)(void *arg, uint64_t op, int32_t status, struct kos_bytes result);
    void (*send)(void *arg, const struct kos_draft *draft);                      /* at commit */
    void (*verdict)(void *arg, uint64_t message, int32_t verdict, int32_t error, const char *text);  /* at commit */
    const char *directory;  /* kos_host.directory */
    const char *(*secret)(void *arg, const char *name);  /* NULL: there is none of that name */
};

/* Calls init with the declared defaults and `settings` over them ("links=2", NULL-terminated; NULL: none). NULL when a
 * setting or init fails, with the reason. */
struct poll_host *poll_host_new(const struct kos_plugin *plugin, const char *const *settings,
                                const struct poll_host_hooks *hooks, void *arg, struct kos_error *ret_error);
void *poll_host_self(struct poll_host *host);
void *poll_host_arg(const struct kos_host *host);       /* from within tables that `feature` returned */
const struct kos_host *poll_host_table(struct poll_host *host);
void poll_host_start(struct poll_host *host);
/* Runs what is due; waits up to wait_ms for something when nothing is. False: nothing happened. */
bool poll_host_run(struct poll_host *host, int wait_ms);
/* Answers what the plugin asked of a table that `feature` returned: kos_plugin.completed, when it runs next. */
void poll_host_complete(struct poll_host *host, uint64_t op, int32_t status, struct kos_bytes result);
/* stop, then runs until `stopped`; false when that did not come in 5 s. */
bool poll_host_stop(struct poll_host *host);
/* fini. What the plugin left watched, timed or open is counted in *ret_left (may be NULL). */
void poll_host_free(struct poll_host *host, uint32_t *ret_left);

#endif
