/* SPDX-License-Identifier: Apache-2.0
 * Links: bytes from and to a carrier, bounded before anything in them is believed. */
#include "mesh/mesh_private.h"

#include <arpa/inet.h>
#include <stdlib.h>

struct mesh_link *mesh_link_find(struct kos_mesh *mesh, uint64_t id)
{
    struct mesh_link *link;
    HASH_FIND(hh, mesh->links, &id, sizeof id, link);
    return link;
}

/* "tcp://192.0.2.1:4711" -> "tcp://192.0.2.1": the port is the dialler's choice. */
static void host_of(const char *remote, char *ret_host, size_t cap)
{
    snprintf(ret_host, cap, "%s", remote);
    char *colon = strrchr(ret_host, ':');
    if (colon && colon[1] != '/' && !strchr(colon, ']'))
        *colon = 0;
}

/* Who has one IPv6 address has 2^64 of them: a source is the network that is given to one site (RFC 6177). Neighbours
 * on a link are told apart. "tcp://[2001:db8::1]" -> "tcp://[2001:db8::]/64". */
static void site_of(const char *remote, char *ret_host, size_t cap)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    host_of(remote, ret_host, cap);
    char *open = strchr(ret_host, '['), *close = open ? strchr(open, ']') : NULL;
    if (!close || (size_t)(close - open) > sizeof text)
        return;
    snprintf(text, sizeof text, "%.*s", (int)(close - open - 1), open + 1);
    if (inet_pton(AF_INET6, text, &address) != 1 || IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_V4MAPPED(&address))
        return;
    memset(address.s6_addr + 8, 0, 8);
    if (inet_ntop(AF_INET6, &address, text, sizeof text))
        snprintf(open, cap - (size_t)(open - ret_host), "[%s]/64", text);
}

static struct mesh_source *source_get(struct kos_mesh *mesh, const char *remote)
{
    char host[sizeof((struct mesh_source *)0)->host];
    struct mesh_source *source;
    site_of(remote, host, sizeof host);
    HASH_FIND_STR(mesh->sources, host, source);
    if (!source) {
        source = kos_new(sizeof *source);
        memcpy(source->host, host, sizeof host);
        HASH_ADD_STR(mesh->sources, host, source);
    }
    return source;
}

static void source_leave(struct kos_mesh *mesh, struct mesh_source *source)
{
    if (!source || --source->half_open)
        return;
    HASH_DEL(mesh->sources, source);
    free(source);
}

static struct mesh_link *link_new(struct kos_mesh *mesh, bool dialled)
{
    struct mesh_link *link = kos_new(sizeof *link);
    link->mesh = mesh;
    link->id = mesh->next_id++;
    link->dialled = dialled;
    link->half_open = true;
    link->local = kos_strdup("");
    link->remote = kos_strdup("");
    mesh->half_open++;
    kos_buf_init(&link->in, MESH_UNPROVEN_BYTES);
    kos_buf_init(&link->early, MESH_UNPROVEN_BYTES);
    HASH_ADD(hh, mesh->links, id, sizeof link->id, link);
    return link;
}

void mesh_link_settled(struct mesh_link *link)
{
    if (!link->half_open)
        return;
    link->half_open = false;
    link->mesh->half_open--;
    if (!link->dialled)
        DL_DELETE2(link->mesh->strangers, link, stranger_prev, stranger_next);
    if (link->timer)
        kos_timer_stop(link->mesh->env, link->timer);
    source_leave(link->mesh, link->source);
    link->source = NULL;
}

void mesh_link_free(struct mesh_link *link)
{
    struct kos_mesh *mesh = link->mesh;
    mesh_link_settled(link);
    if (link->handshake)
        mesh_handshake_abandon(link->handshake);
    if (link->session)
        mesh_session_free(link->session);
    mesh_shake_free(link);
    mesh->ending -= link->closing;
    HASH_DEL(mesh->links, link);
    kos_undefer(mesh->env, &link->first);
    kos_timer_free(mesh->env, link->timer);
    kos_buf_fini(&link->in);
    kos_buf_fini(&link->early);
    free(link->local);
    free(link->remote);
    free(link);
}

static void too_long(void *arg)
{
    struct mesh_link *link = arg;
    if (link->session && link->session->up)
        return; /* set for a handshake beside a session, which came to an end */
    mesh_link_close(link, false, KOS_E_TIMEOUT, "the handshake with %s took longer than %llu ms",
                    link->remote[0] ? link->remote : "the peer", (unsigned long long)mesh_shake_limit_ms(link));
}

static void arm(struct mesh_link *link)
{
    link->timer = kos_timer_new(link->mesh->env, too_long, link);
    kos_timer_set(link->mesh->env, link->timer, mesh_shake_limit_ms(link));
}

static void take_info(struct mesh_link *link, const struct kos_link_info *info)
{
    free(link->local);
    free(link->remote);
    link->local = kos_strdup(info->local ? info->local : "");
    link->remote = kos_strdup(info->remote ? info->remote : "");
    link->flags = info->flags;
    link->cost = info->cost;
    link->send_credit = link->send_window = info->send_window_bytes;
    link->datagrams = !(info->flags & KOS_LINK_STREAM);
    link->mtu = info->mtu_bytes < MESH_DATAGRAM_MAX ? info->mtu_bytes : MESH_DATAGRAM_MAX;
    link->bits_per_second = info->bits_per_second;
    link->slow = link->datagrams && (info->airtime_ms_per_hour || info->cost >= MESH_SLOW_COST);
    mesh_airtime_init(link, info->airtime_ms_per_hour);
    link->up = true;
    const char *scheme_end = strstr(link->remote, "://");
    const char *from = scheme_end ? link->remote : link->local;
    scheme_end = strstr(from, "://");
    if (scheme_end)
        snprintf(link->transport, sizeof link->transport, "%.*s", (int)(scheme_end - from), from);
}

/* What the link is decides how it is spoken over. */
static bool prepare(struct mesh_link *link)
{
    if (!link->datagrams)
        return true;
    if (link->mtu < MESH_MTU_MIN || link->send_window < MESH_MTU_MIN) {
        mesh_link_close(link, false, KOS_E_UNSUPPORTED,
                        "links of transport \"%s\" carry datagrams of %u bytes (%llu at a time); KLP needs %d",
                        link->transport, link->mtu, (unsigned long long)link->send_window, MESH_MTU_MIN);
        return false;
    }
    /* Each lies behind a length of two bytes. */
    link->in.limit = 3 * MESH_UNPROVEN_BYTES;
    mesh_shake_new(link);
    return true;
}

/* Not inside kos_mesh_link_accepted: the carrier learns the id by its return. */
static void first_credit(struct kos_deferred *deferred)
{
    struct mesh_link *link = (struct mesh_link *)(void *)((char *)deferred - offsetof(struct mesh_link, first));
    if (link->closing)
        return;
    if (!link->datagrams) /* there the first message begins it */
        mesh_handshake_begin(link, false, NULL);
    if (!link->closing)
        link->mesh->carrier->ops->credit(link->mesh->carrier, link->id, MESH_UNPROVEN_BYTES);
    if (!link->closing)
        mesh_link_process(link);
}

/* A flood from many sources must not keep everybody else out: of the source with the most handshakes under way the oldest
 * gives way, which a peer in good faith has long finished. Those without a source are one. False: all are our own. */
static bool make_room(struct kos_mesh *mesh)
{
    struct mesh_link *link, *gives_way = NULL;
    uint32_t without = 0, most = 0;
    DL_FOREACH2(mesh->strangers, link, stranger_next)
        without += !link->source;
    DL_FOREACH2(mesh->strangers, link, stranger_next) {
        uint32_t count = link->source ? link->source->half_open : without;
        if (count > most) {
            most = count;
            gives_way = link;
        }
    }
    if (!gives_way)
        return false;
    mesh->counters.links_refused++;
    mesh_link_close(gives_way, false, KOS_E_BUSY,
                    "%u handshakes are under way (half_open), and this is the oldest of those who have the most",
                    mesh->half_open);
    return true;
}

/* Anybody may hold a session, but strangers' must not keep out who is trusted: a part of the links is kept from them, and
 * beyond it the oldest that nobody trusts and nothing waits for gives way. uthash walks in order of arrival. */
static void keep_room(struct kos_mesh *mesh)
{
    uint32_t kept = mesh->limits.links / MESH_LINKS_KEPT + 1;
    struct mesh_link *link = mesh->links, *next;
    for (; link && HASH_COUNT(mesh->links) - mesh->ending + kept > mesh->limits.links; link = next) {
        struct mesh_session *session = link->session;
        next = link->hh.next;
        if (link->dialled || link->closing || !session || !session->up || session->peer->entries ||
            kos_trust_score(mesh->trust, &session->proof.id) > 0)
            continue;
        mesh->counters.links_refused++;
        mesh_session_close(session, KOS_E_BUSY, "this node keeps room for those whom it trusts (links)");
    }
}

uint64_t kos_mesh_link_accepted(struct kos_mesh *mesh, uint64_t endpoint, const struct kos_link_info *info)
{
    (void)endpoint;
    if (!mesh->stopping && mesh->started)
        keep_room(mesh);
    /* What only waits for the carrier's word that it ended is soon gone, but not without bound. */
    if (mesh->stopping || !mesh->started || HASH_COUNT(mesh->links) - mesh->ending >= mesh->limits.links ||
        HASH_COUNT(mesh->links) / 2 >= mesh->limits.links) {
        mesh->counters.links_refused++;
        return 0;
    }
    struct mesh_source *source = info->flags & KOS_LINK_ANONYMOUS ? NULL
                                                                  : source_get(mesh, info->remote ? info->remote : "");
    if (source && source->half_open >= mesh->limits.half_open_per_source) {
        mesh->counters.links_refused++;
        if (kos_log_limit_pass(mesh->log_limit, source->host, NULL))
            kos_log(mesh->env, KOS_LOG_WARNING, "mesh",
                    "refused a link from %s: it has %u handshakes under way (half_open_per_source)", source->host,
                    source->half_open);
        return 0;
    }
    if (source)
        source->half_open++; /* so it stays while others make room */
    if (mesh->half_open >= mesh->limits.half_open && !make_room(mesh)) {
        mesh->counters.links_refused++;
        source_leave(mesh, source);
        return 0;
    }
    struct mesh_link *link = link_new(mesh, false);
    DL_APPEND2(mesh->strangers, link, stranger_prev, stranger_next);
    link->source = source;
    take_info(link, info);
    if (link->datagrams && (link->mtu < MESH_MTU_MIN || link->send_window < MESH_MTU_MIN)) {
        mesh_link_free(link);
        mesh->counters.links_refused++;
        return 0;
    }
    prepare(link);
    arm(link);
    link->first.run = first_credit;
    kos_defer(mesh->env, &link->first);
    return link->id;
}

uint64_t mesh_link_dial(struct kos_mesh *mesh, struct mesh_keep *keep, const char *address, struct kos_error *ret_error)
{
    if (HASH_COUNT(mesh->links) >= mesh->limits.links) {
        kos_fail(ret_error, KOS_E_LIMIT, "no more than %u links at a time (limit links)", mesh->limits.links);
        return 0;
    }
    struct mesh_link *link = link_new(mesh, true);
    int32_t rc = mesh->carrier->ops->dial(mesh->carrier, link->id, address);
    if (rc < 0) {
        mesh_link_free(link);
        kos_fail(ret_error, rc, "cannot dial %s: %s", address,
                 rc == KOS_E_UNSUPPORTED ? "no transport that is loaded has this scheme" : kos_error_text(rc));
        return 0;
    }
    link->keep = keep;
    free(link->remote);
    link->remote = kos_strdup(address);
    arm(link);
    return link->id;
}

void kos_mesh_link_up(struct kos_mesh *mesh, uint64_t id, const struct kos_link_info *info)
{
    struct mesh_link *link = mesh_link_find(mesh, id);
    if (!link || link->closing || link->up || !link->dialled)
        return;
    char *dialled = kos_strdup(link->remote);
    take_info(link, info);
    if (!link->remote[0]) {
        free(link->remote);
        link->remote = dialled;
    } else {
        free(dialled);
    }
    if (!prepare(link))
        return;
    if (link->slow)
        kos_timer_set(mesh->env, link->timer, mesh_shake_limit_ms(link));
    mesh->carrier->ops->credit(mesh->carrier, link->id, MESH_UNPROVEN_BYTES);
    mesh_handshake_begin(link, true, link->keep ? mesh_keep_static(link->keep) : NULL);
}

void mesh_link_open_window(struct mesh_link *link)
{
    if (link->in.limit >= MESH_LINK_WINDOW)
        return;
    link->in.limit = link->datagrams ? 3 * MESH_LINK_WINDOW : MESH_LINK_WINDOW;
    link->mesh->carrier->ops->credit(link->mesh->carrier, link->id, MESH_LINK_WINDOW - MESH_UNPROVEN_BYTES);
}

/* A record: u16 length, ciphertext. Returns bytes used, 0 to wait for more. */
static size_t take_record(struct mesh_link *link, struct kos_bytes rest)
{
    uint8_t *plain = link->mesh->opened;
    size_t plain_len, len = rest.len < 2 ? 0 : (size_t)rest.data[0] << 8 | rest.data[1];
    if (rest.len < 2 || rest.len - 2 < len)
        return 0;
    int32_t rc = klp_record_open(link->session->receive, kos_bytes(rest.data + 2, len), plain, &plain_len);
    if (rc < 0) {
        link->mesh->counters.records_bad++;
        mesh_link_close(link, false, rc,
                        "a record from %s does not open (%s): it was altered, repeated or lost on the way",
                        link->remote, kos_error_name(rc));
        return 0;
    }
    mesh_session_record(link->session, kos_bytes(plain, plain_len));
    return 2 + len;
}

/* What is whole at the front. Returns bytes used. */
static size_t take_whole(struct mesh_link *link, struct kos_bytes bytes)
{
    size_t used = 0, taken = 1;
    while (!link->closing && taken) {
        struct kos_bytes rest = kos_bytes(used ? bytes.data + used : bytes.data, bytes.len - used);
        taken = link->session ? take_record(link, rest) : mesh_handshake_take(link, rest);
        used += taken;
    }
    return used;
}

static void give_credit(struct mesh_link *link, size_t used)
{
    if (used && !link->closing)
        link->mesh->carrier->ops->credit(link->mesh->carrier, link->id, used);
}

/* Nothing is held between whole records, nor memory for it: most links are silent most of the time. */
static void drop(struct mesh_link *link, size_t used)
{
    kos_buf_consume(&link->in, used);
    if (!link->in.len)
        kos_buf_fini(&link->in);
}

void mesh_link_process(struct mesh_link *link)
{
    if (link->datagrams) {
        mesh_datagram_process(link);
        return;
    }
    size_t used = take_whole(link, kos_buf_bytes(&link->in));
    drop(link, used);
    give_credit(link, used);
}

/* The rest of a record whose beginning is held. Returns how much of `bytes` went to it. */
static size_t complete(struct mesh_link *link, struct kos_bytes bytes)
{
    size_t taken = 0;
    while (link->in.len && taken < bytes.len) {
        size_t have = link->in.len, whole = have < 2 ? 2 : 2 + ((size_t)link->in.data[0] << 8 | link->in.data[1]);
        size_t part = whole - have < bytes.len - taken ? whole - have : bytes.len - taken;
        if (kos_buf_append(&link->in, kos_bytes(bytes.data + taken, part)) < 0)
            abort(); /* the caller has looked at the limit */
        taken += part;
        size_t used = take_whole(link, kos_buf_bytes(&link->in));
        drop(link, used);
        give_credit(link, used);
        if (link->closing)
            return bytes.len;
    }
    return taken;
}

/* Records are opened where the transport has them; only one that is not whole yet is copied. */
static void receive(struct mesh_link *link, struct kos_bytes bytes)
{
    size_t begun = complete(link, bytes), used = 0;
    if (begun < bytes.len) {
        bytes = kos_bytes(bytes.data + begun, bytes.len - begun);
        used = take_whole(link, bytes);
        if (!link->closing && used < bytes.len)
            (void)kos_buf_append(&link->in, kos_bytes(bytes.data + used, bytes.len - used));
    }
    give_credit(link, used);
}

void kos_mesh_link_received(struct kos_mesh *mesh, uint64_t id, struct kos_bytes bytes)
{
    struct mesh_link *link = mesh_link_find(mesh, id);
    if (!link || link->closing)
        return;
    mesh->counters.bytes_in += bytes.len;
    if (link->datagrams) {
        mesh_datagram_received(link, bytes);
        return;
    }
    if (bytes.len > link->in.limit - link->in.len) {
        mesh_link_close(link, false, KOS_E_LIMIT,
                        "transport \"%s\" handed over more than the %zu bytes it had credit for", link->transport,
                        link->in.limit);
        return;
    }
    if (link->session) {
        receive(link, bytes);
        return;
    }
    if (kos_buf_append(&link->in, bytes) < 0)
        abort();
    mesh_link_process(link);
}

void kos_mesh_link_credit(struct kos_mesh *mesh, uint64_t id, uint64_t bytes)
{
    struct mesh_link *link = mesh_link_find(mesh, id);
    if (!link || link->closing)
        return;
    link->send_credit += bytes;
    link->left_total += bytes;
    if (link->session && link->session->arq)
        mesh_arq_credit(link->session->arq);
    if (link->session)
        mesh_session_touch(link->session);
}

static void spend(struct mesh_link *link, size_t bytes)
{
    link->send_credit -= bytes < link->send_credit ? bytes : link->send_credit;
    link->mesh->counters.bytes_out += bytes;
    link->sent_total += bytes;
}

uint8_t *mesh_link_make(struct mesh_link *link, size_t len)
{
    struct kos_carrier *carrier = link->mesh->carrier;
    return carrier->ops->make ? carrier->ops->make(carrier, link->id, len) : NULL;
}

void mesh_link_made(struct mesh_link *link, size_t len)
{
    spend(link, len);
    link->mesh->carrier->ops->made(link->mesh->carrier, link->id, len);
}

void mesh_link_send(struct mesh_link *link, struct kos_bytes bytes)
{
    spend(link, bytes.len);
    link->mesh->carrier->ops->send(link->mesh->carrier, link->id, &bytes, 1);
}

/* Once a minute: for each reason where we dialled the address; for a stranger's host whatever he tries, for the port and
 * the reason are his to choose. */
static void tell_failure(struct mesh_link *link, int32_t status, const char *text)
{
    struct kos_mesh *mesh = link->mesh;
    char host[sizeof((struct mesh_source *)0)->host], key[sizeof host + 32];
    host_of(link->remote, host, sizeof host);
    snprintf(key, sizeof key, "no session %s %d", link->dialled ? link->remote : host, link->dialled ? (int)status : 0);
    mesh->counters.handshakes_failed += link->up;
    if (!mesh->stopping && kos_log_limit_pass(mesh->log_limit, key, NULL))
        kos_log(mesh->env, status == KOS_E_MISADDRESSED ? KOS_LOG_WARNING : KOS_LOG_INFO, "mesh",
                "no session with %s: %s", link->remote, text);
}

static void gone(struct mesh_link *link, int32_t status, const char *text)
{
    struct mesh_keep *keep = link->keep;
    link->closing = true;
    link->mesh->ending++;
    link->keep = NULL;
    if (link->half_open)
        tell_failure(link, status, text);
    mesh_link_settled(link);
    if (link->handshake) {
        mesh_handshake_abandon(link->handshake);
        link->handshake = NULL;
    }
    struct mesh_session *session = link->session;
    link->session = NULL;
    if (session) {
        mesh_streams_lost(session, status < 0 ? status : KOS_E_CLOSED, text);
        mesh_peer_down(session, status, text);
        mesh_session_free(session);
    }
    if (keep)
        mesh_keep_down(keep, link->id, status, text);
}

void mesh_link_close(struct mesh_link *link, bool flush, int32_t status, const char *format, ...)
{
    if (link->closing)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    gone(link, status, text);
    link->mesh->carrier->ops->close(link->mesh->carrier, link->id, flush);
}

void kos_mesh_link_down(struct kos_mesh *mesh, uint64_t id, int32_t status, const char *text)
{
    struct mesh_link *link = mesh_link_find(mesh, id);
    if (!link)
        return;
    if (!link->closing)
        gone(link, status < 0 ? status : KOS_E_CLOSED,
             text && text[0] ? text : kos_error_text(status < 0 ? status : KOS_E_CLOSED));
    mesh_link_free(link);
    if (mesh->stopping && !mesh->links && mesh->stopped)
        kos_defer(mesh->env, &mesh->stop_deferred);
}
