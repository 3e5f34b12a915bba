/* SPDX-License-Identifier: Apache-2.0
 * What tests and measurements of kos.stream/1 stand on: `Push` opens a stream and sends so many bytes of a pattern whose
 * every byte tells its place; the other side checks them, and answers with how many were right. */
#include <stdlib.h>
#include <kos/control.h>
#include <kos/plugin.h>
#include <kos/stream.h>
#include <klp/id.h>
#include <klp/json.h>

/* The period is prime, so that what is lost, repeated or out of order by whole pieces shows. */
enum { PERIOD = 262139, CHUNK_MAX = 1 << 20, ANSWER = 16 };

struct pump {
    const struct kos_host *host;
    const struct kos_control_host *control;
    const struct kos_stream *streams;
    uint64_t window, chunk, next;
    bool hold, stopping;
    struct flow *flows;
    uint8_t pattern[PERIOD + CHUNK_MAX];
};

struct flow {
    struct flow *next;
    uint64_t id, call;              /* call: of who opened it; 0: accepted */
    uint64_t sent, total, credit;
    uint64_t received, right, given, began_ns;
    bool ended, closed, up;
    uint8_t answer[ANSWER];
    uint64_t answer_len;
};

static struct flow *find(struct pump *p, uint64_t id)
{
    struct flow *f = p->flows;
    while (f && f->id != id)
        f = f->next;
    return f;
}

static struct flow *flow_new(struct pump *p, uint64_t id)
{
    struct flow *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    f->id = id;
    f->began_ns = p->host->mono_ns(p->host);
    f->next = p->flows;
    p->flows = f;
    return f;
}

static void give(struct pump *p, struct flow *f, uint64_t bytes)
{
    f->given += bytes;
    p->streams->credit(p->host, f->id, bytes);
}

static void go_on(struct pump *p, struct flow *f)
{
    while (f->call && f->credit > 0 && f->sent < f->total) {
        uint64_t n = f->total - f->sent < f->credit ? f->total - f->sent : f->credit;
        n = n < p->chunk ? n : p->chunk;
        p->streams->send(p->host, f->id, kos_bytes(p->pattern + f->sent % PERIOD, (size_t)n));
        f->sent += n;
        f->credit -= n;
    }
    if (f->call && f->up && f->sent == f->total && !f->closed) {
        f->closed = true;
        p->streams->close(p->host, f->id);
    }
}

/* The other way: the answer, when all is there. */
static void answer(struct pump *p, struct flow *f)
{
    uint8_t out[ANSWER];
    if (f->call || !f->ended || f->closed || f->credit < sizeof out)
        return;
    memcpy(out, &f->received, 8);
    memcpy(out + 8, &f->right, 8);
    p->streams->send(p->host, f->id, kos_bytes(out, sizeof out));
    f->closed = true;
    p->streams->close(p->host, f->id);
}

/* ---- stream ---- */

static void up(void *self, uint64_t id, const uint8_t peer[KOS_ID_BYTES], const char *name)
{
    struct pump *p = self;
    struct flow *f = id & 1 ? flow_new(p, id) : find(p, id);
    (void)peer;
    if (strcmp(name, "PUMP_NEVER") == 0) {
        p->streams->abort(p->host, id, KOS_E_NOTFOUND, "there is nothing \"here\"");
        return;
    }
    f->up = true;
    if (id & 1 && !p->hold)
        give(p, f, p->window);
    go_on(p, f);
}

static void received(void *self, uint64_t id, struct kos_bytes bytes)
{
    struct pump *p = self;
    struct flow *f = find(p, id);
    if (!f)
        return;
    if (f->call) {
        for (size_t i = 0; i < bytes.len && f->answer_len < ANSWER; i++)
            f->answer[f->answer_len++] = bytes.data[i];
        return;
    }
    for (size_t at = 0; at < bytes.len;) {
        size_t n = bytes.len - at < CHUNK_MAX ? bytes.len - at : CHUNK_MAX;
        if (memcmp(bytes.data + at, p->pattern + (f->received + at) % PERIOD, n) == 0 && f->right == f->received + at)
            f->right += n;
        at += n;
    }
    f->received += bytes.len;
    if (!p->hold)
        give(p, f, bytes.len);
}

static void credit(void *self, uint64_t id, uint64_t bytes)
{
    struct flow *f = find(self, id);
    if (!f)
        return;
    f->credit += bytes;
    go_on(self, f);
    answer(self, f);
}

static void ended(void *self, uint64_t id)
{
    struct flow *f = find(self, id);
    if (!f)
        return;
    f->ended = true;
    answer(self, f);
}

static void report(struct pump *p, const struct flow *f, int32_t status, const char *text)
{
    struct klp_json_out out;
    struct kos_bytes json;
    uint8_t data[1024];
    uint64_t got = 0, right = 0;
    memcpy(&got, f->answer, 8);
    memcpy(&right, f->answer + 8, 8);
    klp_json_begin(&out, data, sizeof data);
    klp_json_object(&out);
    klp_json_name(&out, "error");
    klp_json_put_cstr(&out, kos_error_name(status));
    klp_json_name(&out, "received");
    klp_json_put_int(&out, (int64_t)got);
    klp_json_name(&out, "right");
    klp_json_put_int(&out, (int64_t)right);
    klp_json_name(&out, "sent");
    klp_json_put_int(&out, (int64_t)f->sent);
    klp_json_name(&out, "text");
    klp_json_put_cstr(&out, text);
    klp_json_name(&out, "us");
    klp_json_put_int(&out, (int64_t)((p->host->mono_ns(p->host) - f->began_ns) / 1000));
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &json) == KOS_OK)
        p->control->reply(p->host, f->call, KOS_OK, json, "", 0);
}

static void down(void *self, uint64_t id, int32_t status, const char *text)
{
    struct pump *p = self;
    for (struct flow **at = &p->flows; *at; at = &(*at)->next)
        if ((*at)->id == id) {
            struct flow *f = *at;
            *at = f->next;
            if (f->call)
                report(p, f, status, text);
            free(f);
            break;
        }
    if (p->stopping && !p->flows)
        p->host->stopped(p->host);
}

/* ---- control ---- */

static void push_bytes(struct pump *p, uint64_t call, struct klp_json parameters)
{
    struct kos_bytes peer;
    struct klp_id to;
    uint64_t bytes = 0;
    char name[KLP_ID_TEXT + 64] = "PUMP";
    if (klp_json_plain(klp_json_get(parameters, "peer"), &peer) < 0 || klp_id_parse(peer, &to) < 0 ||
        klp_json_uint(klp_json_get(parameters, "bytes"), &bytes) < 0) {
        p->control->reply(p->host, call, KOS_E_INVALID, kos_bytes(NULL, 0), "peer and bytes are needed", 0);
        return;
    }
    if (klp_json_get(parameters, "name").type == KLP_JSON_STRING)
        klp_json_string(klp_json_get(parameters, "name"), name, sizeof name, NULL);
    struct flow *f = flow_new(p, p->next += 2);
    f->call = call;
    f->total = bytes;
    p->streams->open(p->host, f->id, to.b, name);
    give(p, f, ANSWER);
}

static void list(struct pump *p, uint64_t call)
{
    struct klp_json_out out;
    struct kos_bytes json;
    uint8_t *data = malloc(1 << 20);
    if (!data)
        abort();
    klp_json_begin(&out, data, 1 << 20);
    klp_json_object(&out);
    klp_json_name(&out, "streams");
    klp_json_array(&out);
    for (const struct flow *f = p->flows; f; f = f->next) {
        klp_json_object(&out);
        klp_json_name(&out, "accepted");
        klp_json_put_bool(&out, f->call == 0);
        klp_json_name(&out, "credit");
        klp_json_put_int(&out, (int64_t)f->credit);
        klp_json_name(&out, "received");
        klp_json_put_int(&out, (int64_t)f->received);
        klp_json_name(&out, "sent");
        klp_json_put_int(&out, (int64_t)f->sent);
        klp_json_close(&out, '}');
    }
    klp_json_close(&out, ']');
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &json) == KOS_OK)
        p->control->reply(p->host, call, KOS_OK, json, "", 0);
    free(data);
}

static void run_call(struct pump *p, uint64_t call, const char *method, struct klp_json parameters)
{
    uint64_t bytes = 0;
    if (strcmp(method, "Push") == 0) {
        push_bytes(p, call, parameters);
        return;
    }
    if (strcmp(method, "Streams") == 0) {
        list(p, call);
        return;
    }
    klp_json_uint(klp_json_get(parameters, "bytes"), &bytes);
    for (struct flow *f = p->flows, *next; f; f = next) {
        next = f->next;
        if (strcmp(method, "Abort") == 0)
            p->streams->abort(p->host, f->id, KOS_E_TIMEOUT, "it took too long");
        else if (strcmp(method, "Give") == 0 && !f->call)
            give(p, f, bytes);
    }
    p->control->reply(p->host, call, KOS_OK, kos_bytes_str("{}"), "", 0);
}

static void call(void *self, uint64_t id, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct pump *p = self;
    struct kos_error error = { 0 };
    struct klp_json value;
    uint8_t *data;
    size_t len;
    (void)flags;
    if (klp_json_canonicalise(parameters, 1 << 16, &data, &len, &error) < 0) {
        p->control->reply(p->host, id, KOS_E_INVALID, kos_bytes(NULL, 0), error.text, 0);
        return;
    }
    if (klp_json_read(kos_bytes(data, len), len, &value, NULL) == KOS_OK)
        run_call(p, id, method, value);
    free(data);
}

static void hangup(void *self, uint64_t id)
{
    (void)self;
    (void)id;
}

/* ---- life ---- */

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    struct pump *p = calloc(1, sizeof *p);
    uint64_t x = 88172645463325252u;
    if (!p)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory");
    for (size_t i = 0; i < sizeof p->pattern; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17; /* Marsaglia's xorshift64 */
        p->pattern[i] = i < PERIOD ? (uint8_t)(x >> 56) : p->pattern[i - PERIOD];
    }
    p->host = host;
    p->control = host->feature(host, KOS_CONTROL_HOST);
    p->streams = host->feature(host, KOS_STREAM);
    p->window = (uint64_t)kos_conf_number(conf, "window");
    p->chunk = (uint64_t)kos_conf_number(conf, "chunk");
    p->hold = kos_conf_number(conf, "hold") != 0;
    if (!p->streams) {
        free(p);
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "this host has no streams");
    }
    *ret_self = p;
    return KOS_OK;
}

static void start(void *self)
{
    (void)self;
}

static void stop(void *self)
{
    struct pump *p = self;
    p->stopping = true;
    for (struct flow *f = p->flows, *next; f; f = next) {
        next = f->next;
        p->streams->abort(p->host, f->id, KOS_E_CANCELLED, NULL);
    }
    if (!p->flows)
        p->host->stopped(p->host);
}

static void fini(void *self)
{
    struct pump *p = self;
    for (struct flow *f = p->flows, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    free(p);
}

static const char *const names[] = { "PUMP", "PUMP_OTHER", "PUMP_NEVER", NULL };
static const struct kos_stream_user stream = {
    .size = sizeof stream, .up = up, .received = received, .credit = credit, .down = down, .ended = ended, .names = names,
};
static const struct kos_control control = {
    .size = sizeof control,
    .interface_name = "org.kos.test.pump",
    .description = "interface org.kos.test.pump\n"
                   "method Push(peer: string, bytes: int, name: ?string) -> (error: string, text: string, sent: int, "
                   "received: int, right: int, us: int)\n"
                   "method Streams() -> (streams: []object)\n"
                   "method Give(bytes: int) -> ()\n"
                   "method Abort() -> ()\n",
    .call = call,
    .hangup = hangup,
};
static const struct kos_feature stream_feature = { sizeof stream_feature, KOS_STREAM_USER, &stream };
static const struct kos_feature control_feature = { sizeof control_feature, KOS_CONTROL, &control };
static const struct kos_feature *const features[] = { &stream_feature, &control_feature, NULL };
static const struct kos_right right = { sizeof right, "stream", "to move bytes to and from the other node" };
static const struct kos_right *const rights[] = { &right, NULL };
static const struct kos_setting window = { .size = sizeof window, .type = KOS_SETTING_SIZE, .name = "window",
                                           .summary = "bytes that a peer may have on their way", .fallback = "1M",
                                           .min = 1, .max = 1 << 30 };
static const struct kos_setting chunk = { .size = sizeof chunk, .type = KOS_SETTING_SIZE, .name = "chunk",
                                          .summary = "bytes sent in one call", .fallback = "64K", .min = 1,
                                          .max = CHUNK_MAX };
static const struct kos_setting hold = { .size = sizeof hold, .type = KOS_SETTING_BOOL, .name = "hold",
                                         .summary = "read only when told to", .fallback = "false" };
static const struct kos_setting *const settings[] = { &window, &chunk, &hold, NULL };

const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.test.pump",
    .name = "pump",
    .version = "1.0",
    .summary = "Pumps bytes through streams, for tests and measurements",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
};
