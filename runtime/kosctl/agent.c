/* SPDX-License-Identifier: Apache-2.0
 *
 * kosctl agent, plugin: what serves on this node.
 */
#include <stdlib.h>
#include <time.h>

#include "core/buf.h"
#include "host/host.h"
#include "kosctl/kosctl.h"

static int agent_add_options(struct kosctl *ctl, int argc, char **argv, json_t *parameters)
{
    static const struct option own[] = {
        { "skill", required_argument, NULL, 's' }, { "exec", required_argument, NULL, 'x' }, { "stdio", required_argument, NULL, 'd' },
        { "trust-required", required_argument, NULL, 't' }, { "concurrency", required_argument, NULL, 'c' }, { "output-max", required_argument, NULL, 'm' }, { 0 },
    };
    json_t *skills = json_object_get(parameters, "skills");
    double number;
    int64_t size;
    int c;
    while ((c = kosctl_option(ctl, argc, argv, own)) >= 0)
        switch (c) {
        case 's': json_array_append_new(skills, json_string(optarg)); break;
        case 'x':
        case 'd':
            if (json_object_get(parameters, "command"))
                return kosctl_usage(ctl, "an agent has one command: give --exec or --stdio, once");
            json_object_set_new(parameters, "executor", json_string(c == 'x' ? "exec" : "stdio"));
            json_object_set_new(parameters, "command", json_string(optarg));
            break;
        case 't':
            if (!kosctl_number(ctl, "--trust-required", optarg, 0, 10, &number))
                return EXIT_USAGE;
            json_object_set_new(parameters, "trust_required", json_real(number));
            break;
        case 'c':
            if (!kosctl_number(ctl, "--concurrency", optarg, 1, 256, &number))
                return EXIT_USAGE;
            json_object_set_new(parameters, "concurrency", json_integer((json_int_t)number));
            break;
        case 'm':
            if (kos_conf_size(optarg, &size) < 0 || size <= 0)
                return kosctl_usage(ctl, "--output-max: \"%s\" is not a size: write 512K, 64M", optarg);
            json_object_set_new(parameters, "output_max_bytes", json_integer(size));
            break;
        default: return EXIT_USAGE;
        }
    if (c == -2)
        return EXIT_DONE;
    if (!kosctl_words(ctl, argc, 1, "the agent's name"))
        return EXIT_USAGE;
    if (!json_object_get(parameters, "command"))
        return kosctl_usage(ctl, "agent add needs --exec or --stdio");
    if (json_array_size(skills) == 0)
        return kosctl_usage(ctl, "agent add needs at least one --skill");
    json_object_set_new(parameters, "name", json_string(argv[optind]));
    return -1;
}

int cmd_agent_add(struct kosctl *ctl, int argc, char **argv)
{
    json_t *parameters = json_pack("{s:[]}", "skills"), *reply;
    int status = agent_add_options(ctl, argc, argv, parameters);
    if (status >= 0)
        return json_decref(parameters), status;
    if ((status = kosctl_ask(ctl, "org.kos.node.AgentAdd", parameters, &reply)) >= 0)
        return status;
    printf("%s\n", str(reply, "address"));
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_agent_list(struct kosctl *ctl, int argc, char **argv)
{
    static const char *const headings[] = { "NAME", "ADDRESS", "SKILLS", "KIND", "RUNNING", "DONE", "FAILED", "TRUST", NULL };
    json_t *reply, *agent, *skill;
    size_t i, j;
    int status = kosctl_plain(ctl, argc, argv, 0, "");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.node.AgentList", NULL, &reply);
    if (status >= 0)
        return status;
    struct table *table = columns_new(headings);
    json_array_foreach(json_object_get(reply, "agents"), i, agent) {
        struct kos_buf skills;
        char running[48], done[32], failed[32], trust[32];
        kos_buf_init(&skills, 65536);
        json_array_foreach(json_object_get(agent, "skills"), j, skill)
            kos_buf_printf(&skills, "%s%s", j ? "," : "", json_string_value(skill));
        kos_buf_append(&skills, kos_bytes("", 1));
        snprintf(running, sizeof running, "%lld/%lld", (long long)json_integer_value(json_object_get(agent, "running")), (long long)json_integer_value(json_object_get(agent, "concurrency")));
        snprintf(done, sizeof done, "%lld", (long long)json_integer_value(json_object_get(agent, "done")));
        snprintf(failed, sizeof failed, "%lld", (long long)json_integer_value(json_object_get(agent, "failed")));
        snprintf(trust, sizeof trust, "%.3g", json_number_value(json_object_get(agent, "trust_required")));
        table_row(table, str(agent, "name"), str(agent, "address"), (const char *)skills.data, str(agent, "executor"), running, done, failed, trust, NULL);
        kos_buf_fini(&skills);
    }
    table_print(table);
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_agent_remove(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply;
    int status = kosctl_plain(ctl, argc, argv, 1, "the agent's name");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.node.AgentRemove", json_pack("{s:s}", "name", argv[optind]), &reply);
    if (status >= 0)
        return status;
    printf("%s is retired; its log and audit trail stay\n", argv[optind]);
    json_decref(reply);
    return EXIT_DONE;
}

static char *joined(json_t *list)
{
    struct kos_buf text;
    json_t *one;
    size_t i;
    kos_buf_init(&text, 65536);
    json_array_foreach(list, i, one)
        kos_buf_printf(&text, "%s%s", i ? "," : "", json_is_string(one) ? json_string_value(one) : str(one, "name"));
    kos_buf_append(&text, kos_bytes("", 1));
    return (char *)text.data;
}

/* Why cells ended last, and when. */
static void print_causes(json_t *plugins)
{
    json_t *plugin;
    size_t i;
    json_array_foreach(plugins, i, plugin) {
        time_t at = (time_t)(json_integer_value(json_object_get(plugin, "cause_at")) / 1000);
        char when[32];
        struct tm tm;
        if (!at)
            continue;
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&at, &tm));
        char *cause = escaped(str(plugin, "cause"));
        printf("%s: %s\n", when, cause);
        free(cause);
    }
}

int cmd_plugin_list(struct kosctl *ctl, int argc, char **argv)
{
    static const char *const headings[] = { "NAME", "VERSION", "KINDS", "HOSTING", "RIGHTS", "TYPES", "STATE", "PID", "MEMORY", "RESTARTS", NULL };
    json_t *reply, *plugin;
    size_t i;
    bool fell = false;
    int status = kosctl_plain(ctl, argc, argv, 0, "");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.node.PluginList", NULL, &reply);
    if (status >= 0)
        return status;
    struct table *table = columns_new(headings);
    json_array_foreach(json_object_get(reply, "plugins"), i, plugin) {
        char *kinds = joined(json_object_get(plugin, "kinds")), *rights = joined(json_object_get(plugin, "rights")), *types = joined(json_object_get(plugin, "types"));
        bool cell = strcmp(str(plugin, "hosting"), "cell") == 0;
        char pid[24] = "", memory[24] = "", restarts[24] = "";
        if (cell) {
            snprintf(pid, sizeof pid, "%lld", (long long)json_integer_value(json_object_get(plugin, "pid")));
            snprintf(memory, sizeof memory, "%.1fM", json_number_value(json_object_get(plugin, "memory_bytes")) / (1 << 20));
            snprintf(restarts, sizeof restarts, "%lld", (long long)json_integer_value(json_object_get(plugin, "restarts")));
        }
        fell = fell || *str(plugin, "cause");
        table_row(table, str(plugin, "name"), str(plugin, "version"), kinds, str(plugin, "hosting"), rights, types, str(plugin, "state"), pid, memory, restarts, NULL);
        free(kinds);
        free(rights);
        free(types);
    }
    table_print(table);
    if (fell)
        print_causes(json_object_get(reply, "plugins"));
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_plugin_reload(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply;
    int status = kosctl_plain(ctl, argc, argv, 1, "the plugin's name");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.node.PluginReload", json_pack("{s:s}", "name", argv[optind]), &reply);
    if (status >= 0)
        return status;
    printf("plugin %s was reloaded\n", argv[optind]);
    json_decref(reply);
    return EXIT_DONE;
}

static void info_print(json_t *plugin)
{
    json_t *one;
    size_t i;
    char *kinds = joined(json_object_get(plugin, "kinds"));
    printf("%s %s (%s)\n%s\nkinds: %s\n", str(plugin, "name"), str(plugin, "version"), str(plugin, "id"), str(plugin, "summary"), kinds);
    free(kinds);
    json_array_foreach(json_object_get(plugin, "rights"), i, one)
        printf("asks for the right \"%s\": %s\n", str(one, "name"), str(one, "why"));
    json_array_foreach(json_object_get(plugin, "settings"), i, one) {
        json_t *fallback = json_object_get(one, "default");
        char *choices = joined(json_object_get(one, "choices"));
        printf("setting %s (%s%s%s%s%s): %s\n", str(one, "name"), str(one, "type"), *choices ? ": " : "", choices,
               json_is_string(fallback) ? ", default " : ", required", json_is_string(fallback) ? json_string_value(fallback) : "",
               str(one, "summary"));
        free(choices);
    }
}

int cmd_plugin_info(struct kosctl *ctl, int argc, char **argv)
{
    struct kos_error error;
    json_t *description;
    int status = kosctl_plain(ctl, argc, argv, 1, "the plugin's file");
    if (status >= 0)
        return status;
    char *path = realpath(argv[optind], NULL);
    if (!path)
        kos_fail(&error, KOS_E_NOTFOUND, "there is no file %s", argv[optind]);
    int32_t r = path ? kos_plugin_describe(kos_cell_program(NULL), path, NULL, &description, &error) : KOS_E_NOTFOUND;
    free(path);
    if (r < 0)
        return kosctl_fail(ctl, &error);
    if (ctl->json)
        kosctl_print_json(description);
    else {
        info_print(description);
        json_decref(description);
    }
    return EXIT_DONE;
}
