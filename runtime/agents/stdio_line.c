/* SPDX-License-Identifier: Apache-2.0
 * --stdio: what an agent says, a line at a time. Nothing of it is believed before it is looked at. */
#include "agents/stdio.h"

#include <klp/json.h>
#include <math.h>
#include <stdlib.h>

static void nonsense(struct pump *pump, const char *what)
{
    struct kos_registry *registry = pump->agent->registry;
    uint32_t held_back;
    pump->nonsense++;
    if (kos_log_limit_pass(registry->limit, pump->agent->name, &held_back))
        kos_log(registry->env, KOS_LOG_WARNING, "agents",
                "agent %s wrote a line that is not as kos-agent(7) says: %s (%u more before it were not logged)",
                pump->agent->name, what, held_back);
    if (pump->nonsense >= NONSENSE_MAX)
        pump_restart(pump, "it wrote 16 lines in a row that are not as kos-agent(7) says");
}

int32_t canonical_new(json_t *value, uint8_t **ret_data, size_t *ret_len, struct kos_error *ret_error)
{
    char *loose = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!loose)
        return kos_fail(ret_error, KOS_E_NOMEM, "%s", kos_error_text(KOS_E_NOMEM));
    struct kos_error error = { .text = "" };
    uint8_t *data = NULL;
    size_t len = strlen(loose);
    int32_t rc = len > 2 * RESULT_MAX
                     ? KOS_OK
                     : klp_json_canonicalise(kos_bytes_str(loose), 2 * RESULT_MAX, &data, &len, &error);
    free(loose);
    if (rc < 0)
        return kos_fail(ret_error, KOS_E_AGENT, "%s", error.text);
    if (len > RESULT_MAX) {
        free(data);
        return kos_fail(ret_error, KOS_E_LIMIT, "it is larger than 512 KiB");
    }
    *ret_data = data;
    *ret_len = len;
    return KOS_OK;
}

/* {"part": "text"} or {"part": {"base64": "..."}} */
static const char *take_part(struct stdio_run *s, json_t *part)
{
    json_t *base64 = json_object_get(part, "base64");
    if (json_is_string(part)) {
        task_part(s, kos_bytes(json_string_value(part), json_string_length(part)));
        return NULL;
    }
    uint8_t *data;
    size_t len;
    if (!json_is_string(base64) ||
        unbase64_new(kos_bytes(json_string_value(base64), json_string_length(base64)), &data, &len) < 0)
        return "a part that is neither text nor base64";
    task_part(s, kos_bytes(data, len));
    free(data);
    return NULL;
}

/* Of {"fraction": 0..1, "text": "..."} what is sound goes on, canonical. */
static const char *take_progress(struct stdio_run *s, json_t *progress)
{
    json_t *fraction = json_object_get(progress, "fraction"), *text = json_object_get(progress, "text");
    uint8_t room[4096];
    char clean[TEXT_MAX];
    struct klp_json_out out;
    struct kos_bytes canonical;
    if (!json_is_object(progress))
        return "progress that is not an object";
    klp_json_begin(&out, room, sizeof room);
    klp_json_object(&out);
    if (json_is_number(fraction) && json_number_value(fraction) >= 0 && json_number_value(fraction) <= 1) {
        klp_json_name(&out, "fraction");
        klp_json_put_double(&out, json_number_value(fraction));
    }
    if (json_is_string(text)) {
        clean_text(kos_bytes(json_string_value(text), json_string_length(text)), clean, sizeof clean);
        klp_json_name(&out, "text");
        klp_json_put_cstr(&out, clean);
    }
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &canonical) == KOS_OK && !s->answered)
        run_output(s->run, KOS_OUTPUT_PROGRESS, canonical);
    return NULL;
}

static const char *take_result(struct stdio_run *s, json_t *result)
{
    struct kos_error error;
    uint8_t *data;
    size_t len;
    char text[TEXT_MAX + 64];
    if (!json_is_object(result)) {
        task_answer(s, KOS_E_AGENT, kos_bytes(NULL, 0), "its result is not a JSON object", 0);
    } else if (canonical_new(result, &data, &len, &error) < 0) {
        snprintf(text, sizeof text, "its result cannot be sent: %s", error.text);
        task_answer(s, error.code, kos_bytes(NULL, 0), text, 0);
    } else {
        task_answer(s, KOS_OK, kos_bytes(data, len), NULL, 0);
        free(data);
    }
    return NULL;
}

static const char *take_error(struct stdio_run *s, json_t *message, json_t *name)
{
    json_t *said = json_object_get(message, "text");
    char clean_name[64], clean[TEXT_MAX - 80], text[TEXT_MAX];
    if (!json_is_string(name) || (said && !json_is_string(said)))
        return "an error whose name or text is not a string";
    clean_text(kos_bytes(json_string_value(name), json_string_length(name)), clean_name, sizeof clean_name);
    clean_text(kos_bytes(json_string_value(said), said ? json_string_length(said) : 0), clean, sizeof clean);
    snprintf(text, sizeof text, "%s%s%s", clean_name, *clean ? ": " : "", clean);
    task_answer(s, KOS_E_AGENT, kos_bytes(NULL, 0), text, json_is_true(json_object_get(message, "retry")));
    return NULL;
}

/* What is wrong with the message, or NULL. */
static const char *take(struct pump *pump, json_t *message)
{
    json_t *task = json_object_get(message, "task"), *id = json_object_get(message, "id"), *what;
    struct stdio_run *s;
    if (!json_is_object(message))
        return "not a JSON object";
    if (json_is_string(id) && !task)
        return request_answer(pump, json_string_value(id), message) ? NULL : "an answer to a request that is not open";
    if (!json_is_string(task))
        return "neither a task nor an id";
    HASH_FIND_STR(pump->runs, json_string_value(task), s);
    if (!s || !s->sent)
        return "a task that it does not have";
    if ((what = json_object_get(message, "part")))
        return take_part(s, what);
    if ((what = json_object_get(message, "progress")))
        return take_progress(s, what);
    if ((what = json_object_get(message, "result")))
        return take_result(s, what);
    if ((what = json_object_get(message, "error")))
        return take_error(s, message, what);
    return "no part, progress, result or error";
}

static void take_line(struct pump *pump, struct kos_bytes line)
{
    json_error_t ignored;
    if (line.len && line.data[line.len - 1] == '\r')
        line.len--;
    json_t *message = json_loadb((const char *)line.data, line.len, JSON_REJECT_DUPLICATES, &ignored);
    const char *wrong = message ? take(pump, message) : "not JSON";
    json_decref(message);
    if (wrong)
        nonsense(pump, wrong);
    else
        pump->nonsense = 0;
}

void pump_read(struct pump *pump, struct kos_bytes bytes)
{
    while (bytes.len && !pump->killed) {
        const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
        size_t len = end ? (size_t)(end - bytes.data) : bytes.len;
        struct kos_bytes piece = kos_bytes(bytes.data, len);
        bytes = kos_bytes(bytes.data + len + (end ? 1 : 0), bytes.len - len - (end ? 1 : 0));
        if (!pump->skipping && pump->line.len + len > LINE_MAX_BYTES - 1) {
            pump->skipping = true;
            kos_buf_reset(&pump->line);
        }
        if (pump->skipping) {
            if (end) {
                pump->skipping = false;
                nonsense(pump, "longer than 1 MiB");
            }
            continue;
        }
        if (end && pump->line.len == 0) {
            take_line(pump, piece);
        } else if (kos_buf_append(&pump->line, piece) < 0) {
            pump_restart(pump, "there is not enough memory for its line");
        } else if (end) {
            take_line(pump, kos_buf_bytes(&pump->line));
            kos_buf_reset(&pump->line);
        }
    }
}
