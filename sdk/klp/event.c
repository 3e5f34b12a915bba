/* SPDX-License-Identifier: Apache-2.0
 *
 * One event of a key event log: from text and to text. Shape, limits and what a single event can contradict in itself
 * are checked here; keys and chains in log.c.
 */
#include <klp/log.h>

#include "member.h"

/* Sorted, as klp_json_get_many() wants them. */
enum {
    M_ACCEPTANCE, M_AGENT, M_BY_RECOVERY, M_COMPROMISED, M_CREATED, M_DELEGATOR, M_GRACE, M_ID, M_KEY, M_KIND, M_NEXT,
    M_PRIOR, M_RECOVERY, M_SEQ, M_SIGNER, M_TYPE, M_THRESHOLD, M_WITNESSES, M_COUNT
};
static const char *const member_names[M_COUNT] = {
    "acceptance", "agent", "by_recovery", "compromised", "created", "delegator", "grace", "id", "key", "kind", "next",
    "prior", "recovery", "seq", "signer", "type", "witness_threshold", "witnesses",
};

#define BIT(member) (1u << (member))
#define CHAINED (BIT(M_CREATED) | BIT(M_ID) | BIT(M_PRIOR) | BIT(M_SEQ) | BIT(M_TYPE))
#define BY_NEXT (BIT(M_SIGNER) | BIT(M_BY_RECOVERY))
#define ENDS_KEY (BIT(M_GRACE) | BIT(M_COMPROMISED))
#define WITNESSED (BIT(M_WITNESSES) | BIT(M_THRESHOLD))

static const struct shape {
    const char *name;
    uint32_t required, optional;
} shapes[] = {
    [KLP_EVENT_INCEPTION] = { "inception",
                              BIT(M_CREATED) | BIT(M_KEY) | BIT(M_KIND) | BIT(M_NEXT) | BIT(M_SEQ) | BIT(M_TYPE),
                              BIT(M_DELEGATOR) | BIT(M_RECOVERY) | WITNESSED },
    [KLP_EVENT_ROTATION] = { "rotation", CHAINED | BIT(M_KEY) | BIT(M_NEXT),
                             BY_NEXT | ENDS_KEY | BIT(M_RECOVERY) | WITNESSED },
    [KLP_EVENT_REVOCATION] = { "revocation", CHAINED, BY_NEXT | ENDS_KEY },
    [KLP_EVENT_DELEGATION] = { "delegation", CHAINED | BIT(M_AGENT), 0 },
    [KLP_EVENT_HANDOVER] = { "handover", CHAINED | BIT(M_ACCEPTANCE), BY_NEXT },
};
enum { TYPE_MAX = KLP_EVENT_HANDOVER };

static int32_t parse_type(struct klp_json value, int32_t *ret_type)
{
    for (int32_t type = KLP_EVENT_INCEPTION; type <= TYPE_MAX; type++)
        if (klp_json_equals(value, shapes[type].name)) {
            *ret_type = type;
            return 0;
        }
    return KOS_E_SYNTAX;
}

/* Exactly the members that the type has: a security record means what all its readers know, or nothing. */
static int32_t check_members(const struct shape *shape, const struct klp_json *values, size_t total,
                             struct kos_error *ret_error)
{
    size_t present = 0;
    for (int i = 0; i < M_COUNT; i++) {
        bool here = values[i].type != KLP_JSON_NONE;
        present += here;
        if (here && !((shape->required | shape->optional) & BIT(i)))
            return kos_fail(ret_error, KOS_E_SYNTAX, "the %s event has a member \"%s\", which this type does not have",
                            shape->name, member_names[i]);
        if (!here && (shape->required & BIT(i)))
            return kos_fail(ret_error, KOS_E_SYNTAX, "the %s event lacks its member \"%s\"", shape->name,
                            member_names[i]);
    }
    if (present != total)
        return kos_fail(ret_error, KOS_E_SYNTAX, "the %s event has a member that no event has", shape->name);
    return 0;
}

static int32_t parse_witnesses(struct klp_json value, struct klp_event *event)
{
    struct klp_json_iter iter;
    struct klp_json item;
    if (value.type != KLP_JSON_ARRAY)
        return KOS_E_SYNTAX;
    klp_json_iter_init(value, &iter);
    while (klp_json_next(&iter, NULL, &item)) {
        if (event->witness_count == KLP_WITNESSES_MAX)
            return KOS_E_LIMIT;
        struct klp_id *id = &event->witnesses[event->witness_count];
        int32_t error = member_id(item, id);
        if (error < 0)
            return error;
        for (uint32_t i = 0; i < event->witness_count; i++)
            if (klp_id_eq(&event->witnesses[i], id))
                return KOS_E_SYNTAX;
        event->witness_count++;
    }
    return event->witness_count ? 0 : KOS_E_SYNTAX;
}

static int32_t parse_threshold(struct klp_json value, struct klp_event *event)
{
    uint64_t number;
    int32_t error = klp_json_uint(value, &number);
    if (error < 0)
        return error;
    if (number < 1 || number > KLP_WITNESSES_MAX)
        return KOS_E_LIMIT;
    event->witness_threshold = (uint32_t)number;
    return 0;
}

/* `by_recovery` and `compromised` are true or absent: one text for each meaning. */
static int32_t parse_flag(struct klp_json value, bool *ret_flag)
{
    int32_t error = klp_json_bool(value, ret_flag);
    return error < 0 ? error : *ret_flag ? 0 : KOS_E_SYNTAX;
}

static int32_t parse_kind(struct klp_json value, int32_t *ret_kind)
{
    struct kos_bytes text;
    int32_t error = klp_json_plain(value, &text);
    if (!error)
        error = klp_kind_parse(text, ret_kind);
    return error < 0 ? error : *ret_kind == KLP_KIND_DOC ? KOS_E_INVALID : 0;
}

static int32_t parse_acceptance(struct klp_json value, struct klp_event *event)
{
    struct klp_acceptance acceptance;
    int32_t error = klp_acceptance_parse(value.text, &acceptance, NULL);
    if (error < 0)
        return error;
    if (!klp_id_eq(&acceptance.agent, &event->id) || acceptance.seq != event->seq
        || memcmp(&acceptance.prior, &event->prior, sizeof event->prior) != 0)
        return KOS_E_INVALID;
    event->acceptance = value.text;
    event->key = acceptance.key;
    event->next = acceptance.next;
    event->subject = acceptance.host;
    event->subject_digest = acceptance.host_identity;
    event->grace_ms = KLP_GRACE_DEFAULT_MS;
    return 0;
}

static int32_t parse_member(int member, struct klp_json value, struct klp_event *event)
{
    switch (member) {
    case M_AGENT:
    case M_DELEGATOR: return member_party(value, &event->subject, &event->subject_digest);
    case M_BY_RECOVERY: return parse_flag(value, &event->by_recovery);
    case M_COMPROMISED: return parse_flag(value, &event->compromised);
    case M_CREATED: return member_time(value, &event->created);
    case M_GRACE: return member_time(value, &event->grace_ms);
    case M_ID: return member_id(value, &event->id);
    case M_KEY: return member_key(value, &event->key);
    case M_KIND: return parse_kind(value, &event->kind);
    case M_NEXT: return member_digest(value, &event->next);
    case M_PRIOR: return member_digest(value, &event->prior);
    case M_RECOVERY: event->has_recovery = true; return member_key(value, &event->recovery);
    case M_SEQ: return klp_json_uint(value, &event->seq);
    case M_SIGNER: return member_key(value, &event->signer);
    case M_WITNESSES: return parse_witnesses(value, event);
    case M_THRESHOLD: return parse_threshold(value, event);
    default: return 0; /* type came first, the acceptance comes last */
    }
}

static bool same_key(const struct klp_public *a, const struct klp_public *b)
{
    return a->len && a->len == b->len && a->alg == b->alg && memcmp(a->b, b->b, a->len) == 0;
}

/* A commitment to a key that is already shown protects nothing. */
static bool commits_to(const struct klp_digest *next, const struct klp_public *key)
{
    struct klp_digest digest;
    if (!key->len)
        return false;
    klp_public_digest(key, &digest);
    return memcmp(&digest, next, sizeof digest) == 0;
}

/* What the members say together. */
static int32_t check_relations(const struct klp_event *event, const struct klp_json *values,
                               struct kos_error *ret_error)
{
    const char *name = shapes[event->type].name;
    if ((event->type == KLP_EVENT_INCEPTION) != (event->seq == 0))
        return kos_fail(ret_error, KOS_E_SYNTAX,
                        "the %s event stands at %llu: an inception stands at 0 and nothing else does", name,
                        (unsigned long long)event->seq);
    if (event->type == KLP_EVENT_INCEPTION
        && (event->kind == KLP_KIND_AGENT) != (values[M_DELEGATOR].type != KLP_JSON_NONE))
        return kos_fail(ret_error, KOS_E_SYNTAX,
                        "the inception of %s %s: agents name their delegator, nothing else does",
                        event->kind == KLP_KIND_AGENT ? "an agent" : "what is no agent",
                        event->kind == KLP_KIND_AGENT ? "names no delegator" : "names one");
    if ((shapes[event->type].optional & BY_NEXT) && event->by_recovery == (values[M_SIGNER].type != KLP_JSON_NONE))
        return kos_fail(ret_error, KOS_E_SYNTAX,
                        "the %s event needs exactly one of the members \"signer\" and \"by_recovery\"", name);
    if ((shapes[event->type].optional & ENDS_KEY) && event->compromised == (values[M_GRACE].type != KLP_JSON_NONE))
        return kos_fail(ret_error, KOS_E_SYNTAX,
                        "the %s event needs exactly one of the members \"grace\" and \"compromised\"", name);
    if (event->grace_ms > KLP_GRACE_MAX_MS)
        return kos_fail(ret_error, KOS_E_LIMIT, "the %s event's grace of %lld ms is more than %lld (30 days)", name,
                        (long long)event->grace_ms, (long long)KLP_GRACE_MAX_MS);
    if ((event->witness_count != 0) != (event->witness_threshold != 0)
        || event->witness_threshold > event->witness_count)
        return kos_fail(ret_error, KOS_E_SYNTAX, "the %s event's witness threshold %u does not fit its %u witnesses",
                        name, event->witness_threshold, event->witness_count);
    if (!event->key.len)
        return 0;
    if (commits_to(&event->next, &event->key) || commits_to(&event->next, &event->signer))
        return kos_fail(ret_error, KOS_E_KEY,
                        "the %s event commits to a key that it shows: the next key must be a secret one", name);
    if (event->has_recovery && same_key(&event->recovery, &event->key))
        return kos_fail(ret_error, KOS_E_KEY,
                        "the %s event's recovery key is its signing key: a recovery key stays offline", name);
    return 0;
}

int32_t klp_event_parse(struct kos_bytes entry, struct klp_event *ret_event, struct kos_error *ret_error)
{
    struct klp_event event = { 0 };
    struct klp_json envelope, body, values[M_COUNT];
    size_t offset = 0;
    int32_t error = klp_json_read(entry, KLP_EVENT_MAX, &envelope, &offset);
    if (error == KOS_E_LIMIT && entry.len > KLP_EVENT_MAX)
        return kos_fail(ret_error, error, "the event has %zu bytes, more than %d", entry.len, KLP_EVENT_MAX);
    if (error < 0)
        return kos_fail(ret_error, error, "the event is not canonical JSON (RFC 8785) at byte %zu", offset);
    error = member_envelope(envelope, &body, event.signature_bytes);
    if (error < 0)
        return kos_fail(ret_error, KOS_E_SYNTAX, "the event is not {\"body\":{...},\"signature\":\"0x<128 digits>\"}");
    size_t total = klp_json_get_many(body, member_names, M_COUNT, values);
    if (parse_type(values[M_TYPE], &event.type) < 0)
        return kos_fail(ret_error, KOS_E_SYNTAX,
                        "the event's type is none of inception, rotation, revocation, delegation, handover");
    error = check_members(&shapes[event.type], values, total, ret_error);
    if (error < 0)
        return error;
    for (int i = 0; i < M_COUNT && !error; i++) {
        error = values[i].type == KLP_JSON_NONE ? 0 : parse_member(i, values[i], &event);
        if (error < 0)
            return kos_fail(ret_error, error, "the %s event's member \"%s\" is not acceptable: %s",
                            shapes[event.type].name, member_names[i], kos_error_text(error));
    }
    if (values[M_ACCEPTANCE].type != KLP_JSON_NONE && (error = parse_acceptance(values[M_ACCEPTANCE], &event)) < 0)
        return kos_fail(ret_error, error,
                        "the handover's acceptance is malformed, or names another agent, place or prior event");
    event.body = body.text;
    klp_sha256(event.body, &event.digest);
    if (event.type == KLP_EVENT_INCEPTION)
        klp_id_derive(event.kind, event.body, &event.id, &event.identity);
    error = check_relations(&event, values, ret_error);
    if (error < 0)
        return error;
    *ret_event = event;
    ret_event->signature = kos_bytes(ret_event->signature_bytes, KLP_SIGNATURE_LEN);
    return 0;
}

static void put_member(struct klp_json_out *out, int member, const struct klp_event *event)
{
    switch (member) {
    case M_ACCEPTANCE: klp_json_name(out, "acceptance"); klp_json_put_raw(out, event->acceptance); break;
    case M_AGENT:
    case M_DELEGATOR: member_put_party(out, member_names[member], &event->subject, &event->subject_digest); break;
    case M_BY_RECOVERY:
    case M_COMPROMISED: klp_json_name(out, member_names[member]); klp_json_put_bool(out, true); break;
    case M_CREATED: member_put_int(out, "created", event->created); break;
    case M_GRACE: member_put_int(out, "grace", event->grace_ms); break;
    case M_ID: member_put_id(out, "id", &event->id); break;
    case M_KEY: member_put_key(out, "key", &event->key); break;
    case M_KIND: klp_json_name(out, "kind"); klp_json_put_cstr(out, klp_kind_name(event->kind)); break;
    case M_NEXT: member_put_digest(out, "next", &event->next); break;
    case M_PRIOR: member_put_digest(out, "prior", &event->prior); break;
    case M_RECOVERY: member_put_key(out, "recovery", &event->recovery); break;
    case M_SEQ: member_put_int(out, "seq", (int64_t)event->seq); break;
    case M_SIGNER: member_put_key(out, "signer", &event->signer); break;
    case M_TYPE: klp_json_name(out, "type"); klp_json_put_cstr(out, shapes[event->type].name); break;
    case M_THRESHOLD: member_put_int(out, "witness_threshold", event->witness_threshold); break;
    default:
        klp_json_name(out, "witnesses");
        klp_json_array(out);
        for (uint32_t i = 0; i < event->witness_count && i < KLP_WITNESSES_MAX; i++) {
            char text[KLP_ID_TEXT];
            klp_id_text(&event->witnesses[i], text);
            klp_json_put_cstr(out, text);
        }
        klp_json_close(out, ']');
    }
}

static uint32_t members_of(const struct klp_event *event)
{
    uint32_t all = shapes[event->type].required, may = shapes[event->type].optional;
    all |= may & (event->by_recovery ? BIT(M_BY_RECOVERY) : BIT(M_SIGNER));
    all |= may & (event->compromised ? BIT(M_COMPROMISED) : BIT(M_GRACE));
    if (event->has_recovery)
        all |= may & BIT(M_RECOVERY);
    if (event->witness_count)
        all |= may & WITNESSED;
    if (event->kind == KLP_KIND_AGENT)
        all |= may & BIT(M_DELEGATOR);
    return all;
}

/* The inception signs with the key that it shows, so a wrong secret is found here and not by the first reader. */
static int32_t set_signer(struct klp_event *event, const struct klp_secret *secret, struct kos_error *ret_error)
{
    struct klp_public key;
    int32_t error = klp_secret_public(secret, &key);
    if (error < 0)
        return kos_fail(ret_error, error, "the signing secret gives no acceptable key");
    if (event->type == KLP_EVENT_INCEPTION && !same_key(&event->key, &key))
        return kos_fail(ret_error, KOS_E_KEY,
                        "an inception is signed by the key that it names, and the secret is another one's");
    if ((shapes[event->type].optional & BY_NEXT) && !event->by_recovery)
        event->signer = key;
    return 0;
}

int32_t klp_event_make(const struct klp_event *event, const struct klp_secret *secret, uint8_t *out, size_t cap,
                       size_t *ret_len, struct kos_error *ret_error)
{
    if (event->type < KLP_EVENT_INCEPTION || event->type > TYPE_MAX)
        return kos_fail(ret_error, KOS_E_INVALID, "%d is no type of event", event->type);
    if (event->type == KLP_EVENT_INCEPTION && (!klp_kind_name(event->kind) || event->kind == KLP_KIND_DOC))
        return kos_fail(ret_error, KOS_E_INVALID, "%d is no kind of identity: node, agent or policy", event->kind);
    struct klp_event made = *event;
    int32_t error = set_signer(&made, secret, ret_error);
    if (error < 0)
        return error;
    if (cap < MEMBER_ENVELOPE_HEAD + MEMBER_ENVELOPE_TAIL)
        return kos_fail(ret_error, KOS_E_LIMIT, "%zu bytes are too few for an event: give %d", cap, KLP_EVENT_MAX);
    struct klp_json_out json;
    struct kos_bytes body;
    uint32_t members = members_of(&made);
    klp_json_begin(&json, out + MEMBER_ENVELOPE_HEAD, cap - MEMBER_ENVELOPE_HEAD - MEMBER_ENVELOPE_TAIL);
    klp_json_object(&json);
    for (int i = 0; i < M_COUNT; i++)
        if (members & BIT(i))
            put_member(&json, i, &made);
    klp_json_close(&json, '}');
    error = klp_json_end(&json, &body);
    if (error == KOS_E_LIMIT)
        return kos_fail(ret_error, error, "%zu bytes are too few for this event: give %d", cap, KLP_EVENT_MAX);
    if (error < 0)
        return kos_fail(ret_error, error, "the %s event has a member that cannot be written: %s",
                        shapes[made.type].name, kos_error_text(error));
    uint8_t signature[KLP_SIGNATURE_LEN];
    error = klp_sign(secret, KLP_TAG_EVENT, body, signature);
    if (error < 0)
        return kos_fail(ret_error, error, "the %s event could not be signed: %s", shapes[made.type].name,
                        kos_error_text(error));
    member_envelope_put(body, signature, out);
    size_t len = MEMBER_ENVELOPE_HEAD + body.len + MEMBER_ENVELOPE_TAIL;
    struct klp_event check;
    error = klp_event_parse(kos_bytes(out, len), &check, ret_error);
    if (error < 0)
        return error;
    *ret_len = len;
    return 0;
}
