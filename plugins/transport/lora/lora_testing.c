/* SPDX-License-Identifier: Apache-2.0
 * The simulator as a child, the host's side of the transport, and the calls that tests make. */
#include "lora_testing.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct node nodes[NODES];
struct sim sim;

/* ---- the simulated radio ---- */

void sim_plugged(const char *line)
{
    int number;
    char path[64];
    if (sscanf(line, "node %d %63s", &number, path) == 2 && number < NODES)
        snprintf(sim.paths[number], sizeof sim.paths[number], "%s", path);
}

void sim_begin(const char *const *more)
{
    int in[2], out[2];
    const char *argv[32] = { RADIO_SIM, "--nodes", "4", "--seed", "7" };
    size_t n = 5;
    for (; more && *more; more++)
        argv[n++] = *more;
    ck_assert(pipe(in) == 0 && pipe(out) == 0);
    sim.pid = fork();
    if (sim.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execv(RADIO_SIM, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    sim.in = fdopen(in[1], "w");
    sim.out = fdopen(out[0], "r");
    char line[256] = "";
    while (strcmp(line, "ready\n") != 0) {
        ck_assert_msg(fgets(line, sizeof line, sim.out) != NULL, "%s does not run", RADIO_SIM);
        sim_plugged(line);
    }
}

void sim_tell(const char *command)
{
    fprintf(sim.in, "%s\n", command);
    fflush(sim.in);
}

/* A number of a node (-1: of the whole) in its statistics. */
double sim_number(int node, const char *name)
{
    char key[64], *at = sim.stats;
    sim_tell("stats");
    ck_assert(fgets(sim.stats, sizeof sim.stats, sim.out) != NULL);
    snprintf(key, sizeof key, "\"node\":%d,", node);
    if (node >= 0)
        ck_assert((at = strstr(sim.stats, key)) != NULL);
    snprintf(key, sizeof key, "\"%s\":", name);
    ck_assert((at = strstr(at, key)) != NULL);
    return atof(at + strlen(key));
}

static void sim_end(void)
{
    int status;
    fclose(sim.in);
    fclose(sim.out);
    ck_assert(waitpid(sim.pid, &status, 0) == sim.pid);
}

/* ---- what the plugin tells ---- */

static struct node *node_of(const struct kos_host *host)
{
    struct node *n = poll_host_arg(host);
    ck_assert_msg(n->calling == 0, "the plugin told something inside a call of the host");
    return n;
}

struct seen_link *seen(struct node *n, uint64_t id)
{
    for (size_t i = 0; i < n->count; i++)
        if (n->links[i].id == id)
            return &n->links[i];
    ck_assert_uint_lt(n->count, LINKS);
    n->links[n->count].id = id;
    return &n->links[n->count++];
}

static void endpoint_up(const struct kos_host *host, uint64_t endpoint, const char *address)
{
    struct node *n = node_of(host);
    (void)endpoint;
    n->endpoint_ups++;
    snprintf(n->address, sizeof n->address, "%s", address);
}
static void endpoint_down(const struct kos_host *host, uint64_t endpoint, int32_t status, const char *text)
{
    struct node *n = node_of(host);
    (void)endpoint;
    n->endpoint_downs++;
    n->endpoint_status = status;
    snprintf(n->endpoint_text, sizeof n->endpoint_text, "%s", text);
}
static void link_up(const struct kos_host *host, uint64_t id, uint64_t endpoint, const struct kos_link_info *info)
{
    struct seen_link *l = seen(node_of(host), id);
    ck_assert_int_eq(l->ups + l->downs, 0);
    ck_assert_int_eq((int)(id & 1), endpoint != 0);
    l->ups++;
    l->endpoint = endpoint;
    l->info = *info;
    l->credit = l->window = info->send_window_bytes;
    snprintf(l->local, sizeof l->local, "%s", info->local);
    snprintf(l->remote, sizeof l->remote, "%s", info->remote);
}
static void link_received(const struct kos_host *host, uint64_t id, struct kos_bytes bytes)
{
    struct seen_link *l = seen(node_of(host), id);
    ck_assert(l->ups == 1 && l->downs == 0);
    ck_assert_uint_le(bytes.len, sizeof l->last);
    memcpy(l->last, bytes.data, bytes.len);
    l->last_len = bytes.len;
    l->received++;
}
static void link_credit(const struct kos_host *host, uint64_t id, uint64_t bytes)
{
    struct seen_link *l = seen(node_of(host), id);
    ck_assert(l->ups == 1 && l->downs == 0);
    l->credit += bytes;
    ck_assert_uint_le(l->credit, l->window);
}
static void link_down(const struct kos_host *host, uint64_t id, int32_t status, const char *text)
{
    struct seen_link *l = seen(node_of(host), id);
    ck_assert_int_eq(++l->downs, 1);
    l->status = status;
    snprintf(l->text, sizeof l->text, "%s", text);
}
static const struct kos_transport_host events = { sizeof events, endpoint_up, endpoint_down, link_up,
                                                  link_received, link_credit, link_down };

static void reply(const struct kos_host *host, uint64_t call, int32_t status, struct kos_bytes parameters,
                  const char *text, int32_t continues)
{
    struct node *n = node_of(host);
    (void)call;
    (void)continues;
    n->replies++;
    n->reply_status = status;
    if (status < 0)
        snprintf(n->reply, sizeof n->reply, "%s", text);
    else
        snprintf(n->reply, sizeof n->reply, "%.*s", (int)parameters.len, (const char *)parameters.data);
}
static void event(const struct kos_host *host, const char *name, struct kos_bytes detail)
{
    (void)detail;
    ck_assert_str_eq(name, "airtime_used_up");
    node_of(host)->events++;
}
static const struct kos_control_host control = { sizeof control, reply, event };

static const void *feature(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, KOS_TRANSPORT_HOST) == 0 ? (const void *)&events
           : strcmp(name, KOS_CONTROL_HOST) == 0 ? (const void *)&control
                                                 : NULL;
}
static void log_line(void *arg, int32_t level, const char *text)
{
    struct node *n = arg;
    if (level <= KOS_NOTICE)
        snprintf(n->log, sizeof n->log, "%s", text);
}
static const struct poll_host_hooks hooks = { .feature = feature, .log = log_line };

/* ---- calls ---- */

const struct kos_transport *lora(void)
{
    return kos_plugin_v1.features[0]->table;
}

bool try_settings(int number, const char *const *more, struct kos_error *ret_error)
{
    struct node *n = &nodes[number];
    char device[96];
    const char *settings[32] = { device, "region=none", "frequency=868300000", "spreading=7", "bandwidth=500000" };
    size_t count = 5;
    snprintf(device, sizeof device, "device=%s", sim.paths[number][0] ? sim.paths[number] : "/dev/null");
    /* poll_host takes the last of a name */
    for (; more && *more; more++)
        settings[count++] = *more;
    memset(n, 0, sizeof *n);
    n->host = poll_host_new(&kos_plugin_v1, settings, &hooks, n, ret_error);
    return n->host != NULL;
}

void begin(int number, const char *const *more)
{
    struct kos_error error = { 0 };
    ck_assert_msg(try_settings(number, more, &error), "%s", error.text);
    poll_host_start(nodes[number].host);
}

void *self(struct node *n)
{
    return poll_host_self(n->host);
}

void run(void)
{
    for (int i = 0; i < NODES; i++)
        for (int n = 0; nodes[i].host && n < 50 && poll_host_run(nodes[i].host, 0); n++) {
        }
    usleep(500);
}

void finish(void)
{
    for (int i = 0; i < NODES; i++) {
        struct node *n = &nodes[i];
        uint32_t left;
        if (!n->host)
            continue;
        ck_assert(poll_host_stop(n->host));
        poll_host_free(n->host, &left);
        n->host = NULL;
        ck_assert_uint_eq(left, 0);
        for (size_t l = 0; l < n->count; l++)
            ck_assert_int_eq(n->links[l].downs, 1);
    }
    if (sim.pid)
        sim_end();
    memset(&sim, 0, sizeof sim);
}

/* Node `number` on the medium as 0x100 + number. */
void on_air(int number, const char *const *more)
{
    char address[32];
    begin(number, more);
    snprintf(address, sizeof address, "lora://0x%x", 0x100 + number);
    CALL(&nodes[number], listen(self(&nodes[number]), 2, address));
}

void all_on_air(int count, const char *const *more)
{
    for (int i = 0; i < count; i++)
        on_air(i, more);
    for (int i = 0; i < count; i++) {
        UNTIL(nodes[i].endpoint_ups + nodes[i].endpoint_downs);
        ck_assert_msg(nodes[i].endpoint_ups == 1, "%s", nodes[i].endpoint_text);
    }
}

struct seen_link *dial(struct node *n, uint64_t id, int to)
{
    char address[32];
    struct seen_link *l = seen(n, id);
    snprintf(address, sizeof address, "lora://0x%04x", 0x100 + to);
    CALL(n, dial(self(n), id, address));
    UNTIL(l->ups + l->downs);
    return l;
}

bool say(struct node *n, struct seen_link *l, const void *data, size_t len)
{
    struct kos_bytes pieces[3] = { kos_bytes(data, len / 3), kos_bytes(NULL, 0),
                                   kos_bytes((const uint8_t *)data + len / 3, len - len / 3) };
    if (l->credit < len || l->downs)
        return false;
    l->credit -= len;
    CALL(n, send(self(n), l->id, pieces, 3));
    return true;
}

struct seen_link *accepted(struct node *n, int from)
{
    char remote[24];
    snprintf(remote, sizeof remote, "lora://0x%04x", 0x100 + from);
    for (size_t i = 0; i < n->count; i++)
        if (n->links[i].endpoint && !n->links[i].downs && strcmp(n->links[i].remote, remote) == 0)
            return &n->links[i];
    return NULL;
}

void grant(struct node *n, struct seen_link *l, uint64_t bytes)
{
    CALL(n, link_credit(self(n), l->id, bytes));
}

void status(struct node *n)
{
    const struct kos_control *c = kos_plugin_v1.features[1]->table;
    n->replies = 0;
    n->calling++;
    c->call(self(n), 10, "Status", kos_bytes("{}", 2), 0);
    n->calling--;
    UNTIL(n->replies);
    ck_assert_int_eq(n->reply_status, KOS_OK);
}

double status_number(struct node *n, const char *name)
{
    char key[64];
    status(n);
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(n->reply, key);
    ck_assert_msg(at != NULL, "%s is not in %s", name, n->reply);
    return atof(at + strlen(key));
}
