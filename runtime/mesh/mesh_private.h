/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the mesh share. Private.
 *
 * link.c        a carrier's link: bytes in both directions, records
 * handshake.c   Noise on the worker pool, until there is a session
 * datagram.c    links of datagrams: what each one is;  shake.c: handshake messages in them, repeats, cookies
 * packet.c      records in datagrams: pieces of the classes, put in order;  arq.c: acknowledged, lost, sent again
 * airtime.c     what a slow link may carry, and when;  compact.c: items in fewer bytes
 * session.c     frames, classes, credit, life of a session;  flush.c: records out;  intro.c: proof, logs, hello
 * stream.c      byte streams of a session: their life and the way out;  stream_in.c: the way in
 * peer.c        the set of a node's sessions;  dial.c: connections kept up, back-off;  record.c: node records
 * connect.c     the operator's connect;  self.c: where this node listens, which agents it has
 * route.c       addresses to nodes and agents;  status.c: what a person may know
 * transient.c   messages that are delivered at most once: from a transaction to a run, and from an item to a handler
 * outbox.c      messages until their receipt;  tx.c: how they get there;  sign.c: runs on the pool;  entry.c: their
 *               values
 * inbox.c       verify and store;  judge.c: what is let in;  offer.c: handlers and verdicts;  lane.c: whose turn it is;
 *               receipt.c: both ways;  expiry.c: what must be forgotten
 *
 * Who waits for a worker or the disk keeps ids, never pointers to links, sessions or entries: ids are not reused, so
 * what went away meanwhile is simply not found.
 */
#ifndef KOS_MESH_PRIVATE_H
#define KOS_MESH_PRIVATE_H

#include <klp/frame.h>
#include <klp/noise.h>
#include <uthash.h>
#include <utlist.h>

#include "core/buf.h"
#include "mesh/mesh.h"
#include "mesh/pack.h"

enum {
    MESH_PREFACE_LEN = 6,        /* "KLP/1" and the pattern's byte, in clear */
    MESH_HANDSHAKE_MAX = 1024,   /* bytes of one handshake message */
    MESH_LINKS_KEPT = 16,        /* one in so many links is kept from sessions of strangers */
    MESH_UNPROVEN_BYTES = 8192,  /* taken from a link before its handshake ended */
    MESH_LINK_WINDOW = 262144,   /* ciphertext a carrier may hand over before it is consumed */
    MESH_INTRO_BYTES = 4 << 20,  /* plaintext taken from a session whose identity is not proven yet */
    MESH_LOG_REQUESTS = 4,       /* asked of one session to prove itself */
    MESH_CONTROL_CREDIT = 65536, /* of class control, before the first CREDIT frame */
    MESH_RECORD_BULK = 16384,    /* bulk fills a record no further, so nothing waits behind more of it */
    MESH_QUEUE_ROOM = 1 << 20,   /* bytes queued on a session beyond which the outbox holds back, per class */
    MESH_QUEUE_LIMIT = 16 << 20, /* control items queued: a session that takes none of them is closed */
    MESH_JOBS = 32,                /* pieces of work of one session on workers at a time; the others wait their turn */
    MESH_JOBS_ALWAYS = 4,          /* as many may be, whatever their size; further ones while they have together */
    MESH_JOBS_BYTES = 256 << 10,
    MESH_TURN_MESSAGES = 64,       /* judged in a turn, an item more or less; one that takes long is one all wait for */
    MESH_OPEN_COST = 1024,         /* what a message costs that waits for its handler, beside its bytes */
    MESH_OPEN_KEPT = 32 << 20,     /* of those bytes in memory; the others are read back from the store */
    MESH_OFFER_BYTES = 8 << 20,    /* given to the handler of one type and not settled; one may be larger */
    MESH_SENT_AT_ONCE = 4 * (KLP_RECORD_PLAIN_MAX + KLP_RECORD_OVERHEAD), /* handed to the carrier */
    MESH_RUN_BYTES = 512 << 10, /* of one batch */
    MESH_PARSE_INLINE = 8192,   /* items up to this size are parsed on the loop */
    MESH_HELLO_MAX = 4096,
    MESH_SESSIONS_MAX = 8,         /* of one peer: above it the oldest ends */
    MESH_ASKED_MAX = 1000000, /* ids of our own messages kept for their answers */
    MESH_ASKED_LATELY = 1 << 16, /* the same of transient ones: a newer one takes the place of an older one */
    MESH_HEAD_ROOM = 256,        /* of a message, beside its payload and what the maker has */
    MESH_AT_ONCE = 2,            /* signatures a turn that the loop makes or verifies itself */
    MESH_LOCAL_BYTES = 2 << 20,  /* of transient messages to ourselves, with handlers */
    MESH_BACKOFF_MIN_MS = 500,
    MESH_BACKOFF_MAX_MS = 60000,
    MESH_DRAIN_MS = 10000, /* an old session waits for its last receipts */
    MESH_ADDRESSES_MAX = KOS_MESH_ADDRESSES_MAX,
    MESH_AGENTS_MAX = 1024,
    MESH_SKILLS_MAX = 64,
    MESH_RECORDS_MAX = 16384,
    MESH_KEEPS_FOUND_MAX = 256,      /* connections kept up, above which discovery adds none */
    MESH_STREAM_BUFFER = 512 << 10,  /* bytes of one stream that wait to be sent */
    MESH_STREAM_SAYS = 256 << 10,    /* what is to be said of streams besides their bytes: more ends the session */
    MESH_FOUND_TTL_MS = 86400000,    /* the longest that discovery is believed without saying it again */
};

/* Links of datagrams. */
enum {
    MESH_MTU_MIN = 128,            /* smaller ones are not spoken over */
    MESH_DATAGRAM_MAX = 65535,     /* of a larger MTU no more is used */
    MESH_COOKIE_LEN = 16,
    MESH_AMPLIFY = 3,              /* an unproven source gets so many times its bytes */
    MESH_SHAKE_FRAGMENTS = 15,     /* of one handshake message */
    MESH_SHAKE_FAILURES = 16,      /* messages that do not open, before a handshake is given up */
    MESH_SHAKE_MIN_MS = 500,       /* before the first handshake message is sent again, at least */
    MESH_SHAKE_SLOW_MS = 900000,   /* a handshake over a slow link, at most */
    MESH_PIECES = 8,               /* of one datagram */
    MESH_WINDOW = 256,             /* pieces of one class on their way */
    MESH_REORDER_BYTES = 1 << 20,  /* pieces held until those before them are there, all classes */
    MESH_FLIGHT_BYTES = 1 << 20,   /* sent and not acknowledged */
    MESH_CWND_FIRST = 10,          /* datagrams on their way at first; slow links: MESH_CWND_MIN */
    MESH_CWND_MIN = 4,
    MESH_ACK_BITS = 256,           /* counters that an acknowledgement can speak of */
    MESH_ACK_MS = 25,              /* an acknowledgement waits so long for company; slow links: see arq.c */
    MESH_RTO_MIN_MS = 100,
    MESH_RTO_MAX_MS = 60000,       /* slow links: MESH_RTO_SLOW_MS */
    MESH_RTO_SLOW_MS = 300000,
    MESH_SILENT_TRIES = 10,        /* sent again so often without any answer: the link is dead */
    MESH_SLOW_COST = 1000,         /* a link of this price or with an airtime budget is slow: every byte is spared */
    MESH_SLOW_PING_MS = 21600000,  /* 6 h */
    MESH_SLOW_DEAD_MS = 86400000,  /* 24 h */
    MESH_SLOW_SESSION_MS = 604800000, /* 7 days */
    MESH_SLOW_RECEIPT_MS = 3600000,
};
_Static_assert(MESH_WINDOW % 64 == 0 && MESH_ACK_BITS % 64 == 0, "whole words");

#define MESH_RECORD_KIND "node_record"
#define MESH_RECORD_LIFE_MS INT64_C(2592000000)

struct mesh_session;
struct mesh_peer;
struct mesh_keep;
struct mesh_entry;
struct mesh_open;
struct mesh_in;

/* A piece of work of this mesh: the first member of each. */
struct mesh_job {
    struct kos_work work;
    struct kos_mesh *mesh;
    struct mesh_job *next, *prev;
    size_t bytes;                      /* of a session: what there is to work on */
    void (*drop)(struct mesh_job *job); /* the session went while it waited: frees it */
};

/* ---- counters ---- */
struct mesh_counters {
    uint64_t handshakes, handshakes_failed, records_bad, bytes_in, bytes_out;
    /* Of each message that came: its signature was good; it was no repeat and the policy let it in; its handler accepted it. */
    uint64_t verified, allowed, handled;
    uint64_t transient_in, transient_out, transient_refused, transient_lost; /* lost: taken from a plugin or a peer and never handled */
    uint64_t messages_in, messages_out, repeats, receipts_in, receipts_bad, batches_in, batches_out, links_refused;
    uint64_t refused[48]; /* messages, by negative error code */
    uint64_t streams_in, streams_out, streams_refused, stream_bytes_in, stream_bytes_out;
};

/* ---- link.c ---- */
struct mesh_source { /* a remote host with handshakes under way */
    UT_hash_handle hh;
    uint32_t half_open;
    char host[128];
};

struct mesh_handshake;
struct mesh_shake;
struct mesh_arq;

struct mesh_airtime { /* airtime.c: a bucket that fills with the budget's hour */
    uint64_t per_hour_ms; /* 0: no budget */
    int64_t left_us;
    uint64_t filled_ms;   /* monotonic: when it was last looked at */
    bool waiting;         /* something is held back for it */
    uint64_t held;        /* times that it was */
};

struct mesh_link {
    UT_hash_handle hh;
    struct kos_mesh *mesh;
    uint64_t id;
    bool dialled, up, closing, half_open;
    bool datagrams, slow;
    uint32_t flags, cost;
    uint32_t mtu; /* of datagrams */
    uint64_t send_window, bits_per_second;
    uint64_t sent_total, left_total; /* bytes given to the carrier; those of them it said are gone */
    struct mesh_shake *shake;        /* of datagrams */
    struct kos_buf early;            /* records that came before the handshake's end: u16 length, datagram */
    struct mesh_airtime airtime;
    char *local, *remote;
    char transport[32];
    struct mesh_source *source;
    struct mesh_link *stranger_prev, *stranger_next; /* accepted and half open */
    uint64_t send_credit;
    struct kos_buf in;
    struct mesh_handshake *handshake;
    struct mesh_session *session;
    struct mesh_keep *keep;    /* who dialled it */
    struct kos_timer *timer;   /* ends a handshake that takes too long */
    struct kos_deferred first; /* of an accepted link */
};

struct mesh_link *mesh_link_find(struct kos_mesh *mesh, uint64_t id);
/* Dials; the link belongs to `keep`, which hears of its end by mesh_keep_down. 0 with ret_error when the carrier has
 * no such transport. */
uint64_t mesh_link_dial(struct kos_mesh *mesh, struct mesh_keep *keep, const char *address,
                        struct kos_error *ret_error);
void mesh_link_send(struct mesh_link *link, struct kos_bytes bytes); /* a datagram, where the link is of such */
/* Where the carrier wants up to `len` bytes, NULL: mesh_link_send; and how many there are, then. */
uint8_t *mesh_link_make(struct mesh_link *link, size_t len);
void mesh_link_made(struct mesh_link *link, size_t len);
/* Takes what lies in the buffer, as far as the state allows. */
void mesh_link_process(struct mesh_link *link);
void mesh_link_open_window(struct mesh_link *link);
/* Ends it; its session is gone when this returns. The link itself goes with the carrier's link_down. */
void mesh_link_close(struct mesh_link *link, bool flush, int32_t status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void mesh_link_settled(struct mesh_link *link); /* no longer half open */
void mesh_link_free(struct mesh_link *link);

/* ---- handshake.c ---- */
struct mesh_handshake {
    struct mesh_job job;
    struct mesh_link *link; /* NULL: it went down while a worker had this */
    struct klp_noise *noise;
    const uint8_t *secret; /* the node's static key, in the keys' memory */
    int32_t pattern;
    bool initiator, running, writing, has_proof;
    bool second;      /* beside a session, which it may take the place of */
    bool awaits;      /* done; the initiator's first record shows that it is there */
    uint8_t messages; /* done so far */
    uint8_t failures; /* over datagrams: messages that did not open */
    int32_t status;
    struct klp_record *send, *receive; /* when `awaits` */
    uint8_t remote[KLP_X25519_LEN]; /* IK, initiator: known beforehand */
    uint8_t seed[128];              /* the loop's randomness for the worker */
    size_t seed_used;
    uint8_t own_proof[KLP_PROOF_LEN];
    struct klp_proof proof; /* the peer's, not verified */
    uint8_t in[MESH_HANDSHAKE_MAX], out[MESH_HANDSHAKE_MAX], payload[MESH_HANDSHAKE_MAX];
    uint8_t first[MESH_HANDSHAKE_MAX]; /* over datagrams, responder: message 1, to begin anew after a forged message 3 */
    size_t in_len, out_len, payload_len, first_len;
};

/* `remote`: the static key for IK, NULL for XX. */
void mesh_handshake_begin(struct mesh_link *link, bool initiator, const uint8_t *remote);
/* One whole message, over datagrams. `pattern`: of a first message. */
void mesh_handshake_message(struct mesh_link *link, uint8_t pattern, struct kos_bytes message);
/* The handshake beside a session is over: its session takes the place of that one. */
void mesh_handshake_install(struct mesh_link *link);
/* Takes a message off what has come in: bytes used, 0 to wait. */
size_t mesh_handshake_take(struct mesh_link *link, struct kos_bytes rest);
void mesh_handshake_abandon(struct mesh_handshake *handshake);

/* ---- datagram.c ---- */
/* First byte of each datagram; KLP_DATAGRAM_RECORD is 3. */
enum mesh_datagram { MESH_DATAGRAM_SHAKE = 1, MESH_DATAGRAM_COOKIE = 2, MESH_DATAGRAM_AGAIN = 4 };
void mesh_datagram_received(struct mesh_link *link, struct kos_bytes datagram);
void mesh_datagram_process(struct mesh_link *link);
/* A record opened: the other side is there and has the keys. */
void mesh_datagram_alive(struct mesh_link *link);

/* ---- shake.c ---- */
void mesh_shake_new(struct mesh_link *link);
void mesh_shake_free(struct mesh_link *link);
void mesh_shake_begin(struct mesh_link *link); /* an attempt of ours */
/* false: it must wait, a worker has the handshake. */
bool mesh_shake_take(struct mesh_link *link, struct kos_bytes datagram);
void mesh_shake_send(struct mesh_link *link, uint8_t pattern, uint8_t number, struct kos_bytes message);
void mesh_shake_refuse(struct mesh_link *link); /* our key is not the one this message was made for: try the long way */
void mesh_shake_took(struct mesh_link *link, uint8_t number); /* a message opened */
void mesh_shake_confirmed(struct mesh_link *link);
bool mesh_shake_proven(const struct mesh_link *link); /* whether more may be sent than MESH_AMPLIFY allows */
uint64_t mesh_shake_rtt(const struct mesh_link *link);
uint64_t mesh_shake_limit_ms(const struct mesh_link *link); /* how long a handshake may take here */

/* ---- packet.c ---- */
struct mesh_piece { /* of the run of frames of one class: what one datagram carries of it */
    struct mesh_piece *next, *prev; /* of those to be sent again */
    uint64_t seq, counter;          /* counter: of the datagram that last carried it */
    uint8_t klass;
    bool lost;
    size_t len;
    uint8_t data[];
};
void mesh_packet_take(struct mesh_session *session, struct kos_bytes plain);
void mesh_packet_flush(struct mesh_session *session, bool hurry);

/* ---- arq.c ---- */
struct mesh_flight { /* a datagram sent and not acknowledged */
    struct mesh_flight *next, *prev;
    uint64_t counter, left_at, sent_ms, left_ms; /* left_at: link->left_total when it is gone; left_ms 0: not yet */
    size_t bytes;
    uint8_t jitter; /* in 1/2048 of the time that it is waited for: on a shared medium nobody comes back in step */
    uint32_t count;
    struct {
        uint8_t klass;
        uint64_t seq;
    } pieces[MESH_PIECES];
};
struct mesh_arq {
    struct mesh_session *session;
    bool repeats; /* the link loses: acknowledged and sent again */
    bool held;    /* nothing is sent before the other side was heard: its address is not proven */
    struct mesh_piece *out[KLP_CLASSES][MESH_WINDOW];
    uint64_t base[KLP_CLASSES], next[KLP_CLASSES]; /* oldest not acknowledged, next to be made */
    struct mesh_piece *again;                      /* lost, to be sent again, oldest first */
    struct mesh_flight *flights;                   /* in order of counter */
    uint32_t flight_count;
    size_t flight_bytes;
    uint32_t cwnd, grown, slow_start; /* datagrams */
    uint64_t recovery;                /* losses of counters below this are of the same event */
    uint64_t srtt_us, rttvar_us;      /* 0: nothing measured yet */
    uint32_t silent;                  /* timeouts in a row */
    bool probe;                       /* one datagram may go whatever the window says */
    /* in */
    struct mesh_piece *in[KLP_CLASSES][MESH_WINDOW];
    uint64_t expected[KLP_CLASSES];
    size_t in_bytes;
    bool heard_any, ack_wanted;
    uint64_t heard_high, heard[MESH_ACK_BITS / 64]; /* bit i: heard_high - 1 - i */
    uint64_t told_high;                             /* of the last acknowledgement sent */
    uint64_t ack_first_ms;                          /* since when one is wanted */
    uint64_t ack_due_ms, linger_ms;                 /* monotonic; 0: none */
    struct kos_timer *timer;
    uint64_t datagrams_out, datagrams_in, sent_again, repeated_in;
};
void mesh_arq_new(struct mesh_session *session);
void mesh_arq_free(struct mesh_arq *arq);
void mesh_arq_sent(struct mesh_arq *arq, struct mesh_flight *flight); /* takes it */
void mesh_arq_credit(struct mesh_arq *arq);                           /* more of what was sent is gone */
/* A datagram that opened; `wants`: an acknowledgement. */
void mesh_arq_heard(struct mesh_arq *arq, uint64_t counter, bool wants, bool out_of_order);
size_t mesh_arq_put_ack(struct mesh_arq *arq, uint8_t *out, size_t cap); /* 0: none is needed */
bool mesh_arq_take_ack(struct mesh_arq *arq, struct kos_bytes *rest);    /* false: malformed */
bool mesh_arq_may_send(const struct mesh_arq *arq);
void mesh_arq_schedule(struct mesh_arq *arq);
uint64_t mesh_arq_gather_ms(const struct mesh_arq *arq); /* slow links: how long what is small waits for company */
uint64_t mesh_arq_rto_ms(const struct mesh_arq *arq);

/* ---- airtime.c ---- */
void mesh_airtime_init(struct mesh_link *link, uint64_t per_hour_ms);
uint64_t mesh_airtime_us(const struct mesh_link *link, uint64_t bytes);
void mesh_airtime_spend(struct mesh_link *link, uint64_t bytes);
/* 0: a datagram with something of this class may go now; else so many ms until it may. */
uint64_t mesh_airtime_wait_ms(struct mesh_link *link, uint8_t klass);
/* Whether a message can be carried within its time at all; else the sentence. */
int32_t mesh_airtime_carries(struct mesh_link *link, uint8_t klass, uint64_t bytes, uint64_t within_ms, char *ret_text,
                             size_t cap);

/* ---- compact.c ---- */
/* Where link and peer are such, the item becomes compact: takes and gives `data`. */
void mesh_compact(struct mesh_session *session, uint8_t *type, uint8_t **data, size_t *len);
int32_t mesh_compact_open(const struct klp_frame *item, struct klp_frame *ret_plain, uint8_t **ret_data);

/* ---- session.c, flush.c, intro.c ---- */
struct mesh_item { /* to be sent: cut into frames by flush.c */
    struct mesh_item *next;
    uint8_t type;
    uint8_t *data;
    size_t len, sent;
    uint32_t transient; /* so many messages that nobody sends again */
};

struct mesh_queue {
    struct mesh_item *first, *last;
    size_t bytes;
};

struct mesh_log_sent {
    UT_hash_handle hh;
    struct klp_id id;
    uint64_t events;
};

struct mesh_session {
    struct kos_mesh *mesh;
    struct mesh_link *link;
    uint64_t serial;                  /* a link of datagrams may have one after the other */
    struct mesh_peer *peer;           /* once up */
    struct mesh_session *next, *prev; /* of the peer */
    struct klp_record *send, *receive;
    struct klp_assembly *assembly;
    struct mesh_arq *arq; /* of datagrams; NULL: a stream */
    struct klp_proof proof;
    uint8_t remote_static[KLP_X25519_LEN];
    int32_t pattern;
    bool initiator;
    bool proven;      /* the peer's log verified its proof */
    bool greeted;     /* its HELLO came, so it has verified ours */
    bool up;          /* both */
    bool draining;    /* a newer one takes its place */
    bool record_sent; /* node record, as of now */
    bool record_wanted; /* slow links: it was asked for */
    bool compact;       /* the peer understands compact items */
    bool streams_known; /* and STREAM frames */
    bool streams_stuck; /* it reads nothing of what is said of streams: it is to end */
    size_t wire_len;    /* of the compact item being taken; 0: it is as it came */
    uint32_t log_requests, log_answers;
    uint64_t intro_bytes;
    char name[KLP_NAME_MAX + 1]; /* as the peer calls itself; "" unknown */
    char version[64];
    char roles[128];       /* separated by spaces */
    struct kos_buf urgent; /* PING, PONG, CREDIT, CLOSE: whole frames */
    struct mesh_queue queue[KLP_CLASSES];
    uint64_t out_allowed[KLP_CLASSES], out_sent[KLP_CLASSES];
    uint64_t in_granted[KLP_CLASSES], in_total[KLP_CLASSES], in_consumed[KLP_CLASSES];
    uint64_t began_ms, heard_ms, pinged_ms, rtt_ms, drain_ms; /* monotonic; pinged_ms 0: no ping open */
    int64_t since_ms;
    uint8_t ping[8];
    struct kos_timer *timer;
    struct mesh_session *dirty_next;
    bool dirty;
    struct mesh_log_sent *logs_sent;
    struct klp_receipt *receipts; /* to be signed at the turn's end */
    size_t receipt_count, receipt_cap;
    bool receipts_listed;
    struct mesh_session *receipts_next;
    struct mesh_entry *sent;            /* handed to this session, no receipt yet; in order */
    struct mesh_streams *streams;       /* NULL: none yet */
    struct mesh_in *in_first, *in_last; /* messages on their way through the inbox, in order of arrival */
    struct mesh_session *judge_next, *judge_prev; /* of those whose first message is to be judged */
    bool judging;
    struct mesh_job *todo;              /* wait for a worker: a session has so many at a time, so none keeps all of them */
    uint32_t job_count;                 /* of it on workers */
    size_t job_bytes;
};

void mesh_session_new(struct mesh_link *link);
void mesh_session_free(struct mesh_session *session);
/* One record's plaintext. The session may be gone afterwards: look at link->closing. */
void mesh_session_record(struct mesh_session *session, struct kos_bytes plain);
/* Of an item that the session hands over: its payload as memory to be freed, moved where that can be. */
uint8_t *mesh_session_keep(struct mesh_session *session, uint8_t klass, struct kos_bytes payload);
/* Takes `data` (malloc'ed). */
void mesh_session_queue(struct mesh_session *session, uint8_t type, uint8_t klass, uint8_t *data, size_t len);
void mesh_session_queue_copy(struct mesh_session *session, uint8_t type, uint8_t klass, struct kos_bytes bytes);
void mesh_session_urgent(struct mesh_session *session, uint8_t type, struct kos_bytes payload);
/* Bytes of a class were dealt with: the peer may send as many more. */
void mesh_session_consumed(struct mesh_session *session, uint8_t klass, uint64_t bytes);
/* Work that the peer caused: to the workers in its turn. Its end is to be told by mesh_session_worked; job->drop is
 * called instead of `done` when the session goes first. */
void mesh_session_work(struct mesh_session *session, struct mesh_job *job, void (*run)(struct kos_work *work),
                       void (*done)(struct kos_work *work));
void mesh_session_worked(struct mesh_session *session, const struct mesh_job *job);
/* Says why to the peer, then ends the link. */
void mesh_session_close(struct mesh_session *session, int32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mesh_session_drain(struct mesh_session *session);
void mesh_session_touch(struct mesh_session *session); /* flush it at the turn's end */
void mesh_session_flush(struct mesh_session *session);
/* Frames of one class, control with what is urgent before it, as far as they fit; flush.c. */
size_t mesh_session_fill(struct mesh_session *session, uint8_t klass, uint8_t *out, size_t cap);
size_t mesh_session_queued(const struct mesh_session *session);
void mesh_session_send_log(struct mesh_session *session, const struct klp_log *log, uint64_t from);
/* The logs that a message of this signer needs, if they were not sent on this session before. */
void mesh_session_send_logs_for(struct mesh_session *session, const struct klp_id *signer);
void mesh_session_forget_logs(struct mesh_session *session);
void mesh_intro_begin(struct mesh_session *session);
void mesh_intro_log(struct mesh_session *session, struct kos_bytes text);
void mesh_intro_log_request(struct mesh_session *session, struct kos_bytes payload);
void mesh_intro_hello(struct mesh_session *session, struct kos_bytes payload);
void mesh_intro_statement(struct mesh_session *session, struct kos_bytes text);
/* Whether the policy lets a session with this node be, now. */
bool mesh_session_allowed(struct kos_mesh *mesh, const struct klp_id *peer, bool initiator, const char *transport,
                          struct kos_policy_decision *ret_decision);

/* ---- stream.c, stream_in.c ---- */
struct mesh_chunk { /* to be sent */
    struct mesh_chunk *next;
    size_t len, sent;
    uint8_t data[];
};

struct mesh_stream {
    UT_hash_handle hh, by_wire;
    uint64_t id; /* in this mesh */
    uint32_t wire;
    struct mesh_session *session;
    struct mesh_stream *next, *prev; /* of those with bytes to send, in turn */
    char name[KLP_TYPE_MAX];
    bool opened;          /* by this side */
    bool up;              /* accepted */
    bool closed, end_said, done_heard, end_heard;
    struct mesh_chunk *first, *last;
    size_t queued;
    uint64_t given, told; /* bytes that its user sent; that it was told it may */
    uint64_t allowed;     /* bytes that the peer takes, in all */
    uint64_t received, granted, granted_said; /* the other way; granted_said: what the peer knows of */
    bool limited;  /* a quota counts its bytes: they are charged when the peer is let send them */
    uint64_t owed; /* given by the user, and the quota did not allow it yet */
};

struct mesh_streams { /* of a session */
    struct mesh_stream *by_wire, *ready;
    struct kos_buf says; /* whole frames: all but DATA */
    size_t queued;       /* bytes of all */
    uint32_t next, seen; /* the wire's number of the next that we open; of the peer's last one, 0 none */
    bool turn;           /* of bulk items and streams, who is first */
    struct kos_timer *quota; /* looks again at what is owed; NULL: not needed yet */
};

/* A whole STREAM frame's payload. false: the session is gone. */
bool mesh_stream_take(struct mesh_session *session, struct kos_bytes payload);
/* STREAM frames, as far as they fit: `len` are there already. Returns the bytes then. */
size_t mesh_stream_fill(struct mesh_session *session, uint8_t *out, size_t len, size_t cap);
size_t mesh_stream_queued(const struct mesh_session *session);
bool mesh_stream_first(const struct mesh_session *session); /* before bulk items, this time */
void mesh_streams_lost(struct mesh_session *session, int32_t status, const char *text); /* with their session */
void mesh_streams_judge(struct mesh_session *session); /* those that the policy lets in no more are closed */
uint32_t mesh_streams_open(const struct mesh_session *session);
/* Between the two files. */
struct mesh_streams *mesh_streams_of(struct mesh_session *session);
struct mesh_stream *mesh_stream_new(struct mesh_session *session, uint32_t wire, const char *name);
struct mesh_stream *mesh_stream_find(struct kos_mesh *mesh, uint64_t id);
void mesh_stream_say(struct mesh_session *session, uint8_t kind, uint32_t wire, struct kos_bytes rest);
void mesh_stream_say_close(struct mesh_session *session, uint32_t wire, int32_t status, const char *text);
void mesh_stream_tell_credit(struct mesh_stream *stream);
void mesh_stream_say_credit(struct mesh_stream *stream);
void mesh_stream_limits(struct mesh_stream *stream); /* asks the policy whether a quota counts its bytes */
void mesh_stream_grant(struct mesh_stream *stream, uint64_t bytes);
void mesh_stream_finish(struct mesh_stream *stream); /* gone when both sides are done */
void mesh_stream_down(struct mesh_stream *stream, int32_t status, const char *text);
void mesh_stream_request(const struct mesh_stream *stream, struct kos_policy_request *ret_request);

/* ---- record.c ---- */
struct mesh_record_agent {
    struct klp_id id;
    char name[KLP_LABEL_MAX + 1];
    double trust_required;
    char **skills; /* NULL-terminated */
};
struct mesh_record { /* what a node publishes about itself */
    UT_hash_handle hh;
    struct klp_id node;
    char name[KLP_NAME_MAX + 1];
    char *addresses[MESH_ADDRESSES_MAX + 1];
    struct mesh_record_agent *agents;
    size_t agent_count;
};
void mesh_record_take(struct kos_mesh *mesh, const struct klp_statement *statement);
/* From memory or the store; NULL when unknown or expired. */
struct mesh_record *mesh_record_find(struct kos_mesh *mesh, const struct klp_id *node);
void mesh_records_free(struct kos_mesh *mesh);
/* Addresses, agents or names changed: a new one is made when next needed and sent to who may see it. */
void mesh_record_init(struct kos_mesh *mesh);
void mesh_record_changed(struct kos_mesh *mesh);
void mesh_record_send(struct mesh_session *session);

/* ---- peer.c, dial.c ---- */
struct mesh_peer {
    UT_hash_handle hh;
    struct kos_mesh *mesh;
    struct klp_id id;
    struct mesh_session *sessions;
    struct mesh_entry *waiting[KLP_CLASSES]; /* ready to be signed and sent, in order */
    bool signing[KLP_CLASSES];               /* a run of this class is on a worker or waits for the disk */
    struct mesh_loose *loose[KLP_CLASSES];   /* transient ones, in order */
    uint64_t loose_bytes;                    /* of `bytes` */
    struct kos_mesh_tx *crowd;               /* transactions that are through when less of them waits */
    bool signing_loose[KLP_CLASSES];
    struct mesh_peer *air_next;              /* of those whose transient messages wait for airtime */
    bool air_waits;
    bool touched;
    uint64_t gather_ms; /* monotonic; slow links: until then what waits is gathered; 0: nothing does */
    struct mesh_peer *touched_next;
    uint64_t entries, bytes; /* outbox, this target */
    uint64_t dedupe, stored; /* dedupe entries; inbox messages not settled */
    uint64_t stored_bytes, asked; /* bytes of those; messages to it that may still be answered */
    uint64_t logs_window_ms;
    uint32_t logs; /* taken in this minute */
    bool has_static;
    uint8_t noise_static[KLP_X25519_LEN];
    char name[KLP_NAME_MAX + 1]; /* as it last called itself */
    struct mesh_keep *keep;      /* the connection kept up to it */
};

struct mesh_peer *mesh_peer_find(struct kos_mesh *mesh, const struct klp_id *id);
struct mesh_peer *mesh_peer_get(struct kos_mesh *mesh, const struct klp_id *id); /* made when new */
void mesh_peer_free(struct mesh_peer *peer);
void mesh_peer_release(struct mesh_peer *peer); /* frees it when nothing is known that needs it */
void mesh_peer_up(struct mesh_session *session);
void mesh_peer_down(struct mesh_session *session, int32_t status, const char *text);
struct mesh_session *mesh_peer_session(const struct mesh_peer *peer); /* the best, or NULL */
bool mesh_peer_log_allowed(struct mesh_peer *peer);

struct mesh_waiter { /* of kos_mesh_connect */
    struct mesh_waiter *next;
    void (*done)(void *arg, const struct kos_mesh_connected *result);
    void *arg;
    struct kos_timer *timer;
    struct mesh_keep *keep;
};
struct mesh_keep { /* a connection kept up */
    struct mesh_keep *next, *prev;
    struct kos_mesh *mesh;
    char *address; /* as the carrier dials it */
    bool has_expect;
    bool durable;                  /* on disk; else for the time that somebody waits or messages wait */
    bool proven;                   /* `peer` answered here before */
    bool tried_ik, no_ik, came_up; /* of the dial under way */
    struct klp_id expect;
    struct klp_id peer;      /* who answered last, when `proven` */
    uint64_t link, renewing; /* ids; 0 none */
    uint32_t attempts;
    uint32_t backoff_ms;
    struct kos_timer *timer;
    struct mesh_waiter *waiters;
    char **found;            /* addresses that discovery tells, NULL-terminated; NULL: none */
    int64_t found_until_ms;  /* mesh_steady; they are dialled until then */
};
struct mesh_keep *mesh_keep_new(struct kos_mesh *mesh, const char *address);
void mesh_keep_free(struct mesh_keep *keep);
void mesh_keep_save(struct mesh_keep *keep);  /* durable from now on */
void mesh_keep_petname(struct kos_mesh *mesh, const struct mesh_session *session);
void mesh_keep_later(struct mesh_keep *keep); /* dials again after its back-off */
void mesh_keep_up(struct mesh_keep *keep, struct mesh_session *session);
void mesh_keep_down(struct mesh_keep *keep, uint64_t link, int32_t status, const char *text);
void mesh_keep_renew(struct mesh_keep *keep, struct mesh_session *old);
void mesh_keep_dial(struct mesh_keep *keep);
/* The static key to try IK with, or NULL. */
const uint8_t *mesh_keep_static(struct mesh_keep *keep);
/* found.c: whether discovery still says that somebody is there; the next of its addresses, or NULL. */
bool mesh_found_holds(const struct mesh_keep *keep);
const char *mesh_found_next(struct mesh_keep *keep);
void mesh_found_free(struct mesh_keep *keep);
/* Opens a way to a peer that has messages waiting, if an address is known. */
void mesh_keep_want(struct mesh_peer *peer);
int32_t mesh_keeps_load(struct kos_mesh *mesh);
void mesh_keeps_start(struct kos_mesh *mesh);
void mesh_keeps_free(struct kos_mesh *mesh);
/* What was kept with this peer, also on disk. */
bool mesh_keeps_remove(struct kos_mesh *mesh, const struct klp_id *peer);

/* ---- route.c ---- */
struct mesh_target {
    struct klp_id node, agent; /* agent zero: the node, or not known */
    bool has_agent;
    char text[KLP_ADDRESS_MAX]; /* what the message says */
};
int32_t mesh_route_resolve(struct kos_mesh *mesh, const char *address, const struct klp_id *id,
                           struct mesh_target *ret_target, struct kos_error *ret_error);
struct mesh_local_agent *mesh_local_agent(struct kos_mesh *mesh, const struct klp_id *id);
struct mesh_local_agent *mesh_local_agent_by_name(struct kos_mesh *mesh, const char *name);
/* klp:// text of one of our own identities. */
void mesh_own_address(struct kos_mesh *mesh, const struct klp_id *id, char ret_text[KLP_ADDRESS_MAX]);

struct mesh_local_agent {
    struct klp_id id;
    char name[KLP_LABEL_MAX + 1];
    char **skills;
    double trust_required;
};

/* ---- outbox ---- */
enum mesh_entry_state {
    MESH_NEW = 1, /* its transaction is not on disk yet */
    MESH_WAITING, /* in peer->waiting */
    MESH_SIGNING, /* in a run */
    MESH_SENT,    /* in session->sent */
    MESH_DELAYED, /* refused as busy: again at `due_ms` */
    MESH_ENDED,   /* has an outcome that nobody has noted yet */
};

struct mesh_entry {
    UT_hash_handle hh, hh_id;
    struct mesh_entry *next, *prev;
    uint64_t seq;
    struct klp_id id, node, signer;
    struct klp_digest digest;
    int32_t state;
    uint8_t klass;
    bool handed;             /* a link may have had it: on disk before one has */
    uint32_t handovers;      /* since it was last known that nobody has it; from before this process: 1 */
    bool resent;             /* said in space "handed", not in the entry itself */
    uint64_t bytes;          /* of the body */
    int64_t expires;         /* Unix ms, as the message says */
    int64_t ends_ms, due_ms; /* steady: when it expires; when it is tried or offered again */
    uint32_t backoff_ms;
    uint64_t link; /* SENT: over which; 0 to ourselves */
    uint8_t *body; /* NULL: in the store */
    char *owner, *type;
    int32_t status; /* ENDED; before: by what it was refused for now, KOS_OK when handed over since */
    char *text;     /* of status */
    bool offered, settling;
};

struct mesh_due {
    int64_t due;
    uint64_t seq;
};
struct mesh_heap {
    struct mesh_due *at;
    size_t count, cap;
};
void mesh_heap_push(struct mesh_heap *heap, int64_t due, uint64_t seq);
bool mesh_heap_pop(struct mesh_heap *heap, int64_t until, uint64_t *ret_seq);
int64_t mesh_heap_first(const struct mesh_heap *heap); /* INT64_MAX when empty */

void mesh_entry_key(uint64_t seq, uint8_t key[8]);
void mesh_entry_put(struct kos_tx *tx, const struct mesh_entry *entry, struct kos_bytes body);
void mesh_entry_delete(struct kos_tx *tx, const struct mesh_entry *entry);
struct mesh_entry *mesh_entry_read(uint64_t seq, struct kos_bytes value);
int32_t mesh_entry_body(struct kos_mesh *mesh, struct mesh_entry *entry, uint8_t **ret_body, size_t *ret_len);
void mesh_entry_free(struct mesh_entry *entry);
void mesh_ended_put(struct kos_tx *tx, const struct mesh_entry *entry);
struct mesh_entry *mesh_ended_read(uint64_t seq, struct kos_bytes value);

int32_t mesh_outbox_load(struct kos_mesh *mesh);
void mesh_outbox_free(struct kos_mesh *mesh);
void mesh_outbox_add(struct kos_mesh *mesh, struct mesh_entry *entry);
struct mesh_entry *mesh_outbox_find(struct kos_mesh *mesh, uint64_t seq);
void mesh_outbox_wake(struct kos_mesh *mesh, const struct mesh_entry *entry, uint64_t delay_ms); /* look at it then */
void mesh_outbox_ready(struct kos_mesh *mesh, struct mesh_entry *entry);                         /* -> WAITING */
void mesh_outbox_sent(struct mesh_session *session, struct mesh_entry *entry);
void mesh_outbox_lost(struct mesh_session *session); /* its SENT entries wait again */
/* A receipt, verified, by the host `node`. */
void mesh_outbox_receipt(struct kos_mesh *mesh, const struct klp_id *node, const struct klp_receipt *receipt);
void mesh_outbox_fail(struct kos_mesh *mesh, struct mesh_entry *entry, int32_t status, const char *text);
/* The same for a status that says nothing of more than `known` hand-overs: if there may have been more,
 * KOS_E_INTERRUPTED. */
void mesh_outbox_fail_beyond(struct kos_mesh *mesh, struct mesh_entry *entry, uint32_t known, int32_t status,
                             const char *text);
void mesh_outbox_again(struct kos_mesh *mesh, struct mesh_entry *entry, uint64_t retry_ms); /* an outcome, deferred */
void mesh_outbox_noted(struct kos_mesh *mesh, struct mesh_entry *entry); /* the owner's transaction took note */
void mesh_outbox_offer(struct kos_mesh *mesh, struct mesh_entry *entry);
void mesh_outbox_due(struct kos_mesh *mesh);
void mesh_outbox_remove(struct kos_mesh *mesh, struct mesh_entry *entry); /* from memory */
void mesh_peer_touch(struct mesh_peer *peer);                             /* look at its outbox at the turn's end */
/* The signature of an item over its digests: of a batch at its beginning, of one message behind the u16. */
int32_t mesh_item_sign(const struct klp_secret *secret, uint8_t type, const struct klp_digest *digests, uint32_t count,
                       uint8_t *item);
void mesh_sign_peer(struct mesh_peer *peer);                              /* starts runs, as far as there is room */

/* ---- transient.c, sending ---- */
struct mesh_loose { /* a chunk of transient messages for one node, of one class, by one signer, under one event */
    struct mesh_loose *next, *prev;
    struct klp_id node, signer;
    uint64_t event;
    uint8_t klass;
    uint32_t count;
    uint64_t bytes;    /* of the bodies */
    int64_t ends_ms;   /* steady: when the first of them expires */
    struct kos_buf digests, bodies; /* bodies: as in a batch, each behind its u32 length */
};
/* What drafts have in common that differ in id, payload, reply_to and time only: where they go, who signs, that the policy
 * lets them out. Holds within one turn, as long as neither trust nor policy change. */
struct mesh_sending {
    bool holds;
    int32_t klass, delivery;
    double trust_required;
    char type[KLP_TYPE_MAX], draft_target[KLP_ADDRESS_MAX];
    uint8_t target_id[KOS_ID_BYTES], from_agent[KOS_ID_BYTES];
    struct mesh_target target;
    struct klp_id signer;
    uint64_t per_target; /* bytes in the outbox */
    struct klp_message_maker maker;
};
/* Adds a draft to the chunks of a transaction; the bytes of its message. */
int32_t mesh_loose_draft(struct kos_mesh *mesh, struct mesh_loose **list, const struct mesh_sending *sending,
                         const struct kos_draft *draft, struct kos_error *ret_error);
void mesh_loose_free(struct mesh_loose *list);
/* Takes the list: from now on the peers have it. */
void mesh_loose_send(struct kos_mesh *mesh, struct mesh_loose **list);
void mesh_loose_sign(struct mesh_peer *peer, struct mesh_session *session, uint8_t klass);
bool mesh_loose_waits(struct mesh_peer *peer, struct mesh_session *session, uint8_t klass); /* for airtime, or a handler */
void mesh_loose_due(struct kos_mesh *mesh);                                                  /* who waited is looked at */
void mesh_loose_lost(struct mesh_peer *peer, const char *why);
void mesh_loose_gone(struct kos_mesh *mesh, const struct klp_id *node, uint32_t count); /* with their session */
void mesh_tx_crowd(struct mesh_peer *peer, int32_t status); /* there is room for more; or never will be */
/* A receipt of no entry: a refusal of a transient message, if it was one of ours. */
void mesh_loose_refused(struct kos_mesh *mesh, const struct klp_id *node, const struct klp_receipt *receipt);
void mesh_asked_lately_put(struct kos_mesh *mesh, const struct klp_id *id, const struct klp_id *node);
bool mesh_asked_lately(const struct kos_mesh *mesh, const struct klp_id *id, const struct klp_id *node);

/* ---- inbox ---- */
struct mesh_in { /* an item on its way: one message or a batch */
    struct mesh_job job;
    struct mesh_in *next;
    uint64_t link;                /* 0: from ourselves */
    struct mesh_session *session; /* NULL: from ourselves, or gone */
    struct klp_id peer;
    uint8_t *data;
    size_t len, wire_len; /* wire_len: by credit */
    uint8_t type, klass;
    char transport[32];
    bool busy; /* on its way through workers */
    bool verifying, finished, orphan;
    int32_t status;
    uint32_t count;
    struct klp_message *messages;
    struct klp_digest *digests; /* of a batch */
    struct kos_bytes signature;
    struct klp_public key;
    struct klp_digest *nodes; /* of the batch's tree, while it is stored */
    uint64_t *seqs;           /* stored as; 0: not */
    bool *repeats;            /* seen before: gets the receipt it got */
    struct mesh_open *opens;  /* of transient messages: they are handled from here */
    uint32_t open_count;      /* not yet settled */
    struct klp_digest *digests_recorded;
};

enum mesh_open_state { MESH_OPEN_NEW = 1, MESH_OPEN_READY, MESH_OPEN_OFFERED, MESH_OPEN_DEFERRED };

struct mesh_open { /* stored and not settled */
    UT_hash_handle hh;
    struct mesh_open *next, *prev; /* READY ones, in order */
    uint64_t seq;
    int32_t state;
    bool again;
    int64_t due_ms;
    struct klp_id peer;
    struct mesh_lane *lane;
    size_t bytes;   /* of its value, and what it costs beside that */
    uint8_t *value; /* as in the store; NULL: read it there */
    size_t value_len;
    uint64_t offered_ms; /* monotonic */
    bool alone;          /* when it was offered */
    bool settling;      /* a transaction has its verdict and is not committed */
    struct mesh_in *in; /* of a transient message; NULL: in the store */
    uint32_t index;     /* of it there */
    struct klp_id agent;
};

/* ---- lane.c ---- */
struct mesh_share { /* of a lane: a peer's messages that are ready, in order */
    UT_hash_handle hh;
    struct mesh_share *next, *prev;
    struct klp_id peer;
    struct mesh_open *ready;
};
struct mesh_lane { /* the messages of one type */
    UT_hash_handle hh;
    struct kos_mesh *mesh;
    char type[KLP_TYPE_MAX];
    struct mesh_share *shares, *turns; /* those with something ready: by peer; whose turn it is next */
    uint64_t ready;
    uint32_t offered, window, since; /* given and not settled; at most; settled since the window shrank */
    uint64_t offered_bytes;
    uint64_t alone_ms, learnt_ms; /* how long one takes by itself; when that was asked last */
    bool learning;
};
struct mesh_lane *mesh_lane_get(struct kos_mesh *mesh, const char *type);
void mesh_lane_free(struct mesh_lane *lane);
void mesh_lane_add(struct mesh_open *open); /* it is ready */
void mesh_lane_remove(struct mesh_open *open);
struct mesh_open *mesh_lane_next(struct mesh_lane *lane); /* to be offered now; NULL: none, or the window is full */
void mesh_lane_offered(struct mesh_open *open);
void mesh_lane_taken(struct mesh_open *open, bool settled);

void mesh_inbox_take(struct mesh_session *session, uint8_t type, uint8_t klass, struct kos_bytes payload);
/* From our own outbox: takes `data`. */
void mesh_inbox_local(struct kos_mesh *mesh, uint8_t type, uint8_t klass, uint8_t *data, size_t len);
void mesh_in_release(struct mesh_in *in); /* one of its transient messages is settled */
void mesh_inbox_orphan(struct mesh_session *session);
void mesh_inbox_turn(struct kos_mesh *mesh); /* judges what waits for it, as far as a turn goes */
void mesh_inbox_free(struct kos_mesh *mesh);
/* ---- judge.c ---- */
/* One verified message: KOS_OK and *ret_repeat, or a refusal with what the peer may hear. */
struct mesh_judged { /* what was decided of one message of an item, for the others like it */
    const struct klp_message *message; /* NULL: of none yet */
    struct klp_id agent;
    struct kos_policy_request request;
    uint64_t size_bytes; /* so large, or less */
    uint16_t *stored;    /* by id: index + 1 of those of the item that are to be stored; MESH_STORED_SLOTS, or NULL */
};
enum { MESH_STORED_SLOTS = 2 * KLP_BATCH_MAX };
void mesh_judged_stored(struct mesh_judged *judged, const struct mesh_in *in, uint32_t index);
struct mesh_refusal {
    char text[508];
    char peer_text[256];
    char rule[KOS_RULE_TEXT];
};
int32_t mesh_inbox_judge(struct mesh_in *in, uint32_t index, struct mesh_judged *judged, struct klp_id *ret_agent,
                         struct klp_receipt *ret_recorded, bool *ret_repeat, struct mesh_refusal *ret_refusal);
void mesh_inbox_refused(struct mesh_in *in, const struct klp_message *message, int32_t code,
                        const struct mesh_refusal *refusal);

int32_t mesh_offer_load(struct kos_mesh *mesh);
void mesh_offer_free(struct kos_mesh *mesh);
/* `len`: of the value, which may be left in the store. */
struct mesh_open *mesh_offer_add(struct kos_mesh *mesh, uint64_t seq, const char *type, const struct klp_id *peer,
                                 struct kos_bytes value, size_t len);
/* A message of `in` that is not stored. */
struct mesh_open *mesh_offer_add_transient(struct mesh_in *in, uint32_t index, uint64_t seq, const struct klp_id *agent);
struct mesh_open *mesh_offer_find(struct kos_mesh *mesh, uint64_t seq);
void mesh_offer_ready(struct kos_mesh *mesh, struct mesh_open *open);
void mesh_offer_run(struct kos_mesh *mesh);
void mesh_offer_due(struct kos_mesh *mesh);
void mesh_offer_remove(struct kos_mesh *mesh, struct mesh_open *open);
void mesh_offer_defer(struct kos_mesh *mesh, struct mesh_open *open, uint64_t retry_ms);
/* The value of space "inbox". */
void mesh_stored_pack(struct kos_buf *out, uint8_t klass, const struct klp_id *peer, const struct klp_id *agent,
                      struct kos_bytes signature, struct kos_bytes body);
struct mesh_stored {
    uint8_t klass;
    struct klp_id peer, agent;
    struct kos_bytes signature, body;
};
bool mesh_stored_unpack(struct kos_bytes value, struct mesh_stored *ret_stored);
/* *ret_value: what ret_message points into, to be freed after it. */
int32_t mesh_offer_message(struct kos_mesh *mesh, struct mesh_open *open, struct klp_id *ret_agent,
                           struct klp_message *ret_message, uint8_t **ret_value);
/* malloc'ed; from memory or the store. */
int32_t mesh_offer_value(struct kos_mesh *mesh, struct mesh_open *open, uint8_t **ret_value, size_t *ret_len);

/* ---- receipt.c ---- */
void mesh_receipt_add(struct kos_mesh *mesh, uint64_t link, const struct klp_receipt *receipt);
void mesh_receipts_sign(struct kos_mesh *mesh);
/* Gives the credit back when they are verified. */
void mesh_receipts_take(struct mesh_session *session, uint8_t klass, struct kos_bytes item);

/* ---- expiry.c: dedupe and asked entries with the time they may be forgotten ---- */
enum mesh_expiry_kind { MESH_EXPIRY_DEDUPE = 1, MESH_EXPIRY_ASKED = 2 };
void mesh_dedupe_put(struct kos_tx *tx, const struct klp_message *message, const struct klp_id *peer);
int32_t mesh_dedupe_get(struct kos_mesh *mesh, const struct klp_id *source, const struct klp_id *id,
                        struct klp_receipt *ret_receipt);
void mesh_asked_put(struct kos_tx *tx, const struct klp_id *id, const struct klp_id *node, int64_t expires);
bool mesh_asked(struct kos_mesh *mesh, const struct klp_id *id, const struct klp_id *node);
int32_t mesh_expiry_load(struct kos_mesh *mesh);
bool mesh_expiry_sweep(struct kos_mesh *mesh, bool goes_on); /* whether there may be more: goes_on with the next */

/* ---- mesh.c ---- */
struct mesh_endpoint {
    struct mesh_endpoint *next;
    struct kos_mesh *mesh;
    uint64_t id;
    char *address, *bound, *error;
    bool up;
    int32_t status;
    struct kos_timer *again;   /* it was up once: listening is tried again */
    uint64_t again_ms;
};

struct mesh_known { /* of whom messages were offered last */
    bool holds;
    struct klp_id id;
    double score;
    char label[KLP_NAME_MAX + 1]; /* or its id */
};

struct kos_mesh {
    struct kos_env *env;
    struct kos_store *store;
    struct kos_trust *trust;
    struct kos_mesh_limits limits;
    char *name, *version;
    char **roles;
    struct kos_carrier *carrier;
    struct kos_sink *sink;
    struct kos_streams *streams_user; /* NULL: nobody has any */
    struct mesh_stream *streams;
    struct klp_id self;
    uint8_t static_public[KLP_X25519_LEN];
    uint8_t proof[KLP_PROOF_LEN];
    struct klp_digest proof_head;
    bool has_proof;
    uint32_t pending;      /* pieces of work and commits that come back */
    struct mesh_job *jobs; /* on workers */
    bool freed, started, stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct kos_timer *stop_timer;
    struct kos_deferred stop_deferred;
    uint64_t next_id;  /* of links and endpoints */
    uint64_t next_seq; /* of outbox and inbox entries */
    struct mesh_endpoint *endpoints;
    struct mesh_link *links;
    struct mesh_source *sources;
    struct mesh_link *strangers; /* the oldest first */
    uint32_t ending;             /* links that wait for the carrier's word that they ended */
    uint32_t half_open;
    struct mesh_peer *peers;
    struct mesh_peer *touched;
    struct mesh_keep *keeps;
    struct mesh_record *records;
    uint8_t *own_record; /* the statement's text; NULL: to be made */
    size_t own_record_len;
    struct kos_deferred record_told;
    void (*record_changed)(void *arg);
    void *record_arg;
    bool records_due; /* look at the turn's end who gets it */
    struct mesh_local_agent *agents;
    size_t agent_count;
    struct mesh_session *dirty, *receipts;
    struct kos_turn_end close_batches, flush_sessions, turn_over;
    struct kos_deferred turn; /* asks for a turn */
    struct kos_deferred offers;
    struct mesh_entry *entries, *entries_by_id;
    uint64_t outbox_bytes;
    struct mesh_peer *air;           /* peers whose transient messages wait for airtime */
    uint32_t at_once;                /* in this turn */
    uint64_t turn_mono;              /* 0: not looked at in this turn */
    int64_t turn_clock;
    struct mesh_loose *spare_chunk;
    struct mesh_known known;         /* in this turn */
    struct mesh_sending *sending;    /* NULL: nothing transient was sent */
    struct mesh_asked *asked_lately; /* NULL: none was sent */
    uint64_t local_bytes;            /* of transient messages to ourselves, with handlers */
    struct mesh_heap outbox_due, inbox_due;
    struct mesh_open *open;
    struct mesh_lane *lanes;
    uint32_t offered;
    uint64_t stored_bytes, kept_bytes; /* of messages not settled: in all; of the values in memory */
    struct mesh_in *local_first, *local_last;
    struct mesh_session *judges; /* in the order of their turns */
    uint32_t judged;             /* messages, since the last turn's end */
    struct kos_timer *due_timer;
    int64_t due_at; /* what it is set to; INT64_MAX: not */
    struct kos_timer *sweep_timer;
    int64_t swept; /* until when, by the sweep that goes on */
    bool sweeps_on;
    int64_t time_known, time_stored; /* the latest wall clock seen; as on disk */
    struct kos_log_limit *log_limit;
    struct kos_watcher *watchers;
    struct mesh_counters counters;
    uint8_t *scratch; /* of flush.c, packet.c: one record's plaintext */
    uint8_t *sealed;  /* MESH_SENT_AT_ONCE, for carriers that let nobody write where they want it; NULL: not needed yet */
    uint8_t *opened;  /* one record's plaintext */
};

/* self.c: NULL-terminated lists of strings. */
char **mesh_list_copy(const char *const *list);
void mesh_list_free(char **list);
void mesh_endpoints_free(struct kos_mesh *mesh);
void mesh_agents_free(struct kos_mesh *mesh);

/* The later of the clock and the last time known on disk. */
int64_t mesh_now(struct kos_mesh *mesh);
/* Milliseconds that a clock set forth or back does not touch: what the heaps and `due_ms` are in. */
int64_t mesh_steady(struct kos_mesh *mesh);
/* Something of this mesh is on a worker or at the disk. drop: false when the mesh was freed meanwhile (and maybe just
 * went): clean up and touch nothing of it. */
void mesh_hold(struct kos_mesh *mesh);
bool mesh_drop(struct kos_mesh *mesh);
void mesh_work(struct kos_mesh *mesh, struct mesh_job *job, void (*run)(struct kos_work *work),
               void (*done)(struct kos_work *work));
bool mesh_work_done(struct mesh_job *job); /* mesh_drop, for what mesh_work took */
/* One signature, to make or to verify: done here and now while nothing is on a worker, MESH_AT_ONCE times a turn, for a
 * worker's waking takes as long as the signature; else on a worker. */
bool mesh_at_once(struct kos_mesh *mesh);
void mesh_work_one(struct kos_mesh *mesh, struct mesh_job *job, void (*run)(struct kos_work *work),
                   void (*done)(struct kos_work *work));
/* Monotonic ms, and Unix ms by the clock, of this turn: looked at once. */
uint64_t mesh_turn_mono(struct kos_mesh *mesh);
int64_t mesh_turn_clock(struct kos_mesh *mesh);
void mesh_due_at(struct kos_mesh *mesh, int64_t due);
/* Takes `detail`. */
void mesh_event(struct kos_mesh *mesh, const char *event, json_t *detail);
/* Fit for JSON, a log and a terminal: UTF-8 without controls, cut between characters. */
void mesh_text(const char *text, char *ret_text, size_t cap);
bool mesh_watched(const struct kos_mesh *mesh);
json_t *mesh_id_json(const struct klp_id *id);
bool mesh_id_zero(const struct klp_id *id);
const uint8_t *mesh_proof(struct kos_mesh *mesh);
const char *mesh_peer_label(struct kos_mesh *mesh, const struct klp_id *id,
                            char buf[KLP_ID_TEXT]); /* petname or id text */

#endif
