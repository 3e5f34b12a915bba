/* SPDX-License-Identifier: Apache-2.0
 * Names: subjects of NATS, what the policy's destination becomes, replies of consumers, and traces. */
#include "nats.h"

#include <klp/id.h>

bool nats_subject_ok(const char *subject, bool wildcards, const char **ret_why)
{
    size_t len = strlen(subject), token = 0;
    *ret_why = NULL;
    if (len == 0)
        *ret_why = "it is empty";
    else if (len > NATS_SUBJECT_MAX)
        *ret_why = "it is longer than 255 bytes";
    else if (subject[0] == '$' || strncmp(subject, "_INBOX.", 7) == 0)
        *ret_why = "subjects that begin with $ or _INBOX are the server's own";
    for (size_t i = 0; i <= len && !*ret_why; i++) {
        unsigned char c = (unsigned char)subject[i];
        if (c == '.' || c == '\0') {
            if (token == 0)
                *ret_why = "a part between its dots is empty";
            token = 0;
            continue;
        }
        token++;
        bool wild = c == '*' || c == '>';
        if (c <= ' ' || c == 0x7f)
            *ret_why = "it has white space or a control character";
        else if (wild && !wildcards)
            *ret_why = "* and > are not allowed here";
        else if (wild && (token > 1 || (subject[i + 1] != '.' && subject[i + 1] != '\0')))
            *ret_why = "* and > stand alone between dots";
        else if (c == '>' && subject[i + 1] != '\0')
            *ret_why = "> stands at the end only";
    }
    return !*ret_why;
}

bool nats_subjects_overlap(const char *a, const char *b)
{
    for (;;) {
        size_t n = strcspn(a, "."), m = strcspn(b, ".");
        if (*a == '>' || *b == '>')
            return true;
        if (*a != '*' && *b != '*' && (n != m || memcmp(a, b, n) != 0))
            return false;
        a += n;
        b += m;
        if (!*a || !*b)
            return !*a && !*b;
        a++;
        b++;
    }
}

/* One token: what could be taken for a dot, wildcard or blank becomes _. */
static size_t put_token(char *to, size_t cap, const char *text)
{
    size_t len = 0;
    for (; len < cap && text[len]; len++) {
        char c = text[len];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        to[len] = plain ? c : '_';
    }
    if (len == 0 && cap > 0)
        to[len++] = '_';
    return len;
}

int32_t nats_subject_expand(const char *destination, const struct kos_message *m, char ret_subject[NATS_SUBJECT_MAX + 1],
                            struct kos_error *ret_error)
{
    char made[NATS_SUBJECT_MAX + 2], source[KLP_ID_TEXT], target[KLP_ID_TEXT];
    struct klp_id id;
    const char *why;
    memcpy(id.b, m->source_id, sizeof id.b);
    klp_id_text(&id, source);
    memcpy(id.b, m->target_id, sizeof id.b);
    klp_id_text(&id, target);
    const struct { const char *name, *text; } words[] = {
        { "{type}", m->type }, { "{source}", source }, { "{target}", target },
        { "{class}", m->klass == 1 ? "interactive" : "bulk" },
    };
    size_t len = 0;
    for (const char *at = destination; *at && len <= NATS_SUBJECT_MAX;) {
        size_t i = 0;
        while (*at == '{' && i < 4 && strncmp(at, words[i].name, strlen(words[i].name)) != 0)
            i++;
        if (*at != '{') {
            made[len++] = *at++;
        } else if (i == 4) {
            return kos_fail(ret_error, KOS_E_CONFIG,
                            "the destination %.100s has a word in braces other than {type}, {source}, {target}, {class}",
                            destination);
        } else {
            len += put_token(made + len, NATS_SUBJECT_MAX + 1 - len, words[i].text);
            at += strlen(words[i].name);
        }
    }
    made[len] = '\0';
    if (!nats_subject_ok(made, false, &why))
        return kos_fail(ret_error, KOS_E_CONFIG, "the destination %.100s is no subject: %s", destination, why);
    memcpy(ret_subject, made, len + 1);
    return KOS_OK;
}

static bool number_at(const char **at, uint64_t *ret_number)
{
    uint64_t n = 0;
    int digits = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++, digits++) {
        if (digits == 19)
            return false;
        n = n * 10 + (uint64_t)(**at - '0');
    }
    *ret_number = n;
    return digits > 0 && (**at == '.' || **at == '\0');
}

/* $JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM-SEQ.CONSUMER-SEQ.TIME.PENDING, or with DOMAIN.ACCOUNT before the stream and
 * perhaps a token behind (ADR-15 of NATS). */
bool nats_reply_parse(const char *reply, uint64_t *ret_stream_seq, uint64_t *ret_delivered)
{
    size_t dots = 0;
    const char *at = reply;
    if (!reply || strlen(reply) > 1024 || strncmp(reply, "$JS.ACK.", 8) != 0)
        return false;
    for (const char *p = reply; *p; p++)
        dots += *p == '.';
    if (dots != 8 && dots != 10 && dots != 11)
        return false;
    for (size_t skip = dots == 8 ? 4 : 6; skip > 0; skip--)
        at = strchr(at, '.') + 1;
    if (!number_at(&at, ret_delivered) || *at++ != '.')
        return false;
    return number_at(&at, ret_stream_seq) && *ret_stream_seq > 0;
}

/* ---- traces ---- */

static const char hex[] = "0123456789abcdef";

/* The id of the span (W3C Trace Context, parent-id) that says: crossed so many bridges. Only what knows the trace can
 * tell it from any other, and it stays as long as nobody begins another span. */
static void span(const char trace_id[32], int hops, char ret_span[17])
{
    struct klp_digest digest;
    uint8_t count = (uint8_t)hops;
    const struct kos_bytes pieces[] = { kos_bytes_str("org.kos.nats hops"), kos_bytes(trace_id, 32), kos_bytes(&count, 1) };
    klp_sha256v(pieces, 3, &digest);
    klp_hex(kos_bytes(digest.b, 8), ret_span);
}

static bool trace_ok(const char *trace)
{
    bool zero = true;
    if (!trace || strlen(trace) != 55 || strncmp(trace, "00-", 3) != 0 || trace[35] != '-' || trace[52] != '-')
        return false;
    for (size_t i = 3; i < 55; i++) {
        if (i != 35 && i != 52 && !strchr(hex, trace[i]))
            return false;
        zero = zero && (i >= 35 || trace[i] == '0');
    }
    return !zero;
}

int nats_trace_hops(const char *trace)
{
    char known[17];
    if (trace_ok(trace))
        for (int hops = 1; hops <= NATS_HOPS_MAX; hops++) {
            span(trace + 3, hops, known);
            if (memcmp(known, trace + 36, 16) == 0)
                return hops;
        }
    return 0;
}

void nats_trace_mark(const char *trace, const uint8_t id[KOS_ID_BYTES], int hops, char ret_trace[56])
{
    char known[17], trace_id[33];
    if (trace_ok(trace))
        snprintf(trace_id, sizeof trace_id, "%.32s", trace + 3);
    else
        klp_hex(kos_bytes(id, KOS_ID_BYTES), trace_id);
    span(trace_id, hops, known);
    snprintf(ret_trace, 56, "00-%s-%s-%.2s", trace_id, known, trace_ok(trace) ? trace + 53 : "00");
}
