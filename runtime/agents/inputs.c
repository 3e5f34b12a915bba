/* SPDX-License-Identifier: Apache-2.0
 * A task's inputs: a canonical JSON array of strings (UTF-8) and {"base64": "..."}. */
#include "agents/private.h"

#include <klp/json.h>
#include <stdlib.h>

int32_t unbase64_new(struct kos_bytes text, uint8_t **ret_data, size_t *ret_len)
{
    size_t cap = text.len / 4 * 3 + 3;
    uint8_t *data = malloc(cap);
    if (!data)
        return KOS_E_NOMEM;
    int32_t rc = klp_unbase64(text, data, cap, ret_len);
    if (rc < 0)
        free(data);
    else
        *ret_data = data;
    return rc;
}

/* One input appended to `out`; out NULL: only checked. */
static int32_t take(struct klp_json value, struct kos_buf *out)
{
    uint8_t *data = NULL;
    size_t len = 0;
    int32_t rc;
    if (value.type == KLP_JSON_STRING) {
        /* Unescaping only shortens. */
        data = malloc(value.text.len + 1);
        rc = data ? klp_json_string(value, (char *)data, value.text.len + 1, &len) : KOS_E_NOMEM;
    } else if (value.type == KLP_JSON_OBJECT && klp_json_count(value) == 1) {
        struct klp_json base64 = klp_json_get(value, "base64");
        struct kos_bytes text;
        if (base64.type != KLP_JSON_STRING || klp_json_plain(base64, &text) < 0)
            return KOS_E_SYNTAX;
        rc = unbase64_new(text, &data, &len);
    } else {
        return KOS_E_SYNTAX;
    }
    if (rc == KOS_OK && out)
        rc = kos_buf_append(out, kos_bytes(data, len));
    free(data);
    return rc;
}

static int32_t walk(struct kos_bytes inputs, struct kos_buf *out, struct kos_error *ret_error)
{
    struct klp_json array, value;
    struct klp_json_iter iter;
    size_t at = 0;
    int32_t rc = klp_json_read(inputs, INPUTS_MAX, &array, NULL);
    if (rc < 0 || array.type != KLP_JSON_ARRAY)
        return kos_fail(ret_error, rc == KOS_E_LIMIT ? rc : KOS_E_INVALID,
                        rc == KOS_E_LIMIT ? "the inputs are larger than 1 MiB"
                                          : "the inputs are not a canonical JSON array");
    klp_json_iter_init(array, &iter);
    for (; klp_json_next(&iter, NULL, &value); at++)
        if ((rc = take(value, out)) < 0)
            return kos_fail(ret_error, rc == KOS_E_NOMEM ? rc : KOS_E_INVALID,
                            "input %zu is neither a string nor {\"base64\": ...}", at + 1);
    return KOS_OK;
}

int32_t inputs_check(struct kos_bytes inputs, struct kos_error *ret_error)
{
    return walk(inputs, NULL, ret_error);
}

int32_t inputs_join(struct kos_bytes inputs, uint8_t **ret_data, size_t *ret_len)
{
    struct kos_buf out;
    kos_buf_init(&out, INPUTS_MAX);
    int32_t rc = walk(inputs, &out, NULL);
    if (rc < 0) {
        kos_buf_fini(&out);
        return rc;
    }
    *ret_data = out.data;
    *ret_len = out.len;
    return KOS_OK;
}
