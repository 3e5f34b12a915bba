/* SPDX-License-Identifier: Apache-2.0
 * Operations that the host submits to plugins: each ends once, by kos_host.complete or because the plugin is gone. */
#include <inttypes.h>
#include <stdlib.h>

#include "host/services.h"

struct kos_host_op {
    uint64_t id;
    kos_op_done *done;
    void *arg;
    UT_hash_handle hh;
};

uint64_t kos_op_new(struct kos_hosted *hosted, kos_op_done *done, void *arg)
{
    struct kos_host_op *op = kos_new(sizeof *op);
    op->id = kos_hosted_id(hosted);
    op->done = done;
    op->arg = arg;
    HASH_ADD(hh, hosted->ops, id, sizeof op->id, op);
    return op->id;
}

static void end(struct kos_hosted *hosted, struct kos_host_op *op, int32_t status, struct kos_bytes result)
{
    kos_op_done *done = op->done;
    void *arg = op->arg;
    HASH_DEL(hosted->ops, op);
    free(op);
    done(arg, status, result);
}

void kos_service_complete(struct kos_services *services, uint64_t id, int32_t status, struct kos_bytes result)
{
    struct kos_hosted *hosted = kos_hosted_of(services);
    struct kos_host_op *op;
    HASH_FIND(hh, hosted->ops, &id, sizeof id, op);
    if (op)
        end(hosted, op, status > 0 ? KOS_OK : status, result);
    else
        kos_hosted_broke(hosted, "completed operation %" PRIu64 ", which is not open", id);
}

void kos_ops_drop(struct kos_hosted *hosted)
{
    struct kos_host_op *op, *next;
    HASH_ITER(hh, hosted->ops, op, next)
        end(hosted, op, KOS_E_INTERRUPTED, kos_bytes_str("the plugin ended before it answered"));
}

size_t kos_ops_count(const struct kos_hosted *hosted)
{
    return HASH_COUNT(hosted->ops);
}
