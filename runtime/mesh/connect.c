/* SPDX-License-Identifier: Apache-2.0
 * The operator's connect: what was typed becomes an address to dial, and somebody waits for the answer. */
#include "mesh/mesh_private.h"

#include <stdlib.h>

enum { CONNECT_TIMEOUT_MS = 10000 };

static int32_t dial_address(struct kos_mesh *mesh, const char *text, char ret_address[KLP_ADDRESS_MAX],
                            struct klp_id *ret_expect, bool *ret_has_expect, struct kos_error *ret_error)
{
    struct klp_address address;
    struct klp_id node, agent;
    struct kos_error error;
    const char *scheme_end = strstr(text, "://");
    bool ours = !scheme_end || strncmp(text, "klp:", 4) == 0 || strncmp(text, "peer:", 5) == 0 ||
                strncmp(text, "agent:", 6) == 0;
    *ret_has_expect = false;
    if (strlen(text) >= KLP_ADDRESS_MAX)
        return kos_fail(ret_error, KOS_E_LIMIT, "an address has at most %d characters", KLP_ADDRESS_MAX - 1);
    if (!ours) {
        snprintf(ret_address, KLP_ADDRESS_MAX, "%s", text);
        return KOS_OK;
    }
    if (scheme_end) {
        int32_t rc = klp_address_parse(kos_bytes_str(text), &address, &error);
        if (rc < 0)
            return kos_fail(ret_error, rc, "%s", error.text);
        if (address.form == KLP_ADDRESS_HOST) {
            bool six = strchr(address.name, ':') && address.name[0] != '[';
            snprintf(ret_address, KLP_ADDRESS_MAX, six ? "tcp://[%s]:%u" : "tcp://%s:%u", address.name, address.port);
            return KOS_OK;
        }
    }
    int32_t rc = kos_mesh_resolve(mesh, text, &node, &agent, ret_error);
    if (rc < 0)
        return rc;
    *ret_expect = node;
    *ret_has_expect = true;
    struct mesh_keep *keep;
    DL_FOREACH(mesh->keeps, keep)
        if (keep->proven && klp_id_eq(&keep->peer, &node))
            break;
    struct mesh_record *record = mesh_record_find(mesh, &node);
    const char *known = keep ? keep->address : record ? record->addresses[0] : NULL;
    if (!known)
        return kos_fail(ret_error, KOS_E_NOTFOUND,
                        "no address is known for %s; give one that a transport can dial, as in peer://HOST:PORT", text);
    snprintf(ret_address, KLP_ADDRESS_MAX, "%s", known);
    return KOS_OK;
}

/* The answer comes last: whoever gets it may connect or disconnect at once. */
static void waited(void *arg)
{
    struct mesh_waiter *waiter = arg;
    struct mesh_keep *keep = waiter->keep;
    struct kos_mesh *mesh = keep->mesh;
    struct mesh_link *link = mesh_link_find(mesh, keep->link);
    bool up = link && link->session && link->session->up;
    struct klp_id nobody = { { 0 } };
    char text[KLP_ADDRESS_MAX + 64];
    snprintf(text, sizeof text, "%s did not answer in time", keep->address);
    struct kos_mesh_connected result = { up ? KOS_OK : KOS_E_TIMEOUT, up ? keep->peer : nobody, up ? "" : text };
    LL_DELETE(keep->waiters, waiter);
    kos_timer_free(mesh->env, waiter->timer);
    if (up) {
        mesh_keep_petname(mesh, link->session);
        mesh_keep_save(keep);
    } else if (!keep->durable && !keep->waiters) {
        mesh_keep_free(keep);
        if (link)
            mesh_link_close(link, false, KOS_E_TIMEOUT, "nobody waits for it any more");
    }
    waiter->done(waiter->arg, &result);
    free(waiter);
}

static void wait_for(struct mesh_keep *keep, uint64_t timeout_ms,
                     void (*done)(void *arg, const struct kos_mesh_connected *result), void *arg)
{
    struct mesh_waiter *waiter = kos_new(sizeof *waiter);
    waiter->done = done;
    waiter->arg = arg;
    waiter->keep = keep;
    waiter->timer = kos_timer_new(keep->mesh->env, waited, waiter);
    kos_timer_set(keep->mesh->env, waiter->timer, timeout_ms);
    LL_APPEND(keep->waiters, waiter);
}

int32_t kos_mesh_connect(struct kos_mesh *mesh, const char *text, const struct klp_id *expect, uint64_t timeout_ms,
                         void (*done)(void *arg, const struct kos_mesh_connected *result), void *arg,
                         struct kos_error *ret_error)
{
    char address[KLP_ADDRESS_MAX];
    struct klp_id found;
    bool has_expect;
    int32_t rc = dial_address(mesh, text, address, &found, &has_expect, ret_error);
    if (rc < 0)
        return rc;
    if (expect && has_expect && !klp_id_eq(expect, &found))
        return kos_fail(ret_error, KOS_E_MISADDRESSED, "%s is another identity than the one expected", text);
    if (has_expect && klp_id_eq(&found, &mesh->self))
        return kos_fail(ret_error, KOS_E_INVALID, "%s is this node itself", text);
    struct mesh_keep *keep;
    DL_FOREACH(mesh->keeps, keep)
        if (strcmp(keep->address, address) == 0)
            break;
    bool fresh = !keep;
    if (fresh)
        keep = mesh_keep_new(mesh, address);
    if (expect || has_expect) {
        keep->has_expect = true;
        keep->expect = expect ? *expect : found;
    }
    struct mesh_link *link = keep->link ? mesh_link_find(mesh, keep->link) : NULL;
    if (link && link->session && link->session->up) {
        if (keep->has_expect && !klp_id_eq(&keep->expect, &link->session->proof.id))
            return kos_fail(ret_error, KOS_E_MISADDRESSED, "another identity answers at %s than the one expected",
                            address);
        wait_for(keep, 0, done, arg);
        return KOS_OK;
    }
    if (!keep->link) {
        struct kos_error error;
        kos_timer_stop(mesh->env, keep->timer);
        keep->came_up = keep->tried_ik = false;
        keep->link = mesh_link_dial(mesh, keep, keep->address, &error);
        if (!keep->link) {
            if (fresh)
                mesh_keep_free(keep);
            else
                mesh_keep_later(keep);
            return kos_fail(ret_error, error.code, "%s", error.text);
        }
    }
    wait_for(keep, timeout_ms ? timeout_ms : CONNECT_TIMEOUT_MS, done, arg);
    return KOS_OK;
}
