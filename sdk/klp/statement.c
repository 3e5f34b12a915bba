/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements: the one envelope for everything that is published.
 */
#include <klp/message.h>
#include <klp/statement.h>

#include "member.h"

enum { S_BODY, S_CREATED, S_EVENT, S_EXPIRES, S_ISSUER, S_KIND, S_SEQ, S_COUNT };
static const char *const names[S_COUNT] = { "body", "created", "event", "expires", "issuer", "kind", "seq" };

/* [a-z][a-z0-9_]*, less than KLP_STATEMENT_KIND_MAX characters. */
static bool kind_ok(struct kos_bytes text)
{
    if (text.len == 0 || text.len >= KLP_STATEMENT_KIND_MAX || text.data[0] < 'a' || text.data[0] > 'z')
        return false;
    for (size_t i = 1; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
            return false;
    }
    return true;
}

static int32_t read_kind(struct klp_json value, char ret_kind[KLP_STATEMENT_KIND_MAX])
{
    struct kos_bytes text;
    int32_t error = klp_json_plain(value, &text);
    if (error < 0)
        return error;
    if (!kind_ok(text))
        return KOS_E_SYNTAX;
    memcpy(ret_kind, text.data, text.len);
    ret_kind[text.len] = '\0';
    return 0;
}

static int32_t read_member(int member, struct klp_json value, struct klp_statement *statement)
{
    switch (member) {
    case S_BODY: statement->body = value; return value.type == KLP_JSON_OBJECT ? 0 : KOS_E_SYNTAX;
    case S_CREATED: return member_time(value, &statement->created);
    case S_EVENT: return klp_json_uint(value, &statement->event);
    case S_EXPIRES: return member_time(value, &statement->expires);
    case S_ISSUER: return member_id(value, &statement->issuer);
    case S_KIND: return read_kind(value, statement->kind);
    default: return klp_json_uint(value, &statement->seq);
    }
}

int32_t klp_statement_parse(struct kos_bytes text, struct klp_statement *ret_statement, struct kos_error *ret_error)
{
    struct klp_statement statement = { 0 };
    struct klp_json envelope, body, values[S_COUNT];
    size_t offset = 0;
    int32_t error = klp_json_read(text, KLP_STATEMENT_MAX, &envelope, &offset);
    if (error == KOS_E_LIMIT && text.len > KLP_STATEMENT_MAX)
        return kos_fail(ret_error, error, "the statement has %zu bytes, more than %d", text.len, KLP_STATEMENT_MAX);
    if (error < 0)
        return kos_fail(ret_error, error, "the statement is not canonical JSON (RFC 8785) at byte %zu", offset);
    if (member_envelope(envelope, &body, statement.signature) < 0)
        return kos_fail(ret_error, KOS_E_SYNTAX,
                        "the statement is not {\"body\":{...},\"signature\":\"0x<128 digits>\"}");
    size_t total = klp_json_get_many(body, names, S_COUNT, values);
    for (int i = 0; i < S_COUNT; i++) {
        if (values[i].type == KLP_JSON_NONE)
            return kos_fail(ret_error, KOS_E_SYNTAX, "the statement lacks its member \"%s\"", names[i]);
        error = read_member(i, values[i], &statement);
        if (error < 0)
            return kos_fail(ret_error, error, "the statement's member \"%s\" is not acceptable: %s", names[i],
                            kos_error_text(error));
    }
    if (total != S_COUNT)
        return kos_fail(ret_error, KOS_E_SYNTAX,
                        "the statement has a member that no statement has; what a kind adds goes into its body");
    if (statement.expires <= statement.created)
        return kos_fail(ret_error, KOS_E_SYNTAX, "the statement expires before it is created");
    statement.signed_body = body.text;
    *ret_statement = statement;
    return 0;
}

int32_t klp_statement_verify(const struct klp_statement *statement, const struct klp_log *issuer, int64_t now)
{
    struct klp_public key;
    const struct klp_id *id = klp_log_id(issuer);
    if (!id || !klp_id_eq(id, &statement->issuer))
        return KOS_E_SIGNATURE;
    if (statement->created > now + KLP_CLOCK_SKEW_MAX_MS)
        return KOS_E_FUTURE;
    if (statement->expires <= now)
        return KOS_E_EXPIRED;
    int32_t error = klp_log_may_sign(issuer, statement->event, statement->created, now);
    if (!error)
        error = klp_log_key(issuer, statement->event, &key);
    if (!error)
        error = klp_verify(&key, KLP_TAG_STATEMENT, statement->signed_body,
                           kos_bytes(statement->signature, KLP_SIGNATURE_LEN));
    return error;
}

int32_t klp_statement_make(const struct klp_statement *statement, struct kos_bytes body,
                           const struct klp_secret *secret, uint8_t *out, size_t cap, size_t *ret_len)
{
    struct klp_json inner;
    int32_t error = klp_json_read(body, KLP_STATEMENT_MAX, &inner, NULL);
    if (error < 0)
        return error;
    if (inner.type != KLP_JSON_OBJECT
        || !kind_ok(kos_bytes(statement->kind, strnlen(statement->kind, sizeof statement->kind)))
        || statement->created < 0 || statement->expires <= statement->created)
        return KOS_E_INVALID;
    if (cap < MEMBER_ENVELOPE_HEAD + MEMBER_ENVELOPE_TAIL)
        return KOS_E_LIMIT;
    if (cap > KLP_STATEMENT_MAX)
        cap = KLP_STATEMENT_MAX;
    struct klp_json_out json;
    struct kos_bytes signed_body;
    klp_json_begin(&json, out + MEMBER_ENVELOPE_HEAD, cap - MEMBER_ENVELOPE_HEAD - MEMBER_ENVELOPE_TAIL);
    klp_json_object(&json);
    klp_json_name(&json, "body");
    klp_json_put_raw(&json, body);
    member_put_int(&json, "created", statement->created);
    member_put_int(&json, "event", (int64_t)statement->event);
    member_put_int(&json, "expires", statement->expires);
    member_put_id(&json, "issuer", &statement->issuer);
    klp_json_name(&json, "kind");
    klp_json_put_cstr(&json, statement->kind);
    member_put_int(&json, "seq", (int64_t)statement->seq);
    klp_json_close(&json, '}');
    error = klp_json_end(&json, &signed_body);
    if (error < 0)
        return error;
    uint8_t signature[KLP_SIGNATURE_LEN];
    error = klp_sign(secret, KLP_TAG_STATEMENT, signed_body, signature);
    if (error < 0)
        return error;
    member_envelope_put(signed_body, signature, out);
    size_t len = MEMBER_ENVELOPE_HEAD + signed_body.len + MEMBER_ENVELOPE_TAIL;
    /* The depth of the body grows by two inside the envelope: what is made must parse. */
    struct klp_statement check;
    error = klp_statement_parse(kos_bytes(out, len), &check, NULL);
    if (error < 0)
        return error;
    *ret_len = len;
    return 0;
}

int klp_statement_compare(const struct klp_statement *a, const struct klp_statement *b)
{
    if (a->event != b->event)
        return a->event < b->event ? -1 : 1;
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}
