/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit trail: what an agent was asked and gave, each entry signed with the agent's key and naming the digest of
 * the one before. Beside the entries stands the head (space "audit.head", key id, value u64 count and digest), so that
 * a trail cut short at its end is seen too.
 */
#include "agents/agents.h"

#include <klp/json.h>
#include <stdlib.h>

#include "core/buf.h"

enum { ENTRY_MAX = 16384, ENTRY_KEY = KLP_ID_LEN + 8, HEAD = 8 + KLP_DIGEST_LEN };

static void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

int32_t kos_audit_head(struct kos_store *store, const struct klp_id *agent, uint64_t *ret_entries,
                       struct klp_digest *ret_digest)
{
    uint8_t *value;
    size_t len;
    int32_t rc = kos_store_get(store, "audit.head", kos_bytes(agent->b, KLP_ID_LEN), &value, &len);
    if (rc == KOS_E_NOTFOUND) {
        *ret_entries = 0;
        memset(ret_digest, 0, sizeof *ret_digest);
        return KOS_OK;
    }
    if (rc < 0)
        return rc;
    rc = len == HEAD ? KOS_OK : KOS_E_CORRUPT;
    if (rc == KOS_OK) {
        *ret_entries = get_u64(value);
        memcpy(ret_digest->b, value + 8, KLP_DIGEST_LEN);
    }
    free(value);
    return rc;
}

/* The members that the trail itself adds, in JCS order. */
struct added {
    const char *name;
    void (*put)(struct klp_json_out *out, const struct added *added);
    int64_t number;
    const struct klp_id *id;
    const struct klp_digest *digest;
};

static void put_number(struct klp_json_out *out, const struct added *added)
{
    klp_json_put_int(out, added->number);
}

static void put_id(struct klp_json_out *out, const struct added *added)
{
    char text[KLP_ID_TEXT];
    klp_id_text(added->id, text);
    klp_json_put_cstr(out, text);
}

static void put_digest(struct klp_json_out *out, const struct added *added)
{
    klp_json_put_hex(out, kos_bytes(added->digest->b, KLP_DIGEST_LEN));
}

static bool before(const char *name, struct kos_bytes other)
{
    size_t len = strlen(name), common = len < other.len ? len : other.len;
    int order = memcmp(name, other.data, common);
    return order < 0 || (order == 0 && len < other.len);
}

/* The fields with ours among them, in order. A field of one of our names makes the writer refuse the order. */
static void merge(struct klp_json_out *out, struct klp_json fields, const struct added *added, size_t count)
{
    struct klp_json_iter iter;
    struct klp_json value;
    struct kos_bytes name;
    char text[64];
    size_t next = 0;
    klp_json_object(out);
    klp_json_iter_init(fields, &iter);
    while (klp_json_next(&iter, &name, &value)) {
        for (; next < count && before(added[next].name, name); next++) {
            klp_json_name(out, added[next].name);
            added[next].put(out, &added[next]);
        }
        if (name.len >= sizeof text) {
            out->error = KOS_E_LIMIT;
            return;
        }
        memcpy(text, name.data, name.len);
        text[name.len] = 0;
        klp_json_name(out, text);
        klp_json_put_raw(out, value.text);
    }
    for (; next < count; next++) {
        klp_json_name(out, added[next].name);
        added[next].put(out, &added[next]);
    }
    klp_json_close(out, '}');
}

int32_t kos_audit_append(struct kos_store *store, struct kos_tx *tx, const struct kos_identity *agent,
                         struct kos_bytes fields, int64_t at, struct klp_digest *ret_digest)
{
    struct klp_json object;
    struct klp_digest prior, digest;
    uint64_t seq;
    const struct klp_id *id = kos_identity_id(agent);
    int32_t rc = klp_json_read(fields, ENTRY_MAX, &object, NULL);
    if (rc < 0 || object.type != KLP_JSON_OBJECT)
        return rc < 0 ? rc : KOS_E_INVALID;
    if ((rc = kos_audit_head(store, id, &seq, &prior)) < 0)
        return rc;
    const struct added added[] = {
        { .name = "agent", .put = put_id, .id = id },
        { .name = "at", .put = put_number, .number = at },
        { .name = "key_event", .put = put_number, .number = (int64_t)kos_identity_event(agent) },
        { .name = "prior", .put = put_digest, .digest = &prior },
        { .name = "seq", .put = put_number, .number = (int64_t)seq },
    };
    uint8_t *room = kos_new(2 * ENTRY_MAX), key[ENTRY_KEY], head[HEAD], signature[KLP_SIGNATURE_LEN];
    struct klp_json_out out;
    struct kos_bytes entry, text;
    klp_json_begin(&out, room, ENTRY_MAX);
    merge(&out, object, added, sizeof added / sizeof *added);
    rc = klp_json_end(&out, &entry);
    if (rc == KOS_OK)
        rc = kos_identity_sign(agent, KLP_TAG_AUDIT, entry, signature);
    if (rc == KOS_OK) {
        klp_sha256(entry, &digest);
        uint8_t *value = kos_new(ENTRY_MAX + 256);
        klp_json_begin(&out, value, ENTRY_MAX + 256);
        klp_json_object(&out);
        klp_json_name(&out, "entry");
        klp_json_put_raw(&out, entry);
        klp_json_name(&out, "signature");
        klp_json_put_hex(&out, kos_bytes(signature, sizeof signature));
        klp_json_close(&out, '}');
        rc = klp_json_end(&out, &text);
        if (rc == KOS_OK) {
            memcpy(key, id->b, KLP_ID_LEN);
            put_u64(key + KLP_ID_LEN, seq);
            put_u64(head, seq + 1);
            memcpy(head + 8, digest.b, KLP_DIGEST_LEN);
            kos_tx_put(tx, "audit", kos_bytes(key, sizeof key), text);
            kos_tx_put(tx, "audit.head", kos_bytes(id->b, KLP_ID_LEN), kos_bytes(head, sizeof head));
            *ret_digest = digest;
        }
        free(value);
    }
    free(room);
    return rc;
}

/* ---- reading it through ---- */

struct check {
    const struct klp_log *log;
    uint64_t entries;
    struct klp_digest prior;
    int32_t code;
    struct kos_error error;
};

static bool digest_equals(struct klp_json value, const struct klp_digest *digest)
{
    char text[2 * KLP_DIGEST_LEN + 3] = "0x";
    klp_hex(kos_bytes(digest->b, KLP_DIGEST_LEN), text + 2);
    return klp_json_equals(value, text);
}

static bool bad(struct check *c, int32_t code, const char *what)
{
    c->code = kos_fail(&c->error, code, "entry %llu of the audit trail %s", (unsigned long long)c->entries, what);
    return false;
}

static bool check_one(struct check *c, struct kos_bytes key, struct kos_bytes value)
{
    struct klp_json whole, entry;
    struct kos_bytes hex;
    struct klp_public signer;
    uint8_t signature[KLP_SIGNATURE_LEN];
    size_t len;
    uint64_t seq, event;
    char id[KLP_ID_TEXT];
    if (klp_json_read(value, 2 * ENTRY_MAX, &whole, NULL) < 0 ||
        (entry = klp_json_get(whole, "entry")).type != KLP_JSON_OBJECT)
        return bad(c, KOS_E_CORRUPT, "is not what was written");
    if (key.len != ENTRY_KEY || get_u64(key.data + KLP_ID_LEN) != c->entries ||
        klp_json_uint(klp_json_get(entry, "seq"), &seq) < 0 || seq != c->entries)
        return bad(c, KOS_E_CORRUPT, "is missing or stands at the wrong place");
    klp_id_text(klp_log_id(c->log), id);
    if (!klp_json_equals(klp_json_get(entry, "agent"), id))
        return bad(c, KOS_E_CORRUPT, "is another agent's");
    if (!digest_equals(klp_json_get(entry, "prior"), &c->prior))
        return bad(c, KOS_E_CORRUPT, "does not name the digest of the entry before it");
    if (klp_json_uint(klp_json_get(entry, "key_event"), &event) < 0 || klp_log_key(c->log, event, &signer) < 0)
        return bad(c, KOS_E_KEY, "names no key of the agent's log");
    if (klp_json_plain(klp_json_get(whole, "signature"), &hex) < 0 || hex.len < 2 || memcmp(hex.data, "0x", 2) != 0 ||
        klp_unhex(kos_bytes(hex.data + 2, hex.len - 2), signature, sizeof signature, &len) < 0 ||
        len != sizeof signature || klp_verify(&signer, KLP_TAG_AUDIT, entry.text, kos_bytes(signature, len)) < 0)
        return bad(c, KOS_E_SIGNATURE, "is not signed by the agent");
    klp_sha256(entry.text, &c->prior);
    c->entries++;
    return true;
}

static bool check_each(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    return check_one(arg, key, value);
}

int32_t kos_audit_check(struct kos_store *store, const struct klp_log *agent, uint64_t *ret_entries,
                        struct kos_error *ret_error)
{
    struct check c = { .log = agent };
    struct klp_digest head;
    uint64_t entries;
    const struct klp_id *id = klp_log_id(agent);
    struct kos_bytes prefix = kos_bytes(id->b, KLP_ID_LEN);
    int32_t rc = kos_store_scan(store, "audit", prefix, prefix, check_each, &c);
    if (rc < 0)
        return kos_fail(ret_error, rc, "the audit trail cannot be read: %s", kos_error_text(rc));
    if (c.code == KOS_OK && ((rc = kos_audit_head(store, id, &entries, &head)) < 0 || entries != c.entries ||
                             memcmp(&head, &c.prior, sizeof head) != 0))
        c.code = kos_fail(&c.error, KOS_E_CORRUPT,
                          "the audit trail has %llu entries, and its head does not agree with the last of them",
                          (unsigned long long)c.entries);
    if (c.code < 0)
        return kos_fail(ret_error, c.code, "%s", c.error.text);
    *ret_entries = c.entries;
    return KOS_OK;
}
