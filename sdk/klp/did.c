/* SPDX-License-Identifier: Apache-2.0
 *
 * The DID document of did:klp (W3C Decentralized Identifiers 1.0; W3C Controlled Identifiers 1.0 for Multikey): derived
 * from a key event log, never stored. klp(7), "Identifiers".
 */
#include <klp/log.h>

#include <stdio.h>
#include <stdlib.h>

#include "log_private.h"

/* "did:klp:<id>#event-<seq>": the event that installed the key. */
enum { KEY_ID_MAX = KLP_DID_TEXT + 32 };

struct facts {
    char did[KLP_DID_TEXT];
    char controller[KLP_DID_TEXT]; /* "" when it controls itself */
    char key_id[KEY_ID_MAX];
    char key[KLP_KEY_TEXT_MAX];
    bool revoked, frozen;
};

static void put_member(struct klp_json_out *out, const char *name, const char *text)
{
    klp_json_name(out, name);
    klp_json_put_cstr(out, text);
}

static void put_list(struct klp_json_out *out, const char *name, const char *one, const char *two)
{
    klp_json_name(out, name);
    klp_json_array(out);
    klp_json_put_cstr(out, one);
    if (two)
        klp_json_put_cstr(out, two);
    klp_json_close(out, ']');
}

/* A revoked identity has no key. A frozen one shows its key and grants it no purpose: which branch speaks is open. */
static void put_document(struct klp_json_out *out, const struct facts *facts)
{
    bool speaks = !facts->revoked && !facts->frozen;
    klp_json_object(out);
    put_list(out, "@context", "https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1");
    if (speaks) {
        put_list(out, "assertionMethod", facts->key_id, NULL);
        put_list(out, "authentication", facts->key_id, NULL);
    }
    if (facts->controller[0])
        put_member(out, "controller", facts->controller);
    if (facts->revoked) {
        klp_json_name(out, "deactivated");
        klp_json_put_bool(out, true);
    }
    put_member(out, "id", facts->did);
    if (!facts->revoked) {
        klp_json_name(out, "verificationMethod");
        klp_json_array(out);
        klp_json_object(out);
        put_member(out, "controller", facts->did);
        put_member(out, "id", facts->key_id);
        put_member(out, "publicKeyMultibase", facts->key);
        put_member(out, "type", "Multikey");
        klp_json_close(out, '}');
        klp_json_close(out, ']');
    }
    klp_json_close(out, '}');
}

int32_t klp_log_did_document(const struct klp_log *log, uint8_t **ret_data, size_t *ret_len)
{
    if (!log->count)
        return KOS_E_NOTFOUND;
    struct facts facts = { .revoked = klp_log_revoked(log), .frozen = log->frozen };
    const struct entry *head = log->entries[log->count - 1];
    struct klp_id delegator;
    struct klp_digest identity;
    klp_did(klp_log_id(log), facts.did);
    if (klp_log_delegator(log, &delegator, &identity))
        klp_did(&delegator, facts.controller);
    if (!facts.revoked) {
        int32_t error = klp_public_text(&log->entries[head->key_at]->event.key, facts.key);
        if (error < 0)
            return error;
        snprintf(facts.key_id, sizeof facts.key_id, "%s#event-%llu", facts.did, (unsigned long long)head->key_at);
    }
    struct klp_json_out out;
    struct kos_bytes text;
    klp_json_begin(&out, NULL, 0);
    put_document(&out, &facts);
    size_t len = out.len;
    uint8_t *data = malloc(len);
    if (!data)
        return KOS_E_NOMEM;
    klp_json_begin(&out, data, len);
    put_document(&out, &facts);
    int32_t error = klp_json_end(&out, &text);
    if (error < 0) {
        free(data);
        return error;
    }
    *ret_data = data;
    *ret_len = text.len;
    return 0;
}
