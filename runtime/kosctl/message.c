/* SPDX-License-Identifier: Apache-2.0
 *
 * kosctl message sign, verify: messages as files, without a kosd.
 */
#include <stdlib.h>
#include <unistd.h>

#include <klp/message.h>
#include "conf/passphrase.h"
#include "core/buf.h"
#include "kosctl/kosctl.h"
#include "trust/keys.h"

static char *absolute(const char *path)
{
    char here[4096];
    if (*path == '/' || !getcwd(here, sizeof here))
        return kos_strdup(path);
    return kos_format("%s/%s", here, path);
}

static int32_t file_read(struct kosctl *ctl, const char *path, size_t max, uint8_t **ret_data, size_t *ret_len, struct kos_error *ret_error)
{
    char *whole = absolute(path);
    int32_t r = kos_file_read_all(&ctl->plain.env, whole, max, ret_data, ret_len);
    free(whole);
    if (r < 0)
        kos_fail(ret_error, r, "%s cannot be read: %s", path, kos_error_text(r));
    return r;
}

/* keys/ of an instance, or that directory itself. */
static int32_t keys_open(struct kosctl *ctl, const char *dir, const char *passphrase_file, struct kos_keys **ret_keys, struct kos_error *ret_error)
{
    struct kos_passphrase passphrase = { 0 };
    bool encrypted = false;
    char *base = absolute(dir);
    char *inner = kos_format("%s/keys", base);
    char *log = kos_format("%s/node.log", inner);
    const char *keys = access(log, F_OK) == 0 ? inner : base;
    int32_t r = kos_keys_encrypted(&ctl->plain.env, keys, &encrypted, ret_error);
    if (r == KOS_OK && encrypted)
        r = kos_passphrase_read(passphrase_file, "Passphrase of the keys", &passphrase, ret_error);
    if (r == KOS_OK)
        r = kos_keys_open(&ctl->plain.env, keys, kos_passphrase_bytes(&passphrase), ret_keys, ret_error);
    kos_passphrase_fini(&passphrase);
    free(log);
    free(inner);
    free(base);
    return r;
}

static void set_default(json_t *message, const char *name, json_t *value)
{
    if (!json_object_get(message, name))
        json_object_set_new(message, name, value);
    else
        json_decref(value);
}

/* The library speaks of lines and members; a person needs the file too. */
static int32_t in_file(const char *path, int32_t r, struct kos_error *ret_error)
{
    if (r >= 0)
        return r;
    struct kos_error said = *ret_error;
    return kos_fail(ret_error, r, "%s: %s", path, said.text);
}

/* What a person may leave out: id, times, and who signs. */
static void defaults(struct kosctl *ctl, json_t *message, const struct kos_identity *identity)
{
    struct klp_id fresh;
    char id[KLP_ID_TEXT], own[KLP_ID_TEXT], address[64];
    int64_t now = kos_now_ms(&ctl->plain.env);
    klp_id_random(kos_env_random(&ctl->plain.env), &fresh);
    klp_id_text(&fresh, id);
    klp_id_text(kos_identity_id(identity), own);
    snprintf(address, sizeof address, "klp://node.%s", own);
    set_default(message, "id", json_string(id));
    set_default(message, "created", json_integer(now));
    set_default(message, "expires", json_integer(json_integer_value(json_object_get(message, "created")) + 600000));
    set_default(message, "source", json_string(address));
    set_default(message, "source_id", json_string(own));
    set_default(message, "event", json_integer((json_int_t)kos_identity_event(identity)));
    set_default(message, "payload", json_object());
    json_object_del(message, "signature");
}

static int32_t sign(struct kosctl *ctl, const char *path, const struct kos_identity *identity, uint8_t **ret_text, size_t *ret_len, struct kos_error *ret_error)
{
    uint8_t *data, *body = NULL, signature[KLP_SIGNATURE_LEN];
    size_t len, body_len;
    json_error_t where;
    struct klp_message message;
    int32_t r = file_read(ctl, path, KLP_MESSAGE_MAX, &data, &len, ret_error);
    if (r < 0)
        return r;
    json_t *json = json_loadb((const char *)data, len, JSON_REJECT_DUPLICATES, &where);
    free(data);
    if (!json_is_object(json)) {
        json_decref(json);
        return kos_fail(ret_error, KOS_E_SYNTAX, "%s:%d: not a JSON object: %s", path, where.line, where.text);
    }
    defaults(ctl, json, identity);
    char *loose = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    r = in_file(path, klp_json_canonicalise(kos_bytes_str(loose), KLP_MESSAGE_MAX, &body, &body_len, ret_error), ret_error);
    free(loose);
    if (r == KOS_OK)
        r = in_file(path, klp_message_parse(kos_bytes(body, body_len), &message, ret_error), ret_error);
    if (r == KOS_OK && !klp_id_eq(&message.source_id, kos_identity_id(identity)))
        r = kos_fail(ret_error, KOS_E_MISADDRESSED, "%s names another source_id than the key's: leave source, source_id and event out to have them filled in", path);
    if (r == KOS_OK && (r = kos_identity_sign(identity, KLP_TAG_MESSAGE, message.body, signature)) < 0)
        kos_fail(ret_error, r, "the key does not sign: %s", kos_error_text(r));
    if (r == KOS_OK)
        r = klp_message_to_text(message.body, kos_bytes(signature, sizeof signature), ret_text, ret_len, ret_error);
    free(body);
    return r;
}

int cmd_message_sign(struct kosctl *ctl, int argc, char **argv)
{
    static const struct option own[] = { { "key", required_argument, NULL, 'k' }, { "passphrase-file", required_argument, NULL, 'p' }, { 0 } };
    const char *key = NULL, *passphrase = NULL;
    struct kos_keys *keys;
    struct kos_error error;
    uint8_t *text;
    size_t len;
    int c;
    while ((c = kosctl_option(ctl, argc, argv, own)) >= 0)
        switch (c) {
        case 'k': key = optarg; break;
        case 'p': passphrase = optarg; break;
        default: return EXIT_USAGE;
        }
    if (c == -2)
        return EXIT_DONE;
    if (!kosctl_words(ctl, argc, 1, "the message's file"))
        return EXIT_USAGE;
    if (!key)
        return kosctl_usage(ctl, "message sign needs --key: an instance or its keys directory");
    int32_t r = keys_open(ctl, key, passphrase, &keys, &error);
    if (r < 0)
        return kosctl_fail(ctl, &error);
    r = sign(ctl, argv[optind], kos_keys_node(keys), &text, &len, &error);
    kos_keys_close(keys);
    if (r < 0)
        return kosctl_fail(ctl, &error);
    fwrite(text, 1, len, stdout);
    fputc('\n', stdout);
    free(text);
    return EXIT_DONE;
}

/* The log given, else the instance's own. */
static int32_t log_read(struct kosctl *ctl, const char *path, struct klp_log **ret_log, struct kos_error *ret_error)
{
    uint8_t *data;
    size_t len;
    char *own = NULL;
    int32_t r = KOS_OK;
    if (!path) {
        if ((r = kosctl_instance(ctl, ret_error)) < 0)
            return r;
        path = own = kos_format("%s/node.log", ctl->instance.keys_dir);
    }
    r = file_read(ctl, path, (size_t)KLP_LOG_EVENTS_MAX * KLP_EVENT_MAX, &data, &len, ret_error);
    if (r < 0 && own)
        kos_fail(ret_error, r, "name the signer's key event log with --log FILE (kosctl id --log prints it); %s cannot be read", own);
    if (r < 0) {
        free(own);
        return r;
    }
    struct klp_log *log = klp_log_new();
    r = in_file(path, klp_log_append_text(log, kos_bytes(data, len), ret_error), ret_error);
    free(data);
    if (r >= 0 && klp_log_count(log) == 0)
        r = kos_fail(ret_error, KOS_E_SYNTAX, "%s: the log is empty", path);
    free(own);
    if (r < 0) {
        klp_log_free(log);
        return r;
    }
    *ret_log = log;
    return KOS_OK;
}

static int32_t verify(const struct klp_message *message, struct kos_bytes signature, const struct klp_log *log, struct kos_error *ret_error)
{
    char named[KLP_ID_TEXT], has[KLP_ID_TEXT];
    klp_id_text(&message->source_id, named);
    klp_id_text(klp_log_id(log), has);
    if (!klp_id_eq(&message->source_id, klp_log_id(log)))
        return kos_fail(ret_error, KOS_E_UNKNOWN_ID, "the message is from %s, the log is that of %s: give its log with --log FILE", named, has);
    /* Judged at the time it was made: an old message is still provable. */
    int32_t r = klp_message_verify(message, signature, log, message->created);
    if (r < 0)
        return kos_fail(ret_error, r, "the signature of message from %s, event %llu, does not hold: %s", named, (unsigned long long)message->event, kos_error_text(r));
    return KOS_OK;
}

static void verified(struct kosctl *ctl, const struct klp_message *message, size_t signature_len, const struct klp_log *log)
{
    struct klp_public key;
    char text[KLP_KEY_TEXT_MAX] = "", id[KLP_ID_TEXT], source[KLP_ID_TEXT];
    bool fresh = klp_message_fresh(message, kos_now_ms(&ctl->plain.env)) == KOS_OK;
    if (klp_log_key(log, message->event, &key) == KOS_OK)
        klp_public_text(&key, text);
    klp_id_text(&message->id, id);
    klp_id_text(&message->source_id, source);
    if (ctl->json) {
        kosctl_print_json(json_pack("{s:b, s:b, s:s, s:s, s:s, s:s, s:I, s:s}", "verified", 1, "fresh", fresh, "type", message->type, "id", id, "source_id", source,
                                    "key", text, "event", (json_int_t)message->event, "signature", signature_len > KLP_SIGNATURE_LEN ? "batch" : "plain"));
        return;
    }
    printf("verified: %s %s from klp://node.%s, signed by the key of event %llu, %s%s\n", message->type, id, source, (unsigned long long)message->event, text,
           fresh ? "" : " (a node would refuse it now: it is not within its time)");
}

int cmd_message_verify(struct kosctl *ctl, int argc, char **argv)
{
    static const struct option own[] = { { "log", required_argument, NULL, 'l' }, { 0 } };
    const char *log_path = NULL;
    struct klp_log *log = NULL;
    struct klp_message message;
    struct kos_error error;
    uint8_t *data = NULL, *body = NULL, signature[KLP_BATCH_SIGNATURE_MAX];
    size_t len, body_len, signature_len;
    int c;
    while ((c = kosctl_option(ctl, argc, argv, own)) >= 0)
        if (c == 'l')
            log_path = optarg;
        else
            return EXIT_USAGE;
    if (c == -2)
        return EXIT_DONE;
    if (!kosctl_words(ctl, argc, 1, "the message's file"))
        return EXIT_USAGE;
    int32_t r = file_read(ctl, argv[optind], 2 * KLP_MESSAGE_MAX, &data, &len, &error);
    if (r == KOS_OK)
        r = in_file(argv[optind], klp_message_from_text(kos_bytes(data, len), &body, &body_len, signature, &signature_len, &error), &error);
    free(data);
    if (r == KOS_OK)
        r = in_file(argv[optind], klp_message_parse(kos_bytes(body, body_len), &message, &error), &error);
    if (r == KOS_OK)
        r = log_read(ctl, log_path, &log, &error);
    if (r == KOS_OK)
        r = verify(&message, kos_bytes(signature, signature_len), log, &error);
    if (r == KOS_OK)
        verified(ctl, &message, signature_len, log);
    free(body);
    klp_log_free(log);
    return r < 0 ? kosctl_fail(ctl, &error) : EXIT_DONE;
}
