/* SPDX-License-Identifier: Apache-2.0
 *
 * Tasks as records: keys, canonical JSON, bytes as text or base64.
 */
#include "task.h"

static const char *const out_states[] = { "", "sent", "delivered", "accepted", "done", "failed" };
static const char *const in_states[] = { "", "waiting", "starting", "running", "done" };

const char *out_state_name(int32_t state)
{
    return state >= OUT_SENT && state <= OUT_FAILED ? out_states[state] : "";
}

const char *in_state_name(int32_t state)
{
    return state >= IN_WAITING && state <= IN_DONE ? in_states[state] : "";
}

size_t out_key(const uint8_t id[KLP_ID_LEN], char ret_key[KEY_MAX])
{
    char text[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)id, text);
    return (size_t)snprintf(ret_key, KEY_MAX, "o/%s", text);
}

size_t part_key(const uint8_t id[KLP_ID_LEN], uint32_t seq, char ret_key[KEY_MAX])
{
    char text[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)id, text);
    return (size_t)snprintf(ret_key, KEY_MAX, "p/%s/%08x", text, seq);
}

size_t in_key(const char *prefix, const uint8_t key[2 * KLP_ID_LEN], char ret_key[KEY_MAX])
{
    char source[KLP_ID_TEXT], id[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)key, source);
    klp_id_text((const struct klp_id *)(key + KLP_ID_LEN), id);
    return (size_t)snprintf(ret_key, KEY_MAX, "%s/%s/%s", prefix, source, id);
}

static void put_id(struct klp_json_out *out, const char *name, const uint8_t id[KLP_ID_LEN])
{
    char text[KLP_ID_TEXT];
    klp_id_text((const struct klp_id *)id, text);
    klp_json_name(out, name);
    klp_json_put_cstr(out, text);
}

static void put_int(struct klp_json_out *out, const char *name, int64_t number)
{
    klp_json_name(out, name);
    klp_json_put_int(out, number);
}

static void put_text(struct klp_json_out *out, const char *name, const char *text)
{
    klp_json_name(out, name);
    klp_json_put_cstr(out, text);
}

static size_t ended(struct klp_json_out *out)
{
    struct kos_bytes text;
    return klp_json_end(out, &text) == KOS_OK ? text.len : 0;
}

size_t out_record(const struct out_task *task, uint8_t *buf, size_t cap)
{
    struct klp_json_out out;
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    put_int(&out, "bytes", (int64_t)task->bytes);
    put_int(&out, "bytes_total", (int64_t)task->bytes_total);
    put_int(&out, "created", task->created);
    put_int(&out, "deadline", task->deadline);
    klp_json_name(&out, "ended");
    klp_json_put_bool(&out, task->ended);
    if (task->error)
        put_text(&out, "error", kos_error_name(task->error));
    if (task->evidence) {
        klp_json_name(&out, "evidence");
        klp_json_put_raw(&out, kos_bytes_str(task->evidence));
    }
    put_int(&out, "parts", task->parts);
    put_int(&out, "parts_total", task->parts_total);
    if (task->result) {
        klp_json_name(&out, "result");
        klp_json_put_raw(&out, kos_bytes_str(task->result));
    }
    klp_json_name(&out, "retry");
    klp_json_put_bool(&out, task->retry);
    if (task->has_source)
        put_id(&out, "source", task->source);
    put_text(&out, "state", out_state_name(task->state));
    put_text(&out, "target", task->target);
    if (task->text[0])
        put_text(&out, "text", task->text);
    klp_json_close(&out, '}');
    return ended(&out);
}

static int64_t get_int(struct klp_json object, const char *name)
{
    int64_t number = 0;
    klp_json_int(klp_json_get(object, name), &number);
    return number;
}

static int32_t state_parse(struct klp_json value, const char *const *names, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (klp_json_equals(value, names[i]))
            return (int32_t)i;
    return 0;
}

char *json_text(struct klp_json value)
{
    if (value.type == KLP_JSON_NONE)
        return NULL;
    char *text = malloc(value.text.len + 1);
    if (!text)
        abort();
    memcpy(text, value.text.data, value.text.len);
    text[value.text.len] = 0;
    return text;
}

static char *get_text(struct klp_json object, const char *name)
{
    struct klp_json value = klp_json_get(object, name);
    char *text = calloc(1, value.text.len + 1);
    if (!text)
        abort();
    klp_json_string(value, text, value.text.len + 1, NULL);
    return text;
}

struct out_task *out_read(const uint8_t id[KLP_ID_LEN], struct kos_bytes record)
{
    struct klp_json object;
    struct kos_bytes plain;
    if (klp_json_read(record, RECORD_MAX * 4, &object, NULL) < 0)
        return NULL;
    struct out_task *task = calloc(1, sizeof *task);
    if (!task)
        abort();
    memcpy(task->id, id, sizeof task->id);
    task->bytes = (uint64_t)get_int(object, "bytes");
    task->bytes_total = (uint64_t)get_int(object, "bytes_total");
    task->created = get_int(object, "created");
    task->deadline = get_int(object, "deadline");
    klp_json_bool(klp_json_get(object, "ended"), &task->ended);
    klp_json_bool(klp_json_get(object, "retry"), &task->retry);
    if (klp_json_plain(klp_json_get(object, "error"), &plain) == KOS_OK)
        task->error = klp_error_parse(plain);
    task->evidence = json_text(klp_json_get(object, "evidence"));
    task->result = json_text(klp_json_get(object, "result"));
    task->parts = (uint32_t)get_int(object, "parts");
    task->parts_total = (uint32_t)get_int(object, "parts_total");
    if (klp_json_plain(klp_json_get(object, "source"), &plain) == KOS_OK)
        task->has_source = klp_id_parse(plain, (struct klp_id *)task->source) == KOS_OK;
    task->state = state_parse(klp_json_get(object, "state"), out_states, 6);
    task->target = get_text(object, "target");
    klp_json_string(klp_json_get(object, "text"), task->text, sizeof task->text, NULL);
    return task;
}

void out_free(struct out_task *task)
{
    struct follower *follower, *next_follower;
    struct early *early, *next;
    DL_FOREACH_SAFE2(task->followers, follower, next_follower, nextf)
        free(follower);
    LL_FOREACH_SAFE(task->early, early, next)
        free(early);
    free(task->target);
    free(task->result);
    free(task->evidence);
    free(task);
}

size_t in_record(const struct in_task *task, int32_t error, uint8_t *buf, size_t cap)
{
    struct klp_json_out out;
    klp_json_begin(&out, buf, cap);
    klp_json_object(&out);
    put_id(&out, "agent", task->agent);
    put_int(&out, "bytes", (int64_t)task->bytes);
    put_int(&out, "created", task->created);
    put_int(&out, "deadline", task->deadline);
    if (error)
        put_text(&out, "error", kos_error_name(error));
    put_text(&out, "source", task->source);
    put_text(&out, "state", in_state_name(task->state));
    klp_json_close(&out, '}');
    return ended(&out);
}

struct in_task *in_read(const uint8_t key[2 * KLP_ID_LEN], struct kos_bytes record)
{
    struct klp_json object;
    struct kos_bytes plain;
    if (klp_json_read(record, RECORD_MAX, &object, NULL) < 0)
        return NULL;
    struct in_task *task = calloc(1, sizeof *task);
    if (!task)
        abort();
    memcpy(task->key, key, sizeof task->key);
    if (klp_json_plain(klp_json_get(object, "agent"), &plain) == KOS_OK)
        klp_id_parse(plain, (struct klp_id *)task->agent);
    task->bytes = (uint64_t)get_int(object, "bytes");
    task->created = get_int(object, "created");
    task->deadline = get_int(object, "deadline");
    task->state = state_parse(klp_json_get(object, "state"), in_states, 5);
    task->source = get_text(object, "source");
    crypto_hash_sha256_init(&task->digest);
    return task;
}

/* Length of the character at `c`, 0 when it is none, or more than `left` when it is cut. RFC 3629. */
static size_t character(const uint8_t *c, size_t left)
{
    static const uint8_t low[] = { 0x80, 0xa0, 0x80, 0x90, 0x80 }, high[] = { 0xbf, 0xbf, 0x9f, 0xbf, 0x8f };
    size_t n = c[0] == 0 ? 0 : c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 0;
    int second = c[0] == 0xe0 ? 1 : c[0] == 0xed ? 2 : c[0] == 0xf0 ? 3 : c[0] == 0xf4 ? 4 : 0;
    for (size_t i = 1; i < n && i < left; i++)
        if (c[i] < (i == 1 ? low[second] : 0x80) || c[i] > (i == 1 ? high[second] : 0xbf))
            return 0;
    return n;
}

size_t text_prefix(const uint8_t *data, size_t len, bool *ret_cut)
{
    size_t at = 0;
    *ret_cut = false;
    while (at < len) {
        size_t n = character(data + at, len - at);
        if (n == 0)
            return at;
        if (n > len - at) {
            *ret_cut = true;
            return at;
        }
        at += n;
    }
    return at;
}

void put_bytes_early(struct klp_json_out *out, struct kos_bytes data, bool text)
{
    if (text)
        return;
    char *base64 = malloc(4 * ((data.len + 2) / 3) + 1);
    if (!base64)
        abort();
    klp_base64(data, base64);
    put_text(out, "base64", base64);
    free(base64);
}

void put_bytes_late(struct klp_json_out *out, struct kos_bytes data, bool text)
{
    if (!text)
        return;
    klp_json_name(out, "text");
    klp_json_put_string(out, data);
}

int32_t get_bytes(struct klp_json object, uint8_t **ret_data, size_t *ret_len)
{
    struct klp_json text = klp_json_get(object, "text"), base64 = klp_json_get(object, "base64");
    struct klp_json value = text.type == KLP_JSON_STRING ? text : base64;
    struct kos_bytes plain;
    int32_t r;
    if (value.type != KLP_JSON_STRING || text.type == base64.type)
        return KOS_E_SYNTAX;
    uint8_t *data = malloc(value.text.len + 1);
    if (!data)
        return KOS_E_NOMEM;
    if (text.type == KLP_JSON_STRING)
        r = klp_json_string(value, (char *)data, value.text.len + 1, ret_len);
    else if ((r = klp_json_plain(value, &plain)) == KOS_OK)
        r = klp_unbase64(plain, data, value.text.len, ret_len);
    if (r < 0)
        free(data);
    else
        *ret_data = data;
    return r;
}
