/* SPDX-License-Identifier: Apache-2.0
 * Bugs that the simulator must find, and its own looks into the runtime, by the linker's --wrap: functions that one
 * file of the runtime calls in another go through here in this program alone. The shipped objects know nothing of it.
 */
#include "sim.h"

#include <stdlib.h>

enum sim_plant sim_planted;
const char *const sim_plant_names[SIM_PLANTS] = {
    "none",        "skip-sync", "skip-dedupe", "early-ack", "stale-key",      "late",      "wrong-node",
    "lose-outbox", "replay",    "skip-policy", "unbounded", "skip-signature", "run-again", "leak-queue",
    "forget-start", "stale-policy", "forget-time",
};

/* clang-format off */
/* With the types of the function's own header, so that a change of it does not compile here. */
#define WRAP(type, name, ...)           \
    __typeof__(name) __real_##name;     \
    __typeof__(name) __wrap_##name;     \
    type __wrap_##name(__VA_ARGS__)
/* clang-format on */

/* ---- looks ---- */

WRAP(void, mesh_dedupe_put, struct kos_tx *tx, const struct klp_message *message, const struct klp_id *peer)
{
    sim_check_accept(sim_world->current, message);
    __real_mesh_dedupe_put(tx, message, peer);
}

WRAP(struct mesh_open *, mesh_offer_add_transient, struct mesh_in *in, uint32_t index, uint64_t seq,
     const struct klp_id *agent)
{
    sim_check_accept(sim_world->current, &in->messages[index]);
    return __real_mesh_offer_add_transient(in, index, seq, agent);
}

/* A rogue's signatures on messages do not hold; all else that it says is in order. */
static bool forges(void)
{
    return sim_world->current->rogue;
}

WRAP(int32_t, klp_sign_raw, const struct klp_secret *secret, struct kos_bytes data,
     uint8_t ret_signature[KLP_SIGNATURE_LEN])
{
    int32_t rc = __real_klp_sign_raw(secret, data, ret_signature);
    if (rc >= 0 && forges() && data.len > sizeof KLP_TAG_MESSAGE &&
        memcmp(data.data, KLP_TAG_MESSAGE, sizeof KLP_TAG_MESSAGE) == 0)
        ret_signature[5] ^= 1;
    return rc;
}

WRAP(int32_t, klp_batch_sign, const struct klp_secret *secret, const struct klp_digest *digests, size_t count,
     uint8_t ret_signature[KLP_SIGNATURE_LEN])
{
    int32_t rc = __real_klp_batch_sign(secret, digests, count, ret_signature);
    if (rc >= 0 && forges())
        ret_signature[5] ^= 1;
    return rc;
}

WRAP(void, kos_mesh_tx_send, struct kos_mesh_tx *tx, const char *owner, const struct kos_draft *draft)
{
    if (strcmp(owner, "task_request") == 0)
        sim_hosted_drafted(sim_world->current, draft);
    __real_kos_mesh_tx_send(tx, owner, draft);
}

/* ---- planted ---- */

static struct kos_env_ops lying_ops;

static int32_t no_sync(struct kos_file *file)
{
    (void)file;
    return KOS_OK;
}

void sim_plant_env(struct kos_env *env)
{
    if (sim_planted != SIM_SKIP_SYNC)
        return;
    lying_ops = *env->ops;
    lying_ops.file_sync = no_sync;
    env->ops = &lying_ops;
}

WRAP(int32_t, mesh_dedupe_get, struct kos_mesh *mesh, const struct klp_id *source, const struct klp_id *id,
     struct klp_receipt *ret_receipt)
{
    return sim_planted == SIM_SKIP_DEDUPE ? KOS_E_NOTFOUND : __real_mesh_dedupe_get(mesh, source, id, ret_receipt);
}

struct early {
    struct kos_deferred deferred;
    void (*done)(void *arg, int32_t status);
    void *arg;
};

static void run_early(struct kos_deferred *deferred)
{
    struct early *early = (struct early *)deferred;
    early->done(early->arg, KOS_OK);
    free(early);
}

/* The time that a node has on disk, and no message that expired before it is let in. */
struct timed {
    struct sim_node *node;
    int64_t ms;
};

static struct {
    const struct kos_tx *tx;
    int64_t ms;
} timing;

static void time_put(const struct kos_tx *tx, struct kos_bytes value)
{
    timing.tx = tx;
    timing.ms = 0;
    for (size_t i = 0; i < value.len; i++)
        timing.ms = (int64_t)((uint64_t)timing.ms << 8 | value.data[i]);
}

static void time_stored(void *arg, int32_t status)
{
    struct timed *timed = arg;
    if (status >= 0 && timed->ms > timed->node->known_ms)
        timed->node->known_ms = timed->ms;
    free(timed);
}

WRAP(int32_t, kos_tx_commit, struct kos_tx *tx, void (*done)(void *arg, int32_t status), void *arg)
{
    if (timing.tx == tx && !done) {
        struct timed *timed = kos_new(sizeof *timed);
        *timed = (struct timed){ sim_world->current, timing.ms };
        int32_t stored = __real_kos_tx_commit(tx, time_stored, timed);
        if (stored < 0)
            free(timed);
        timing.tx = NULL;
        return stored;
    }
    timing.tx = NULL;
    if (sim_planted != SIM_EARLY_ACK || !done)
        return __real_kos_tx_commit(tx, done, arg);
    int32_t rc = __real_kos_tx_commit(tx, NULL, NULL);
    if (rc < 0)
        return rc;
    struct early *early = kos_new(sizeof *early);
    *early = (struct early){ .deferred = { .run = run_early }, .done = done, .arg = arg };
    kos_defer(sim_world->current->env, &early->deferred);
    return rc;
}

WRAP(int32_t, klp_log_may_sign, const struct klp_log *log, uint64_t seq, int64_t created, int64_t now)
{
    return sim_planted == SIM_STALE_KEY ? KOS_OK : __real_klp_log_may_sign(log, seq, created, now);
}

WRAP(bool, klp_log_revoked, const struct klp_log *log)
{
    /* What a node knows of its own agent stays: without it, it would not start. */
    bool own = klp_id_eq(klp_log_id(log), &sim_world->current->speaker);
    return (sim_planted != SIM_STALE_KEY || own) && __real_klp_log_revoked(log);
}

bool sim_log_revoked(const struct klp_log *log)
{
    return __real_klp_log_revoked(log);
}

WRAP(int32_t, klp_message_fresh, const struct klp_message *message, int64_t now)
{
    return sim_planted == SIM_LATE ? KOS_OK : __real_klp_message_fresh(message, now);
}

static void redirect(struct mesh_target *target, const struct klp_id *node)
{
    char id[KLP_ID_TEXT];
    klp_id_text(node, id);
    target->node = *node;
    snprintf(target->text, sizeof target->text, "klp://node.%s", id);
}

WRAP(int32_t, mesh_route_resolve, struct kos_mesh *mesh, const char *address, const struct klp_id *id,
     struct mesh_target *ret_target, struct kos_error *ret_error)
{
    int32_t rc = __real_mesh_route_resolve(mesh, address, id, ret_target, ret_error);
    if (rc >= 0 && sim_planted == SIM_WRONG_NODE && sim_world->message_count % 16 == 0)
        redirect(ret_target, &sim_world->nodes[sim_world->message_count / 16 % sim_world->count].id);
    return rc;
}

WRAP(int32_t, mesh_outbox_load, struct kos_mesh *mesh)
{
    return sim_planted == SIM_LOSE_OUTBOX ? KOS_OK : __real_mesh_outbox_load(mesh);
}

WRAP(void, kos_tx_delete, struct kos_tx *tx, const char *space, struct kos_bytes key)
{
    if (sim_planted != SIM_REPLAY || strcmp(space, "inbox") != 0)
        __real_kos_tx_delete(tx, space, key);
}

WRAP(void, kos_trust_decide, struct kos_trust *trust, struct kos_policy_request *request,
     struct kos_policy_decision *ret_decision)
{
    __real_kos_trust_decide(trust, request, ret_decision);
    if (sim_planted == SIM_SKIP_POLICY)
        ret_decision->code = KOS_OK;
}

WRAP(int32_t, kos_mesh_new, struct kos_env *env, struct kos_store *store, struct kos_trust *trust,
     const struct kos_mesh_options *options, struct kos_mesh **ret_mesh, struct kos_error *ret_error)
{
    struct kos_mesh_options without = *options;
    if (sim_planted == SIM_UNBOUNDED)
        without.limits.inbox_open = 0;
    return __real_kos_mesh_new(env, store, trust, &without, ret_mesh, ret_error);
}

WRAP(int32_t, klp_verify, const struct klp_public *key, const char *tag, struct kos_bytes body,
     struct kos_bytes signature)
{
    int32_t rc = __real_klp_verify(key, tag, body, signature);
    return sim_planted == SIM_SKIP_SIGNATURE && strcmp(tag, KLP_TAG_MESSAGE) == 0 ? KOS_OK : rc;
}

WRAP(int32_t, kos_store_get, struct kos_store *store, const char *space, struct kos_bytes key, uint8_t **ret_value,
     size_t *ret_len)
{
    if (sim_planted == SIM_RUN_AGAIN && strcmp(space, "started") == 0)
        return KOS_E_NOTFOUND;
    return __real_kos_store_get(store, space, key, ret_value, ret_len);
}

/* The plugin's note that a task begins says on disk that it waits. */
WRAP(void, kos_tx_put, struct kos_tx *tx, const char *space, struct kos_bytes key, struct kos_bytes value)
{
    static const char starting[] = "\"state\":\"starting\"", waiting[] = "\"state\":\"waiting\"";
    char *text = sim_planted == SIM_FORGET_START && strncmp(space, "plugin:", 7) == 0
                     ? kos_format("%.*s", (int)value.len, (const char *)value.data)
                     : NULL;
    char *at = text ? strstr(text, starting) : NULL;
    if (at) {
        memmove(at + sizeof waiting - 1, at + sizeof starting - 1, strlen(at + sizeof starting - 1) + 1);
        memcpy(at, waiting, sizeof waiting - 1);
        value = kos_bytes_str(text);
    }
    if (strcmp(space, "mesh") == 0 && kos_bytes_eq(key, kos_bytes_str("time")))
        time_put(tx, value);
    if (sim_planted != SIM_SKIP_TIME || strcmp(space, "mesh") != 0)
        __real_kos_tx_put(tx, space, key, value);
    free(text);
}

WRAP(void, kos_trust_set_policy, struct kos_trust *trust, struct kos_policy *policy)
{
    if (sim_planted != SIM_STALE_POLICY)
        __real_kos_trust_set_policy(trust, policy);
}

WRAP(void, mesh_entry_delete, struct kos_tx *tx, const struct mesh_entry *entry)
{
    if (sim_planted != SIM_LEAK_QUEUE || entry->seq % 8)
        __real_mesh_entry_delete(tx, entry);
}
