/* SPDX-License-Identifier: Apache-2.0
 * The fixture of host/'s tests, and the mesh, trust and agents that take notes. */
#include "fakes.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture f;
struct kos_cell_launcher *fixture_cells;

/* ---- trust ---- */

struct kos_keys *kos_trust_keys(struct kos_trust *trust)
{
    (void)trust;
    return f.keys;
}

void kos_trust_decide(struct kos_trust *trust, struct kos_policy_request *request,
                      struct kos_policy_decision *ret_decision)
{
    (void)trust;
    (void)request;
    *ret_decision = (struct kos_policy_decision){ .code = KOS_OK };
}
int32_t kos_trust_tasks_take(struct kos_trust *trust, const struct kos_policy_request *request,
                             struct kos_policy_decision *ret_decision)
{
    (void)trust;
    (void)request;
    if (f.tasks < f.tasks_max) {
        f.tasks++;
        return KOS_OK;
    }
    *ret_decision = (struct kos_policy_decision){ .code = KOS_E_QUOTA, .peer_text = "no more tasks at a time" };
    return KOS_E_QUOTA;
}
void kos_trust_tasks_give(struct kos_trust *trust, const struct kos_policy_request *request)
{
    (void)trust;
    (void)request;
    f.tasks--;
}

/* ---- mesh ---- */

void kos_mesh_endpoint_up(struct kos_mesh *mesh, uint64_t endpoint, const char *address)
{
    (void)mesh;
    (void)endpoint;
    (void)address;
    f.endpoint_ups++;
}
void kos_mesh_endpoint_down(struct kos_mesh *mesh, uint64_t endpoint, int32_t status, const char *text)
{
    (void)mesh;
    (void)endpoint;
    f.endpoint_downs++;
    f.down_status = status;
    snprintf(f.down_text, sizeof f.down_text, "%s", text);
}
uint64_t kos_mesh_link_accepted(struct kos_mesh *mesh, uint64_t endpoint, const struct kos_link_info *info)
{
    (void)mesh;
    (void)endpoint;
    ck_assert_ptr_nonnull(info->local);
    f.accepted++;
    f.last_link = f.refuse_links ? 0 : 1000 + (uint64_t)f.accepted;
    return f.last_link;
}
void kos_mesh_link_up(struct kos_mesh *mesh, uint64_t link, const struct kos_link_info *info)
{
    (void)mesh;
    ck_assert_uint_ge(info->send_window_bytes, 1000);
    f.last_link = link;
    f.link_ups++;
}
void kos_mesh_link_received(struct kos_mesh *mesh, uint64_t link, struct kos_bytes bytes)
{
    (void)mesh;
    (void)link;
    f.received += bytes.len;
    /* A mesh may answer at once: this must not reach the plugin inside its own call. */
    kos_hosting_carrier(f.hosting)->ops->credit(kos_hosting_carrier(f.hosting), link, bytes.len);
}
void kos_mesh_link_credit(struct kos_mesh *mesh, uint64_t link, uint64_t bytes)
{
    (void)mesh;
    (void)link;
    f.credited += bytes;
}
void kos_mesh_link_down(struct kos_mesh *mesh, uint64_t link, int32_t status, const char *text)
{
    (void)mesh;
    f.last_link = link;
    f.link_downs++;
    f.down_status = status;
    snprintf(f.down_text, sizeof f.down_text, "%s", text);
}
bool kos_mesh_watched(const struct kos_mesh *mesh)
{
    (void)mesh;
    return true;
}

void kos_mesh_tell(struct kos_mesh *mesh, const char *event, json_t *detail)
{
    (void)mesh;
    f.told++;
    snprintf(f.told_event, sizeof f.told_event, "%s", event);
    json_decref(detail);
}

void kos_mesh_owner_back(struct kos_mesh *mesh, const char *owner)
{
    (void)mesh;
    (void)owner;
    f.owners_back++;
}

void kos_mesh_streams(struct kos_mesh *mesh, struct kos_streams *streams)
{
    (void)mesh;
    f.streams = streams;
}
uint64_t kos_mesh_stream_open(struct kos_mesh *mesh, const struct klp_id *peer, const char *name,
                              struct kos_error *ret_error)
{
    (void)mesh;
    (void)peer;
    snprintf(f.stream_name, sizeof f.stream_name, "%s", name);
    if (f.refuse_streams) {
        kos_fail(ret_error, KOS_E_UNREACHABLE, "no session with that peer is open");
        return 0;
    }
    return 2000 + ++f.streams_opened;
}
bool kos_mesh_stream_send(struct kos_mesh *mesh, uint64_t stream, struct kos_bytes bytes)
{
    (void)mesh;
    f.last_stream = stream;
    f.stream_sent += bytes.len;
    return true;
}
void kos_mesh_stream_credit(struct kos_mesh *mesh, uint64_t stream, uint64_t bytes)
{
    (void)mesh;
    f.last_stream = stream;
    f.stream_credit += bytes;
}
void kos_mesh_stream_close(struct kos_mesh *mesh, uint64_t stream)
{
    (void)mesh;
    f.last_stream = stream;
    f.streams_closed++;
}
void kos_mesh_stream_abort(struct kos_mesh *mesh, uint64_t stream, int32_t status, const char *text)
{
    (void)mesh;
    (void)text;
    f.last_stream = stream;
    f.stream_status = status;
    f.streams_aborted++;
    if (f.streams)
        f.streams->ops->down(f.streams, stream, KOS_E_CANCELLED, "it was aborted here");
}

struct kos_mesh_tx {
    struct kos_tx *tx;
};
struct kos_mesh_tx *kos_mesh_tx_begin(struct kos_mesh *mesh)
{
    (void)mesh;
    struct kos_mesh_tx *tx = kos_new(sizeof *tx);
    tx->tx = kos_tx_begin(f.store);
    return tx;
}
struct kos_tx *kos_mesh_tx_store(struct kos_mesh_tx *tx)
{
    return tx->tx;
}
void kos_mesh_tx_send(struct kos_mesh_tx *tx, const char *owner, const struct kos_draft *draft)
{
    (void)tx;
    f.sent++;
    snprintf(f.sent_owner, sizeof f.sent_owner, "%s", owner);
    snprintf(f.sent_type, sizeof f.sent_type, "%s", draft->type);
    memcpy(f.sent_id, draft->id, sizeof f.sent_id);
}
void kos_mesh_tx_settle(struct kos_mesh_tx *tx, uint64_t handle, int32_t verdict, int32_t error, const char *text,
                        uint64_t retry_ms)
{
    (void)tx;
    (void)error;
    (void)text;
    (void)retry_ms;
    f.settled++;
    f.settled_handle = handle;
    f.verdict = verdict;
}
uint32_t kos_mesh_tx_fanned(const struct kos_mesh_tx *tx)
{
    (void)tx;
    return 0;
}
int32_t kos_mesh_tx_commit(struct kos_mesh_tx *tx, void (*done)(void *arg, int32_t status), void *arg,
                           struct kos_error *ret_error)
{
    struct kos_tx *inner = tx->tx;
    free(tx);
    f.commits++;
    if (f.commit_error) {
        kos_tx_abort(inner);
        return kos_fail(ret_error, f.commit_error, "the commit was refused on purpose");
    }
    return kos_tx_commit(inner, done, arg);
}
void kos_mesh_tx_abort(struct kos_mesh_tx *tx)
{
    f.aborts++;
    kos_tx_abort(tx->tx);
    free(tx);
}

void kos_mesh_found(struct kos_mesh *mesh, const struct klp_id *id, struct kos_bytes record,
                    const char *const *addresses, uint64_t ttl_ms)
{
    (void)mesh;
    (void)record;
    ck_assert_uint_gt(ttl_ms, 0);
    f.found_id = id != NULL;
    snprintf(f.found_address, sizeof f.found_address, "%s", addresses[0] ? addresses[0] : "");
    f.founds++;
}
void kos_mesh_lost(struct kos_mesh *mesh, const struct klp_id *id)
{
    (void)mesh;
    (void)id;
    f.losts++;
}
bool kos_mesh_own_record(struct kos_mesh *mesh, struct kos_bytes *ret_record,
                         const char *ret_addresses[KOS_MESH_ADDRESSES_MAX + 1])
{
    (void)mesh;
    *ret_record = kos_bytes_str("{\"record\":1}");
    ret_addresses[0] = "tcp://192.0.2.1:7450";
    ret_addresses[1] = NULL;
    return true;
}
void kos_mesh_on_record(struct kos_mesh *mesh, void (*changed)(void *arg), void *arg)
{
    (void)mesh;
    (void)changed;
    (void)arg;
}

/* ---- agents ---- */

const struct kos_agent_info *kos_agents_by_id(struct kos_registry *agents, const uint8_t id[KOS_ID_BYTES])
{
    (void)agents;
    (void)id;
    return NULL;
}
const struct kos_agent_info *kos_agents_by_name(struct kos_registry *agents, const char *name)
{
    (void)agents;
    (void)name;
    return NULL;
}
size_t kos_agents_count(struct kos_registry *agents)
{
    (void)agents;
    return 0;
}
const struct kos_agent_info *kos_agents_at(struct kos_registry *agents, size_t index)
{
    (void)agents;
    (void)index;
    return NULL;
}
void kos_agents_run(struct kos_registry *agents, struct kos_agents_owner *owner, uint64_t run, const struct kos_run *r)
{
    (void)agents;
    f.runs++;
    f.runner = owner;
    ck_assert_str_eq(r->task, "task");
    owner->ops->output(owner, run, KOS_OUTPUT_PART, kos_bytes_str("out"));
    owner->ops->ended(owner, run, KOS_OK, kos_bytes_str("{}"), "ran", 0, NULL);
    owner->ops->ended(owner, run, KOS_OK, kos_bytes_str("{}"), "again", 0,
                      NULL); /* once is enough: the second is dropped */
}
void kos_agents_credit(struct kos_registry *agents, struct kos_agents_owner *owner, uint64_t run, uint64_t bytes)
{
    (void)agents;
    (void)owner;
    (void)run;
    (void)bytes;
}
void kos_agents_cancel(struct kos_registry *agents, struct kos_agents_owner *owner, uint64_t run)
{
    (void)agents;
    (void)owner;
    (void)run;
    f.cancels++;
}

/* ---- the fixture ---- */

const char *fixture_modules(void)
{
    static char path[4200];
    char build[4096];
    ck_assert_ptr_nonnull(realpath(getenv("KOS_BUILDDIR") ? getenv("KOS_BUILDDIR") : ".", build));
    snprintf(path, sizeof path, "%s/runtime/host/testing", build);
    return path;
}

const char *fixture_cell(void)
{
    static char path[4300];
    const char *m = fixture_modules();
    snprintf(path, sizeof path, "%.*s/kos-cell", (int)(strlen(m) - strlen("/runtime/host/testing")), m);
    return path;
}

static void on_reply(struct kos_plugin_reply *to, int32_t status, struct kos_bytes parameters, const char *text,
                     bool continues)
{
    ck_assert_ptr_eq(to, &f.reply);
    f.status = status;
    f.number = 0;
    snprintf(f.text, sizeof f.text, "%s", text);
    json_t *json = parameters.len ? json_loadb((const char *)parameters.data, parameters.len, 0, NULL) : NULL;
    if (json && json_object_get(json, "text")) {
        f.number = (int32_t)json_integer_value(json_object_get(json, "status"));
        snprintf(f.text, sizeof f.text, "%s", json_string_value(json_object_get(json, "text")));
    }
    json_decref(json);
    f.last_replies += !continues;
    f.replies++;
}

void fixture_begin(const char *policy)
{
    char path[128];
    const char *m = fixture_modules();
    memset(&f, 0, sizeof f);
    strcpy(f.dir, "/tmp/kos-host-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f.dir));
    ck_assert_int_eq(kos_loop_new(2, KOS_LOG_STDERR, &f.loop, &f.error), KOS_OK);
    f.env = kos_loop_env(f.loop);
    f.reply.reply = on_reply;
    snprintf(path, sizeof path, "%s/store", f.dir);
    mkdir(path, 0700);
    ck_assert_msg(kos_store_open(f.env, path, NULL, &f.store, &f.error) == KOS_OK, "%s", f.error.text);
    snprintf(path, sizeof path, "%s/keys", f.dir);
    ck_assert_msg(kos_keys_create(f.env, path, KLP_ALG_ED25519, kos_bytes(NULL, 0), &f.error) == KOS_OK, "%s",
                  f.error.text);
    ck_assert_msg(kos_keys_open(f.env, path, kos_bytes(NULL, 0), &f.keys, &f.error) == KOS_OK, "%s", f.error.text);
    snprintf(path, sizeof path, "%s/policy.d", f.dir);
    mkdir(path, 0700);
    char *file = kos_format("%s/test.klp-policy", path);
    struct kos_buf text;
    kos_buf_init(&text, 1 << 16);
    for (const char *at = policy, *mark; *at; at = mark ? mark + 2 : at + strlen(at)) {
        mark = strchr(at, '%');
        kos_buf_append(&text, kos_bytes(at, mark ? (size_t)(mark - at) : strlen(at)));
        if (mark)
            kos_buf_append(&text,
                           mark[1] == 's'       ? kos_bytes_str(m)
                               : mark[1] == 'd' ? kos_bytes_str(f.dir)
                                                : kos_bytes(m, strlen(m) - strlen("/runtime/host/testing")));
    }
    ck_assert_int_eq(kos_file_write_all(f.env, file, 0600, kos_buf_bytes(&text)), KOS_OK);
    kos_buf_fini(&text);
    free(file);
    ck_assert_msg(kos_policy_load(f.env, path, &f.policy, &f.error) == KOS_OK, "%s", f.error.text);
    char *secrets = kos_format("%s/keys/secrets", f.dir), *state = kos_format("%s/plugins", f.dir);
    struct kos_hosting_options options = { .cell_program = fixture_cell(), .cells = fixture_cells, .plugin_dir = m, .secrets_dir = secrets, .state_dir = state };
    ck_assert_int_eq(
        kos_hosting_new(f.env, f.store, NULL, NULL, (struct kos_registry *)&f, &options, &f.hosting, &f.error), KOS_OK);
    free(secrets);
    free(state);
}

int32_t fixture_load(void)
{
    return kos_hosting_load(f.hosting, f.policy, &f.error);
}

void fixture_start(void)
{
    ck_assert_msg(fixture_load() == KOS_OK, "%s", f.error.text);
    kos_hosting_start(f.hosting);
}

struct until {
    struct kos_turn_end hook;
    const int *counter;
    int at_least, turns;
    bool late;
};

static void look(struct kos_turn_end *hook)
{
    struct until *u = (struct until *)hook;
    if ((u->counter && *u->counter >= u->at_least) || (!u->counter && --u->turns <= 0))
        kos_loop_stop(f.loop);
}

static void late(void *arg)
{
    ((struct until *)arg)->late = true;
    kos_loop_stop(f.loop);
}

static void tick(void *arg)
{
    struct kos_timer **timer = arg;
    kos_timer_set(f.env, *timer, 1);
}

static void run(struct until *u)
{
    struct kos_timer *timer = kos_timer_new(f.env, late, u), *ticker = NULL;
    ticker = kos_timer_new(f.env, tick, &ticker);
    u->hook = (struct kos_turn_end){ .run = look, .order = 1000 };
    f.env->ops->turn_end_add(f.env, &u->hook);
    kos_timer_set(f.env, timer, 20000);
    kos_timer_set(f.env, ticker, 1);
    kos_loop_run(f.loop);
    f.env->ops->turn_end_remove(f.env, &u->hook);
    kos_timer_free(f.env, timer);
    kos_timer_free(f.env, ticker);
    ck_assert_msg(!u->late, "nothing more happens");
}

void fixture_until(const int *counter, int at_least)
{
    struct until u = { .counter = counter, .at_least = at_least };
    if (*counter < at_least)
        run(&u);
}

void fixture_turns(int turns)
{
    struct until u = { .turns = turns };
    run(&u);
}

void fixture_call(const char *method, const char *what)
{
    char json[512];
    int before = f.replies;
    snprintf(json, sizeof json, "{\"what\":\"%s\"}", what);
    int32_t rc = kos_hosting_call(f.hosting, "org.kos.test.probe", method, kos_bytes_str(json), 0, &f.reply, &f.call);
    ck_assert_int_eq(rc, KOS_OK);
    ck_assert_int_eq(f.replies, before); /* never inside */
    fixture_until(&f.replies, before + 1);
}

static void on_stopped(void *arg)
{
    (void)arg;
    f.stopped++;
}

void fixture_stop(void)
{
    kos_hosting_stop(f.hosting, on_stopped, NULL);
    ck_assert_int_eq(f.stopped, 0);
    fixture_until(&f.stopped, 1);
    kos_hosting_free(f.hosting);
    f.hosting = NULL;
}

void fixture_end(void)
{
    char command[128];
    kos_hosting_free(f.hosting);
    kos_policy_unref(f.policy);
    kos_keys_close(f.keys);
    kos_store_close(f.store);
    kos_loop_free(f.loop);
    snprintf(command, sizeof command, "rm -rf %s", f.dir);
    ck_assert_int_eq(system(command), 0);
}
