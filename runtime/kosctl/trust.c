/* SPDX-License-Identifier: Apache-2.0
 *
 * kosctl trust, untrust, policy: who may do what, and why.
 */
#include <stdlib.h>

#include "kosctl/kosctl.h"
#include "trust/policy.h"

static int trust_list(struct kosctl *ctl)
{
    static const char *const headings[] = { "NAME", "ID", "SCORE", "PINNED", NULL };
    json_t *reply, *entry;
    size_t i;
    int status = kosctl_ask(ctl, "org.kos.node.TrustList", NULL, &reply);
    if (status >= 0)
        return status;
    struct table *table = columns_new(headings);
    json_array_foreach(json_object_get(reply, "entries"), i, entry) {
        char score[32];
        snprintf(score, sizeof score, "%.3g", json_number_value(json_object_get(entry, "score")));
        table_row(table, str(entry, "name"), str(entry, "id"), score, json_is_true(json_object_get(entry, "pinned")) ? "yes" : "not met yet", NULL);
    }
    table_print(table);
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_trust(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply, *parameters;
    double score;
    int c = kosctl_option(ctl, argc, argv, NULL);
    if (c == -2)
        return EXIT_DONE;
    if (c != -1)
        return EXIT_USAGE;
    if (optind == argc)
        return trust_list(ctl);
    if (argc - optind > 2)
        return kosctl_usage(ctl, "trust takes whom, and a score");
    parameters = json_pack("{s:s}", "who", argv[optind]);
    if (argc - optind == 2) {
        if (!kosctl_number(ctl, "the score", argv[optind + 1], 0, 10, &score))
            return json_decref(parameters), EXIT_USAGE;
        json_object_set_new(parameters, "score", json_real(score));
    }
    int status = kosctl_ask(ctl, "org.kos.node.TrustSet", parameters, &reply);
    if (status >= 0)
        return status;
    printf("%s%s%s has a score of %.3g\n", str(reply, "name"), *str(reply, "name") ? ", " : "", str(reply, "id"), json_number_value(json_object_get(reply, "score")));
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_untrust(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply;
    int status = kosctl_plain(ctl, argc, argv, 1, "whom");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.node.TrustUnset", json_pack("{s:s}", "who", argv[optind]), &reply);
    if (status >= 0)
        return status;
    printf("%s has no score of yours any more\n", str(reply, "id"));
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_policy_check(struct kosctl *ctl, int argc, char **argv)
{
    struct kos_error error;
    int status = kosctl_plain(ctl, argc, argv, 1, "the manifest");
    if (status >= 0)
        return status;
    char *path = realpath(argv[optind], NULL);
    int32_t r = kos_policy_check(&ctl->plain.env, path ? path : argv[optind], &error);
    free(path);
    if (r < 0)
        return kosctl_fail(ctl, &error);
    if (ctl->json)
        kosctl_print_json(json_pack("{s:s, s:b}", "file", argv[optind], "ok", 1));
    else
        printf("%s: in order\n", argv[optind]);
    return EXIT_DONE;
}

int cmd_policy_explain(struct kosctl *ctl, int argc, char **argv)
{
    static const struct option own[] = {
        { "from", required_argument, NULL, 'f' }, { "type", required_argument, NULL, 't' }, { "size", required_argument, NULL, 's' },
        { "agent", required_argument, NULL, 'a' }, { "outbound", no_argument, NULL, 'o' }, { 0 },
    };
    json_t *parameters = json_object(), *reply;
    int64_t size;
    int c;
    while ((c = kosctl_option(ctl, argc, argv, own)) >= 0) {
        if (c == 'f' || c == 't' || c == 'a')
            json_object_set_new(parameters, c == 'f' ? "from" : c == 't' ? "type" : "agent", json_string(optarg));
        if (c == 's' && kos_conf_size(optarg, &size) < 0)
            c = (kosctl_usage(ctl, "--size: \"%s\" is not a size: write 512, 64K, 1M", optarg), '?');
        else if (c == 's')
            json_object_set_new(parameters, "size", json_integer(size));
        if (c == 'o')
            json_object_set_new(parameters, "outbound", json_true());
        if (c == '?')
            return json_decref(parameters), EXIT_USAGE;
    }
    if (c == -2)
        return json_decref(parameters), EXIT_DONE;
    if (!kosctl_words(ctl, argc, 0, ""))
        return json_decref(parameters), EXIT_USAGE;
    if (!json_object_get(parameters, "from") || !json_object_get(parameters, "type")) {
        json_decref(parameters);
        return kosctl_usage(ctl, "policy explain needs --from and --type");
    }
    int status = kosctl_ask(ctl, "org.kos.node.PolicyExplain", parameters, &reply);
    if (status >= 0)
        return status;
    bool allowed = json_is_true(json_object_get(reply, "allowed"));
    printf("%s\nrule: %s\n%s\n", allowed ? "allowed" : str(reply, "error"), str(reply, "rule"), str(reply, "text"));
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_policy_reload(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply;
    int status = kosctl_plain(ctl, argc, argv, 0, "");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.node.PolicyReload", NULL, &reply);
    if (status >= 0)
        return status;
    puts("the policy is loaded");
    json_decref(reply);
    return EXIT_DONE;
}
