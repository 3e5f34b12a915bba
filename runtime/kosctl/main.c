/* SPDX-License-Identifier: Apache-2.0
 *
 * kosctl: the table of its commands, and what they share of words, errors and the socket.
 */
#include <stdlib.h>
#include <unistd.h>

#include "core/buf.h"
#include "kosctl/kosctl.h"

static const struct command commands[] = {
    { "init", "init --name NAME [--role ROLE,...] [--listen ADDRESS]... [--algorithm ed25519|p256] [--passphrase-file FILE]", "make an instance: keys, configuration, policy", cmd_init },
    { "status", "status", "how the node is", cmd_status },
    { "id", "id [--did-document | --log]", "who the node is", cmd_id },
    { "peers", "peers", "whom the node knows and how they are connected", cmd_peers },
    { "watch", "watch", "tell what happens, until interrupted", cmd_watch },
    { "connect", "connect ADDRESS [--expect ID] [--timeout TIME]", "connect to a node and stay connected", cmd_connect },
    { "disconnect", "disconnect PEER", "end the connection and do not dial again", cmd_disconnect },
    { "trust", "trust [WHO [SCORE]]", "give a node or agent a score from 0 to 10 (default 8), or list them", cmd_trust },
    { "untrust", "untrust WHO", "take the score back", cmd_untrust },
    { "agent add", "agent add NAME --skill SKILL... (--exec CMD | --stdio CMD) [--trust-required N] [--concurrency N] [--output-max SIZE]", "register an agent", cmd_agent_add },
    { "agent list", "agent list", "the agents of this node", cmd_agent_list },
    { "agent remove", "agent remove NAME", "cancel its tasks and retire its identity", cmd_agent_remove },
    { "task send", "task send ADDRESS [--input TEXT | --input @FILE]... [--trust N] [--deadline TIME] [--detach]", "have an agent do something; its answer goes to stdout", cmd_task_send },
    { "task list", "task list", "tasks sent and received", cmd_task_list },
    { "task show", "task show ID", "all that is known of a task", cmd_task_show },
    { "task wait", "task wait ID [--from BYTES]", "follow a task to its end; its answer goes to stdout", cmd_task_wait },
    { "task cancel", "task cancel ID", "cancel a task", cmd_task_cancel },
    { "announce", "announce TEXT", "tell all connected peers", cmd_announce },
    { "policy check", "policy check FILE", "read a manifest and say what is wrong", cmd_policy_check },
    { "policy explain", "policy explain --from PEER --type TYPE [--size BYTES] [--agent NAME] [--outbound]", "which rule decides, and how", cmd_policy_explain },
    { "policy reload", "policy reload", "read the manifests anew", cmd_policy_reload },
    { "plugin list", "plugin list", "the plugins at work", cmd_plugin_list },
    { "plugin reload", "plugin reload NAME", "replace an isolated plugin by its file as it is now; the rest of the node works on", cmd_plugin_reload },
    { "plugin info", "plugin info FILE", "what a plugin says of itself, without starting it", cmd_plugin_info },
    { "store check", "store check [--repair]", "prove the store of an instance sound, while no kosd uses it", cmd_store_check },
    { "message sign", "message sign FILE --key DIR [--passphrase-file FILE]", "sign a message (JSON) with the node's key; works without kosd", cmd_message_sign },
    { "message verify", "message verify FILE [--log FILE]", "verify a signed message; works without kosd", cmd_message_verify },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void help(FILE *to)
{
    fputs("Usage: kosctl [-i DIR] [--json] COMMAND ...\n\n", to);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-15s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "  -i, --instance DIR   the instance (else $KOS_INSTANCE, else the system's)\n"
          "      --json           one JSON document instead of text\n"
          "  -h, --help           help; after a command, its own\n"
          "  -V, --version        the version\n\n"
          "Exit status: 0 done, 1 failed or refused, 2 usage, 3 no kosd reachable, 4 a deadline passed. See kosctl(1).\n", to);
}

int kosctl_usage(struct kosctl *ctl, const char *format, ...)
{
    va_list args;
    fputs("kosctl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (ctl->synopsis)
        fprintf(stderr, "\nusage: kosctl %s\n", ctl->synopsis);
    else
        fputs("\nsee kosctl --help\n", stderr);
    return EXIT_USAGE;
}

int kosctl_fail(struct kosctl *ctl, const struct kos_error *error)
{
    char *text = escaped(error->text);
    if (ctl->json)
        kosctl_print_json(json_pack("{s:s, s:s, s:b}", "error", kos_error_name(error->code), "text", error->text, "retry", kos_error_retry(error->code)));
    fprintf(stderr, "kosctl: %s%s%s: %s\n", kosctl_colour(2) ? "\033[31m" : "", kos_error_name(error->code), kosctl_colour(2) ? "\033[0m" : "", text);
    free(text);
    return error->code == KOS_E_TIMEOUT ? EXIT_DEADLINE : EXIT_FAILED;
}

int kosctl_option(struct kosctl *ctl, int argc, char **argv, const struct option *own)
{
    static const struct option common[] = {
        { "instance", required_argument, NULL, 'i' }, { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' },
    };
    struct option all[24] = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        all[n++] = common[i];
    for (; own && own->name && n < 23; own++)
        all[n++] = *own;
    for (;;) {
        int c = getopt_long(argc, argv, ":i:h", all, NULL);
        switch (c) {
        case 'i': ctl->dir = optarg; continue;
        case 'j': ctl->json = true; continue;
        case 'h': printf("usage: kosctl [-i DIR] [--json] %s\n", ctl->synopsis); return -2;
        case ':': kosctl_usage(ctl, "%s needs a value", argv[optind - 1]); return '?';
        case '?': kosctl_usage(ctl, "%s: there is no such option", argv[optind - 1]); return '?';
        default: return c;
        }
    }
}

bool kosctl_words(struct kosctl *ctl, int argc, int count, const char *what)
{
    if (argc - optind == count)
        return true;
    if (argc - optind < count)
        kosctl_usage(ctl, "%s: %s is missing", ctl->command, what);
    else
        kosctl_usage(ctl, "%s: there are %d words too many", ctl->command, argc - optind - count);
    return false;
}

int kosctl_plain(struct kosctl *ctl, int argc, char **argv, int count, const char *what)
{
    int c = kosctl_option(ctl, argc, argv, NULL);
    if (c == -2)
        return EXIT_DONE;
    return c == -1 && kosctl_words(ctl, argc, count, what) ? -1 : EXIT_USAGE;
}

int32_t kosctl_instance(struct kosctl *ctl, struct kos_error *ret_error)
{
    return ctl->instance.conf ? KOS_OK : kos_instance_init(ctl->dir, &ctl->instance, ret_error);
}

int kosctl_open(struct kosctl *ctl)
{
    struct kos_error error;
    if (ctl->client)
        return EXIT_DONE;
    int32_t r = kosctl_instance(ctl, &error);
    if (r == KOS_OK)
        r = kos_client_open(ctl->instance.socket, &ctl->client, &error);
    if (r == KOS_OK)
        return EXIT_DONE;
    int status = kosctl_fail(ctl, &error);
    return r == KOS_E_UNREACHABLE ? EXIT_NO_KOSD : status;
}

int kosctl_call(struct kosctl *ctl, const char *method, json_t *parameters, uint64_t timeout_ms, json_t **ret_reply)
{
    struct kos_error error;
    int status = kosctl_open(ctl);
    if (status != EXIT_DONE) {
        json_decref(parameters);
        return status;
    }
    int32_t r = kos_client_call(ctl->client, method, parameters, timeout_ms, ret_reply, &error);
    return r < 0 ? kosctl_fail(ctl, &error) : EXIT_DONE;
}

int kosctl_ask(struct kosctl *ctl, const char *method, json_t *parameters, json_t **ret_reply)
{
    int status = kosctl_call(ctl, method, parameters, 60000, ret_reply);
    if (status != EXIT_DONE)
        return status;
    if (!ctl->json)
        return -1;
    kosctl_print_json(*ret_reply);
    return EXIT_DONE;
}

bool kosctl_duration(struct kosctl *ctl, const char *option, const char *text, int64_t *ret_ms)
{
    if (kos_conf_duration(text, ret_ms) == KOS_OK && *ret_ms > 0)
        return true;
    kosctl_usage(ctl, "%s: \"%s\" is not a time: write 30s, 5m, 2h", option, text);
    return false;
}

bool kosctl_number(struct kosctl *ctl, const char *option, const char *text, double min, double max, double *ret_number)
{
    char *end;
    double number = strtod(text, &end);
    if (*text && !*end && number >= min && number <= max) {
        *ret_number = number;
        return true;
    }
    kosctl_usage(ctl, "%s: \"%s\" is not a number from %g to %g", option, text, min, max);
    return false;
}

/* The command whose one or two words stand at argv[at]; *ret_words of them. */
static const struct command *find(int argc, char **argv, int at, int *ret_words)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *space = strchr(commands[i].name, ' ');
        if (!space && strcmp(commands[i].name, argv[at]) == 0) {
            *ret_words = 1;
            return &commands[i];
        }
        size_t len = space ? (size_t)(space - commands[i].name) : 0;
        if (space && at + 1 < argc && strlen(argv[at]) == len && strncmp(commands[i].name, argv[at], len) == 0 && strcmp(space + 1, argv[at + 1]) == 0) {
            *ret_words = 2;
            return &commands[i];
        }
    }
    return NULL;
}

static int unknown(struct kosctl *ctl, int argc, char **argv, int at)
{
    size_t len = strlen(argv[at]);
    bool group = false;
    for (size_t i = 0; i < COMMANDS; i++)
        group |= strncmp(commands[i].name, argv[at], len) == 0 && commands[i].name[len] == ' ';
    if (!group)
        return kosctl_usage(ctl, "there is no command \"%s\"", argv[at]);
    FILE *to = at + 1 < argc && strcmp(argv[at + 1], "--help") == 0 ? stdout : stderr;
    fprintf(to, "usage:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        if (strncmp(commands[i].name, argv[at], len) == 0 && commands[i].name[len] == ' ')
            fprintf(to, "  kosctl %s\n", commands[i].synopsis);
    return to == stdout ? EXIT_DONE : EXIT_USAGE;
}

/* Options before the command. Returns the index of the command, or -1 with *ret_status. */
static int before_command(struct kosctl *ctl, int argc, char **argv, int *ret_status)
{
    int at = 1;
    *ret_status = EXIT_DONE;
    for (; at < argc && argv[at][0] == '-'; at++) {
        const char *word = argv[at];
        if (strcmp(word, "--json") == 0) {
            ctl->json = true;
        } else if (strcmp(word, "-i") == 0 || strcmp(word, "--instance") == 0) {
            if (++at >= argc) {
                *ret_status = kosctl_usage(ctl, "%s needs a directory", word);
                return -1;
            }
            ctl->dir = argv[at];
        } else if (strncmp(word, "--instance=", 11) == 0) {
            ctl->dir = word + 11;
        } else if (strncmp(word, "-i", 2) == 0 && word[2]) {
            ctl->dir = word + 2;
        } else if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
            help(stdout);
            return -1;
        } else if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
            puts("kosctl " KOS_VERSION);
            return -1;
        } else {
            *ret_status = kosctl_usage(ctl, "%s: there is no such option", word);
            return -1;
        }
    }
    if (at < argc && strcmp(argv[at], "help") != 0)
        return at;
    help(at < argc ? stdout : stderr);
    *ret_status = at < argc ? EXIT_DONE : EXIT_USAGE;
    return -1;
}

int main(int argc, char **argv)
{
    struct kosctl ctl = { 0 };
    int status, words;
    int at = before_command(&ctl, argc, argv, &status);
    if (at < 0)
        return status;
    const struct command *command = find(argc, argv, at, &words);
    if (!command)
        return unknown(&ctl, argc, argv, at);
    ctl.command = command->name;
    ctl.synopsis = command->synopsis;
    kos_plain_init(&ctl.plain);
    optind = at + words;
    /* getopt starts after the command's words; optind is where a command finds its own. */
    status = command->run(&ctl, argc, argv);
    kos_client_close(ctl.client);
    kos_instance_fini(&ctl.instance);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "kosctl: io_error: the output could not be written\n");
        return EXIT_FAILED;
    }
    return status;
}
