/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements (klp(7), "Statements"): one signed envelope for everything that is published.
 * Body: {"body":{...},"created":ms,"event":n,"expires":ms,"issuer":"<id>","kind":"node_record","seq":n}
 * Text: {"body":<the body above>,"signature":"0x..."}; order is (event, seq).
 */
#ifndef KLP_STATEMENT_H
#define KLP_STATEMENT_H

#include <klp/log.h>

enum { KLP_STATEMENT_MAX = 65536, KLP_STATEMENT_KIND_MAX = 64 };

struct klp_statement {
    char kind[KLP_STATEMENT_KIND_MAX];
    struct klp_id issuer;
    uint64_t event;
    uint64_t seq;
    int64_t created, expires;
    struct klp_json body;              /* the inner object, a slice of the text */
    struct kos_bytes signed_body;      /* what the signature covers */
    uint8_t signature[KLP_SIGNATURE_LEN];
};

/* Shape and limits only. */
int32_t klp_statement_parse(struct kos_bytes text, struct klp_statement *ret_statement, struct kos_error *ret_error);
/* Signature by the key of its event, validity at `now`. */
int32_t klp_statement_verify(const struct klp_statement *statement, const struct klp_log *issuer, int64_t now);
/* `body` canonical; issuer, kind, event, seq, created, expires from `statement`. */
int32_t klp_statement_make(const struct klp_statement *statement, struct kos_bytes body, const struct klp_secret *secret, uint8_t *out, size_t cap, size_t *ret_len);
/* Negative, 0, positive as a is older, equally old or newer than b. */
int klp_statement_compare(const struct klp_statement *a, const struct klp_statement *b);

#endif
