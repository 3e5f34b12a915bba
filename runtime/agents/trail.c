/* SPDX-License-Identifier: Apache-2.0
 * The entries that runs leave in their agent's audit trail. */
#include "agents/private.h"

#include <klp/json.h>
#include <stdlib.h>

enum { FIELDS_MAX = 4096 };

int32_t agent_audit(struct agent *agent, struct kos_tx *tx, struct kos_bytes fields, struct klp_digest *ret_digest)
{
    struct kos_registry *registry = agent->registry;
    struct kos_identity *identity = kos_keys_find(kos_trust_keys(registry->trust), &agent->id);
    struct kos_tx *own = tx ? tx : kos_tx_begin(registry->store);
    int32_t rc = identity
                     ? kos_audit_append(registry->store, own, identity, fields, kos_now_ms(registry->env), ret_digest)
                     : KOS_E_NOTFOUND;
    if (tx)
        return rc;
    if (rc < 0)
        kos_tx_abort(own);
    else
        rc = kos_tx_commit(own, NULL, NULL);
    return rc;
}

static void put(struct klp_json_out *out, const char *name, const char *text)
{
    klp_json_name(out, name);
    klp_json_put_cstr(out, text);
}

int32_t audit_run_started(struct run *run)
{
    uint8_t room[FIELDS_MAX];
    struct klp_json_out out;
    struct kos_bytes fields;
    struct klp_digest digest;
    klp_json_begin(&out, room, sizeof room);
    klp_json_object(&out);
    put(&out, "event", "run");
    klp_json_name(&out, "input");
    klp_json_put_hex(&out, kos_bytes(run->input.b, KLP_DIGEST_LEN));
    put(&out, "source", run->source);
    put(&out, "task", run->task);
    klp_json_close(&out, '}');
    int32_t rc = klp_json_end(&out, &fields);
    return rc < 0 ? rc : agent_audit(run->agent, NULL, fields, &digest);
}

int32_t audit_run_ended(struct run *run, struct klp_digest *ret_digest)
{
    uint8_t room[FIELDS_MAX];
    struct klp_json_out out;
    struct kos_bytes fields;
    struct klp_digest output;
    struct kos_registry *registry = run->registry;
    crypto_hash_sha256_final(&run->output, output.b);
    klp_json_begin(&out, room, sizeof room);
    klp_json_object(&out);
    klp_json_name(&out, "bytes");
    klp_json_put_int(&out, (int64_t)run->output_bytes);
    put(&out, "event", "ended");
    klp_json_name(&out, "input");
    klp_json_put_hex(&out, kos_bytes(run->input.b, KLP_DIGEST_LEN));
    klp_json_name(&out, "output");
    klp_json_put_hex(&out, kos_bytes(output.b, KLP_DIGEST_LEN));
    put(&out, "source", run->source);
    put(&out, "status", kos_error_name(run->status));
    put(&out, "task", run->task);
    klp_json_close(&out, '}');
    int32_t rc = klp_json_end(&out, &fields);
    if (rc < 0)
        return rc;
    struct kos_tx *tx = kos_tx_begin(registry->store);
    rc = agent_audit(run->agent, tx, fields, ret_digest);
    if (rc < 0) {
        kos_tx_abort(tx);
        return rc;
    }
    agent_counts_put(tx, run->agent);
    return kos_tx_commit(tx, NULL, NULL);
}
