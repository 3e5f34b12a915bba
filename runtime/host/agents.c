/* SPDX-License-Identifier: Apache-2.0
 * kos.agents/1: plugins' runs on the registry's. Ids are each plugin's own; `ended` comes exactly once for each. */
#include <stdlib.h>

#include "host/services.h"

struct kos_host_run {
    uint64_t id, owned;                /* the plugin's, which may use it again in its next life; the registry's */
    struct kos_policy_request place;   /* of its source, among the concurrent tasks that the policy lets it have */
    bool placed;
    UT_hash_handle hh, by_owned;
};

static struct kos_host_run *find(struct kos_hosted *hosted, uint64_t id)
{
    struct kos_host_run *run;
    HASH_FIND(hh, hosted->runs, &id, sizeof id, run);
    return run;
}

static struct kos_host_run *find_owned(struct kos_hosted *hosted, uint64_t owned)
{
    struct kos_host_run *run;
    HASH_FIND(by_owned, hosted->runs_by_owned, &owned, sizeof owned, run);
    return run;
}

/* False when the source has no place left: the run has ended then. */
static bool take_place(struct kos_hosted *hosted, struct kos_host_run *run, const struct kos_run *r)
{
    static const struct klp_id nobody;
    struct kos_policy_decision decision;
    run->place =
        (struct kos_policy_request){ .direction = KOS_INBOUND, .type = "TASK_REQUEST", .transport = "", .agent = "" };
    memcpy(run->place.peer.b, r->source_id, sizeof run->place.peer.b);
    if (klp_id_eq(&run->place.peer, &nobody))
        return true;
    kos_trust_decide(hosted->hosting->trust, &run->place, &decision);
    int32_t rc = kos_trust_tasks_take(hosted->hosting->trust, &run->place, &decision);
    run->placed = rc >= 0;
    if (rc < 0)
        kos_host_owner_ops.ended(&hosted->owner, run->owned, rc, kos_bytes(NULL, 0),
                                 decision.peer_text[0] ? decision.peer_text : decision.text, kos_error_retry(rc), NULL);
    return rc >= 0;
}

static void drop(struct kos_hosted *hosted, struct kos_host_run *run)
{
    if (run->placed)
        kos_trust_tasks_give(hosted->hosting->trust, &run->place);
    HASH_DEL(hosted->runs, run);
    HASH_DELETE(by_owned, hosted->runs_by_owned, run);
    free(run);
}

void kos_service_run(struct kos_services *services, uint64_t id, const struct kos_run *given)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_run r;
    if (!kos_hosted_may(hosted, KOS_RIGHT_AGENTS))
        return;
    if (id == 0 || find(hosted, id)) {
        kos_hosted_broke(hosted, "began run %llu, which is %s", (unsigned long long)id,
                         id ? "under way already" : "no id");
        return;
    }
    KOS_SIZED(&r, given);
    struct kos_host_run *run = kos_new(sizeof *run);
    run->id = id;
    run->owned = kos_hosted_id(hosted);
    HASH_ADD(hh, hosted->runs, id, sizeof run->id, run);
    HASH_ADD(by_owned, hosted->runs_by_owned, owned, sizeof run->owned, run);
    if (!r.task || !r.source) {
        kos_host_owner_ops.ended(&hosted->owner, run->owned, KOS_E_INVALID, kos_bytes(NULL, 0), "a run needs task and source",
                                 0, NULL);
        return;
    }
    if (take_place(hosted, run, &r))
        kos_agents_run(hosted->hosting->agents, &hosted->owner, run->owned, &r);
}

void kos_service_run_credit(struct kos_services *services, uint64_t id, uint64_t bytes)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_run *run = find(hosted, id);
    if (run)
        kos_agents_credit(hosted->hosting->agents, &hosted->owner, run->owned, bytes);
}

void kos_service_run_cancel(struct kos_services *services, uint64_t id)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_run *run = find(hosted, id);
    if (run)
        kos_agents_cancel(hosted->hosting->agents, &hosted->owner, run->owned);
}

static void output(struct kos_agents_owner *owner, uint64_t owned, int32_t kind, struct kos_bytes bytes)
{
    struct kos_hosted *hosted = (struct kos_hosted *)owner;
    struct kos_host_run *run = find_owned(hosted, owned);
    if (run && hosted->backend)
        hosted->backend->ops->output(hosted->backend, run->id, kind, bytes);
}

static void ended(struct kos_agents_owner *owner, uint64_t owned, int32_t status, struct kos_bytes result,
                  const char *text, int32_t retry, const uint8_t audit[32])
{
    struct kos_hosted *hosted = (struct kos_hosted *)owner;
    struct kos_host_run *run = find_owned(hosted, owned);
    if (!run)
        return;
    uint64_t id = run->id;
    drop(hosted, run);
    if (hosted->backend)
        hosted->backend->ops->ended(hosted->backend, id, status, result, text ? text : "", retry, audit);
}

const struct kos_agents_owner_ops kos_host_owner_ops = { output, ended };

void kos_runs_drop(struct kos_hosted *hosted)
{
    struct kos_host_run *run, *next;
    HASH_ITER(hh, hosted->runs, run, next) {
        uint64_t owned = run->owned;
        drop(hosted, run);
        kos_agents_cancel(hosted->hosting->agents, &hosted->owner, owned);
    }
}

size_t kos_runs_count(const struct kos_hosted *hosted)
{
    return HASH_COUNT(hosted->runs);
}
