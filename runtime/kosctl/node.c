/* SPDX-License-Identifier: Apache-2.0
 *
 * kosctl status, id, peers, watch, connect, disconnect: the node and whom it knows.
 */
#include <stdlib.h>
#include <time.h>

#include "core/buf.h"
#include "kosctl/kosctl.h"
#include "trust/keys.h"

static void print_counters(json_t *counters)
{
    const char *name;
    json_t *value;
    json_object_foreach(counters, name, value)
        if (json_integer_value(value))
            printf("  %-28s %lld\n", name, (long long)json_integer_value(value));
}

int cmd_status(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply, *value;
    size_t i;
    char buf[32];
    int status = kosctl_plain(ctl, argc, argv, 0, "");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.node.Status", NULL, &reply);
    if (status >= 0)
        return status;
    json_t *node = json_object_get(reply, "status"), *store = json_object_get(node, "store"), *outbox = json_object_get(node, "outbox");
    printf("%s  klp://node.%s\n", str(node, "name"), str(node, "id"));
    printf("kosd %s, process %lld, up for %s\n", str(node, "version"), (long long)json_integer_value(json_object_get(node, "pid")),
           since(json_integer_value(json_object_get(node, "uptime_ms")), buf));
    json_array_foreach(json_object_get(node, "endpoints"), i, value)
        printf("listens on %s%s%s\n", str(value, "address"), *str(value, "error") ? ": not now: " : "", str(value, "error"));
    printf("sessions %lld, agents %lld, store %s\n", (long long)json_integer_value(json_object_get(node, "sessions")),
           (long long)json_integer_value(json_object_get(node, "agents")), str(store, "state"));
    printf("outbox %lld messages, %lld bytes\n", (long long)json_integer_value(json_object_get(outbox, "messages")),
           (long long)json_integer_value(json_object_get(outbox, "bytes")));
    print_counters(json_object_get(node, "counters"));
    json_decref(reply);
    return EXIT_DONE;
}

/* Without a kosd the log on disk tells the same. */
static int id_from_files(struct kosctl *ctl, json_t **ret_reply)
{
    uint8_t *text, *document;
    size_t len, document_len;
    struct kos_error error;
    struct kos_settings settings;
    char *path = kos_format("%s/node.log", ctl->instance.keys_dir);
    int32_t r = kos_file_read_all(&ctl->plain.env, path, KLP_LOG_EVENTS_MAX * KLP_EVENT_MAX, &text, &len);
    if (r < 0) {
        kos_fail(&error, r == KOS_E_NOTFOUND ? KOS_E_UNREACHABLE : r, "no kosd answers on %s, and %s cannot be read: %s", ctl->instance.socket, path, kos_error_text(r));
        free(path);
        kosctl_fail(ctl, &error);
        return EXIT_NO_KOSD;
    }
    free(path);
    struct klp_log *log = klp_log_new();
    r = klp_log_append_text(log, kos_bytes(text, len), &error);
    free(text);
    if (r >= 0)
        r = kos_settings_load(&ctl->plain.env, &ctl->instance, &settings, &error);
    if (r >= 0 && (r = klp_log_did_document(log, &document, &document_len)) < 0)
        kos_fail(&error, r, "the log of this node has no document: %s", kos_error_text(r));
    if (r < 0) {
        klp_log_free(log);
        return kosctl_fail(ctl, &error);
    }
    char id[KLP_ID_TEXT], did[KLP_DID_TEXT], digest[2 * KLP_DIGEST_LEN + 1];
    klp_id_text(klp_log_id(log), id);
    klp_did(klp_log_id(log), did);
    klp_hex(kos_bytes(klp_log_identity(log)->b, KLP_DIGEST_LEN), digest);
    klp_log_text(log, 0, &text, &len);
    *ret_reply = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "id", id, "did", did, "name", settings.name, "digest", digest,
                           "log", json_stringn((char *)text, len), "did_document", json_loadb((char *)document, document_len, 0, NULL));
    free(text);
    free(document);
    kos_settings_fini(&settings);
    klp_log_free(log);
    return EXIT_DONE;
}

int cmd_id(struct kosctl *ctl, int argc, char **argv)
{
    static const struct option own[] = { { "did-document", no_argument, NULL, 'd' }, { "log", no_argument, NULL, 'l' }, { 0 } };
    bool document = false, log = false;
    struct kos_error error;
    json_t *reply;
    int c, status;
    while ((c = kosctl_option(ctl, argc, argv, own)) >= 0) {
        if (c == '?')
            return EXIT_USAGE;
        document |= c == 'd';
        log |= c == 'l';
    }
    if (c == -2)
        return EXIT_DONE;
    if (!kosctl_words(ctl, argc, 0, ""))
        return EXIT_USAGE;
    if (kosctl_instance(ctl, &error) < 0)
        return kosctl_fail(ctl, &error);
    if (kos_client_open(ctl->instance.socket, &ctl->client, &error) == KOS_OK)
        status = kosctl_call(ctl, "org.kos.node.Id", NULL, 60000, &reply);
    else
        status = id_from_files(ctl, &reply);
    if (status != EXIT_DONE)
        return status;
    if (document) {
        kosctl_print_json(json_incref(json_object_get(reply, "did_document")));
    } else if (log) {
        fputs(str(reply, "log"), stdout);
    } else if (ctl->json) {
        json_object_del(reply, "did_document");
        kosctl_print_json(json_incref(reply));
    } else {
        printf("name    %s\nid      %s\naddress klp://node.%s\ndid     %s\ndigest  %s\n", str(reply, "name"), str(reply, "id"), str(reply, "id"), str(reply, "did"), str(reply, "digest"));
    }
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_peers(struct kosctl *ctl, int argc, char **argv)
{
    static const char *const headings[] = { "NAME", "ID", "SCORE", "STATE", "ADDRESS", "PROTOCOL", "WAITING", NULL };
    json_t *reply, *peer;
    size_t i;
    int status = kosctl_plain(ctl, argc, argv, 0, "");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.node.Peers", NULL, &reply);
    if (status >= 0)
        return status;
    struct table *table = columns_new(headings);
    json_array_foreach(json_object_get(reply, "peers"), i, peer) {
        json_t *session = json_array_get(json_object_get(peer, "sessions"), 0);
        char score[32], waiting[32];
        snprintf(score, sizeof score, "%.3g", json_number_value(json_object_get(peer, "score")));
        snprintf(waiting, sizeof waiting, "%lld", (long long)json_integer_value(json_object_get(json_object_get(peer, "outbox"), "messages")));
        table_row(table, str(peer, "name"), str(peer, "id"), score, str(peer, "state"), str(session, "address"), str(session, "protocol"), waiting, NULL);
    }
    table_print(table);
    json_decref(reply);
    return EXIT_DONE;
}

static bool watch_print(void *arg, json_t *event)
{
    struct kosctl *ctl = arg;
    if (ctl->json) {
        char *line = json_dumps(event, JSON_COMPACT);
        puts(line);
        free(line);
    } else {
        time_t at = (time_t)(json_integer_value(json_object_get(event, "at")) / 1000);
        struct tm tm;
        char when[32];
        strftime(when, sizeof when, "%H:%M:%S", localtime_r(&at, &tm));
        char *detail = json_dumps(json_object_get(event, "detail"), JSON_COMPACT);
        printf("%s %s%s%s %s\n", when, kosctl_colour(1) ? "\033[1m" : "", str(event, "event"), kosctl_colour(1) ? "\033[0m" : "", detail ? detail : "");
        free(detail);
    }
    fflush(stdout);
    return !ferror(stdout);
}

int cmd_watch(struct kosctl *ctl, int argc, char **argv)
{
    struct kos_error error;
    int status = kosctl_plain(ctl, argc, argv, 0, "");
    if (status >= 0 || (status = kosctl_open(ctl)) != EXIT_DONE)
        return status;
    if (kos_client_stream(ctl->client, "org.kos.node.Watch", NULL, 0, watch_print, ctl, &error) < 0)
        return kosctl_fail(ctl, &error);
    return EXIT_DONE;
}

int cmd_connect(struct kosctl *ctl, int argc, char **argv)
{
    static const struct option own[] = { { "expect", required_argument, NULL, 'e' }, { "timeout", required_argument, NULL, 't' }, { 0 } };
    json_t *parameters = json_object(), *reply;
    int64_t timeout = 15000;
    int c;
    while ((c = kosctl_option(ctl, argc, argv, own)) >= 0)
        if (c == '?' || (c == 't' && !kosctl_duration(ctl, "--timeout", optarg, &timeout)))
            return json_decref(parameters), EXIT_USAGE;
        else if (c == 'e')
            json_object_set_new(parameters, "expect", json_string(optarg));
    if (c == -2 || !kosctl_words(ctl, argc, 1, "the address to connect to"))
        return json_decref(parameters), c == -2 ? EXIT_DONE : EXIT_USAGE;
    json_object_set_new(parameters, "address", json_string(argv[optind]));
    json_object_set_new(parameters, "timeout_ms", json_integer(timeout));
    int status = kosctl_call(ctl, "org.kos.node.Connect", parameters, (uint64_t)timeout + 5000, &reply);
    if (status != EXIT_DONE)
        return status;
    if (ctl->json) {
        kosctl_print_json(reply);
        return EXIT_DONE;
    }
    char *name = escaped(str(reply, "name"));
    printf("connected to %s%sklp://node.%s\n", name, *name ? ", " : "", str(reply, "id"));
    free(name);
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_disconnect(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply;
    int status = kosctl_plain(ctl, argc, argv, 1, "the peer");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.node.Disconnect", json_pack("{s:s}", "peer", argv[optind]), &reply);
    if (status >= 0)
        return status;
    printf("disconnected from klp://node.%s\n", str(reply, "id"));
    json_decref(reply);
    return EXIT_DONE;
}
