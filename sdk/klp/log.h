/* SPDX-License-Identifier: Apache-2.0
 *
 * Key event logs (klp(7), "Identity"): hash-chained signed events in the manner of KERI. A log proves
 * which key spoke for an id at which event. An entry's text is the canonical JSON
 *   {"body":{...},"signature":"0x..."}
 * the signature under KLP_TAG_EVENT over the exact bytes of `body`; a log's text is its entries, each
 * followed by a newline.
 *
 * Members of the bodies (JCS; integers are Unix ms or counts; ids 26 characters, keys multikey text, digests 0x and
 * 64 digits; PARTY is {"digest","id"}, an id with the full digest behind it). Other members are refused.
 *   inception   created delegator? key kind next recovery? seq type witness_threshold? witnesses?
 *   rotation    compromised|grace created id key next prior recovery? seq signer|by_recovery type witness_threshold? witnesses?
 *   revocation  compromised|grace created id prior seq signer|by_recovery type
 *   delegation  agent created id prior seq type
 *   handover    acceptance created id prior seq signer|by_recovery type
 * `signer` is the pre-committed key, shown at last: its klp_public_digest() is the `next` in force. `by_recovery` is
 * true or absent, and stands instead of it; so does `compromised` instead of `grace`. `delegator` (PARTY) is required for
 * agents and refused for others, `agent` is a PARTY. The inception has no id: it is derived from its body. A handover's
 * key, next and host are those of the acceptance it embeds.
 *
 * Ranks decide between branches that part at one place: 0 delegation, 1 what the pre-committed key signed, 2 what the
 * recovery key signed, 3 a revocation by the recovery key. A branch ranks as its highest event; the higher stands, and
 * of equals neither: duplicity. Of two revocations by the recovery key each replica keeps the one that it saw first: the
 * identity has ended either way, and only their graces may differ.
 */
#ifndef KLP_LOG_H
#define KLP_LOG_H

#include <klp/id.h>
#include <klp/json.h>

#define KLP_TAG_ACCEPT "klp-accept/1"
#define KLP_GRACE_MAX_MS INT64_C(2592000000)   /* no message lives longer */

enum { KLP_LOG_EVENTS_MAX = 4096, KLP_EVENT_MAX = 16384, KLP_WITNESSES_MAX = 16, KLP_GRACE_DEFAULT_MS = 86400000 };

enum klp_event_type { KLP_EVENT_INCEPTION = 1, KLP_EVENT_ROTATION = 2, KLP_EVENT_REVOCATION = 3, KLP_EVENT_DELEGATION = 4, KLP_EVENT_HANDOVER = 5 };

/* One parsed event. Slices point into the entry it was parsed from. Members that a type does not have are zero. */
struct klp_event {
    int32_t type;
    int32_t kind;                    /* inception */
    uint64_t seq;                    /* 0 for the inception, rising by one */
    struct klp_id id;                /* whose log */
    struct klp_digest identity;      /* inception: the full digest behind the id */
    struct klp_digest digest;        /* SHA-256(body): what `prior` of the next event names */
    struct klp_digest prior;
    int64_t created;                 /* Unix ms, the signer's word */
    struct klp_public key;           /* the key that signs from here on (inception, rotation, handover) */
    struct klp_digest next;          /* pre-rotation: klp_public_digest() of the key that signs the next rotation */
    struct klp_public signer;        /* rotation, revocation, handover: the pre-committed key that signs this event (made from
                                      * the secret by klp_event_make). `key` should be a fresh one: who steals a key that is
                                      * both could sign another rotation at this place and freeze the identity */
    bool has_recovery;
    struct klp_public recovery;      /* inception, rotation: the offline key; once set, only it can name another */
    bool by_recovery;                /* rotation, revocation, handover: signed by the recovery key instead of the next key */
    int64_t grace_ms;                /* rotation, revocation: how long messages of the old key still serve; handover: the default */
    bool compromised;                /* rotation, revocation: grace is 0 */
    struct klp_id subject;           /* inception: the delegator (zero: none); delegation: the agent; handover: the new host */
    struct klp_digest subject_digest;/* its full digest */
    uint32_t witness_count, witness_threshold; /* inception, rotation (0: unchanged) */
    struct klp_id witnesses[KLP_WITNESSES_MAX];
    struct kos_bytes acceptance;     /* handover: the embedded acceptance, canonical JSON */
    struct kos_bytes body, signature;/* signature: 64 bytes live in signature_bytes */
    uint8_t signature_bytes[KLP_SIGNATURE_LEN];
};

/* Parses one entry; checks shape and limits, not signatures. */
int32_t klp_event_parse(struct kos_bytes entry, struct klp_event *ret_event, struct kos_error *ret_error);

/* Making events: fill the members that the type has (never id, digest, prior of an inception), give the signing
 * secret: inception its own key; rotation, revocation and handover the pre-committed next key (or the recovery key
 * with by_recovery); delegation the current key. A handover takes key, next and subject from `acceptance`. The entry's
 * text, no newline, goes to out. KOS_E_LIMIT when cap is too small (KLP_EVENT_MAX suffices). What is made, parses. */
int32_t klp_event_make(const struct klp_event *event, const struct klp_secret *secret, uint8_t *out, size_t cap, size_t *ret_len, struct kos_error *ret_error);

/* What the new host of a migrating agent signs with the new signing key (klp(7), "Agents and migration"):
 *   {"body":{"agent":PARTY,"bundle":"0x..","created":ms,"host":PARTY,"key":"z..","next":"0x..","prior":"0x..",
 *            "sealing_key":"z..","seq":n},"signature":"0x.."}     under KLP_TAG_ACCEPT.
 * Embedded in the handover at `seq` after `prior`, it lets the log verify by itself. */
struct klp_acceptance {
    struct klp_id agent;
    struct klp_digest agent_identity;
    struct klp_id host;                /* a node; that it took the agent is proven by a delegation in its own log */
    struct klp_digest host_identity;
    uint64_t seq;
    struct klp_digest prior;
    struct klp_digest bundle;          /* of the bundle that was received */
    int64_t created;
    struct klp_public key;
    struct klp_digest next;
    uint8_t sealing_key[KLP_X25519_LEN];
    struct kos_bytes body;             /* slice of the text; ignored by klp_acceptance_make */
    uint8_t signature[KLP_SIGNATURE_LEN];
};
enum { KLP_ACCEPTANCE_MAX = 2048 };
int32_t klp_acceptance_parse(struct kos_bytes text, struct klp_acceptance *ret_acceptance, struct kos_error *ret_error);
int32_t klp_acceptance_verify(const struct klp_acceptance *acceptance);
int32_t klp_acceptance_make(const struct klp_acceptance *acceptance, const struct klp_secret *new_key, uint8_t *out, size_t cap, size_t *ret_len, struct kos_error *ret_error);

/* A verified log. Owns copies of its entries. */
struct klp_log;
struct klp_log *klp_log_new(void);
void klp_log_free(struct klp_log *log);
struct klp_log *klp_log_clone(const struct klp_log *log);

/* What an append did. */
enum klp_log_outcome {
    KLP_LOG_APPENDED = 0,
    KLP_LOG_KNOWN = 1,       /* the same event is there already */
    KLP_LOG_SUPERSEDED = 2,  /* it took the place of non-rotation events from its sequence on (recovery: of any) */
};

/* Verifies one entry against the log and takes it. Errors leave the log unchanged: KOS_E_SIGNATURE, KOS_E_KEY (not the
 * pre-committed key), KOS_E_GAP (an earlier event is missing, or it follows another one than ours: ask for the log from
 * 0), KOS_E_REVOKED, KOS_E_STALE (superseded already), KOS_E_MISADDRESSED (another identity's event),
 * KOS_E_DUPLICITY (a different event, validly signed, stands at this place and neither supersedes: the log is frozen
 * from now on and both entries are kept, see klp_log_duplicity), KOS_E_FROZEN, KOS_E_LIMIT.
 * An event that outranks both sides of a duplicity settles it: the log is no longer frozen, the proof stays. */
int32_t klp_log_append(struct klp_log *log, struct kos_bytes entry, struct kos_error *ret_error);
/* A log's text, from any event on; stops at the first error, what came before it stays. Returns how many entries were
 * new. A branch that parts from ours is weighed as a whole, so the order of arrival does not decide. */
int32_t klp_log_append_text(struct klp_log *log, struct kos_bytes text, struct kos_error *ret_error);

uint64_t klp_log_count(const struct klp_log *log);
const struct klp_event *klp_log_event(const struct klp_log *log, uint64_t seq);   /* NULL beyond the head */
struct kos_bytes klp_log_entry(const struct klp_log *log, uint64_t seq);
const struct klp_event *klp_log_head(const struct klp_log *log);                   /* NULL when empty */
const struct klp_id *klp_log_id(const struct klp_log *log);
/* The full digest behind the id. */
const struct klp_digest *klp_log_identity(const struct klp_log *log);
int32_t klp_log_kind(const struct klp_log *log);
bool klp_log_revoked(const struct klp_log *log);
bool klp_log_frozen(const struct klp_log *log);
/* The proof: two entries for one place. Who stores a log stores the other one too: appended again, it freezes again. */
bool klp_log_duplicity(const struct klp_log *log, struct kos_bytes *ret_one, struct kos_bytes *ret_other);
/* The delegator of an agent's log, its host after handovers; false when there is none. */
bool klp_log_delegator(const struct klp_log *log, struct klp_id *ret_id, struct klp_digest *ret_identity);
/* Whether `log` (a node's) holds a delegation of this agent. */
bool klp_log_delegates(const struct klp_log *log, const struct klp_id *agent, const struct klp_digest *identity);
/* The key in force at event `seq`; KOS_E_NOTFOUND beyond the head, KOS_E_REVOKED at a revocation. */
int32_t klp_log_key(const struct klp_log *log, uint64_t seq, struct klp_public *ret_key);
/* Whether a record created at `created` and arriving at `now` may still be signed by the key of event `seq`. Delegations
 * change no key; after the first event that does, records created before it serve until its `created` and grace:
 * KOS_OK, KOS_E_EXPIRED (a newer key is known and the grace is over), KOS_E_REVOKED, KOS_E_FROZEN, KOS_E_NOTFOUND. */
int32_t klp_log_may_sign(const struct klp_log *log, uint64_t seq, int64_t created, int64_t now);
/* The whole text, malloc'ed; entries from `from_seq` on. */
int32_t klp_log_text(const struct klp_log *log, uint64_t from_seq, uint8_t **ret_data, size_t *ret_len);
/* The W3C DID document of did:klp, derived: canonical JSON, malloc'ed. */
int32_t klp_log_did_document(const struct klp_log *log, uint8_t **ret_data, size_t *ret_len);

#endif
