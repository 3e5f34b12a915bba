/* SPDX-License-Identifier: Apache-2.0
 * Hosted worlds: the shipped host and driver between mesh and agents, with the shipped plugin task_request as a module
 * of this process. Tasks are asked as kosctl asks them; what became of one is read where the asker's plugin keeps it. */
#include "sim.h"

#include <klp/json.h>
#include <stdlib.h>
#include <unistd.h>

#include "driver/manifest.h"

enum { OUTPUT = 3000 }; /* bytes that each program prints */

struct call { /* of org.kos.task.Send */
    struct kos_plugin_reply reply;
    struct sim_node *node;
    uint32_t number;
};

static const struct kos_plugin *module;
static char module_dir[2048];

/* Beside this program in the build tree; the children that run worlds inherit it. */
bool sim_hosted_prepare(void)
{
    char path[2048];
    struct kos_error error;
    ssize_t len = readlink("/proc/self/exe", module_dir, sizeof module_dir - 1);
    char *end = len > 0 ? (module_dir[len] = 0, strstr(module_dir, "/tests/sim/")) : NULL;
    if (!end)
        return false;
    snprintf(end, sizeof module_dir - (size_t)(end - module_dir), "/plugins/handler/task_request/.libs");
    if (snprintf(path, sizeof path, "%s/task_request.so", module_dir) >= (int)sizeof path)
        return false;
    if (kos_module_open(path, &module, &error) >= 0)
        return true;
    fprintf(stderr, "sim: no hosted worlds: %s\n", error.text);
    return false;
}

/* In this process: what it says of itself is known, and a world starts no others. */
__typeof__(kos_plugin_describe) __wrap_kos_plugin_describe;
int32_t __wrap_kos_plugin_describe(const char *program, const char *path, struct kos_cell_launcher *cells,
                                   json_t **ret_description, struct kos_error *ret_error)
{
    struct kos_plugin copy;
    (void)program, (void)cells;
    int32_t rc = kos_manifest_check(path, module, &copy, ret_error);
    if (rc >= 0)
        *ret_description = kos_manifest_json(&copy);
    return rc;
}

int32_t sim_hosted_start(struct sim_node *node, struct kos_error *ret_error)
{
    struct kos_hosting_options options = {
        .cell_program = "", .plugin_dir = module_dir, .secrets_dir = "/node/keys/secrets"
    };
    int32_t rc = kos_hosting_new(node->env, node->store, node->trust, node->mesh, node->agents, &options,
                                 &node->hosting, ret_error);
    return rc < 0 ? rc : kos_hosting_load(node->hosting, node->policy, ret_error);
}

bool sim_hosted_takes(const struct sim_node *node, const char *type)
{
    return node->hosting && strncmp(type, "TASK_", 5) == 0;
}

struct kos_sink *sim_hosted_sink(struct sim_node *node)
{
    return kos_hosting_sink(node->hosting);
}

/* ---- asking ---- */

static void replied(struct kos_plugin_reply *to, int32_t status, struct kos_bytes parameters, const char *text,
                    bool continues)
{
    struct call *call = (struct call *)to;
    struct sim *sim = call->node->sim;
    (void)parameters;
    if (status < 0)
        sim_note(sim, call->node, "task %u is not sent: %s %s", call->number, kos_error_name(status), text);
    for (struct sim_message *message = sim->messages; message && status >= 0; message = message->hh.next)
        if (message->hosted && message->number == call->number) {
            message->durable = true;
            sim_note(sim, call->node, "message %u is on disk", call->number);
        }
    if (!continues)
        free(call);
}

void sim_hosted_send(struct sim_node *from, struct sim_node *to, struct sim_dice *dice)
{
    struct sim *sim = from->sim;
    struct call *call = kos_new(sizeof *call);
    char id[KLP_ID_TEXT];
    uint64_t ignored;
    klp_id_text(&to->id, id);
    *call = (struct call){ .reply = { replied }, .node = from, .number = ++sim->message_count };
    char *parameters =
        kos_format("{\"target\":\"klp://agent.worker.%s\",\"inputs\":[\"task %u;\",\"%0*u\"],\"deadline_ms\":%u,"
                   "\"detach\":true}",
                   id, call->number, (int)(1 + sim_roll(dice, 800)), 7u, 20000 + sim_roll(dice, 120000));
    sim_enter(from);
    sim_note(sim, from, "asks task %u of %s", call->number, to->name);
    if (kos_hosting_call(from->hosting, "org.kos.task", "Send", kos_bytes_str(parameters), 0, &call->reply, &ignored) < 0)
        free(call);
    free(parameters);
    sim_wake(from);
}

static bool is_of(const struct sim_node *node, const struct kos_draft *draft)
{
    char id[KLP_ID_TEXT];
    klp_id_text(&node->id, id);
    return memcmp(draft->target_id, node->id.b, KLP_ID_LEN) == 0 ||
           memcmp(draft->target_id, node->worker.b, KLP_ID_LEN) == 0 || strstr(draft->target, id);
}

/* What the plugin sends is known here from then on, as what senders send is. */
void sim_hosted_drafted(struct sim_node *from, const struct kos_draft *draft)
{
    struct sim *sim = from->sim;
    unsigned number = 0;
    struct sim_message *message = kos_new(sizeof *message);
    message->sim = sim;
    message->from = from;
    memcpy(message->id.b, draft->id, sizeof message->id.b);
    for (uint32_t i = 0; i < sim->count && !message->to; i++)
        if (is_of(&sim->nodes[i], draft))
            message->to = &sim->nodes[i];
    char *payload = kos_format("%.*s", (int)draft->payload.len, (const char *)draft->payload.data);
    const char *at = strstr(payload, "task ");
    message->hosted = strcmp(draft->type, "TASK_REQUEST") == 0;
    message->answer = !message->hosted;
    if (message->hosted && at && sscanf(at + 5, "%u", &number) == 1)
        message->number = number;
    else
        message->number = ++sim->message_count;
    free(payload);
    if (!message->to || sim_message_find(sim, message->id.b)) {
        free(message);
        return;
    }
    message->task = message->hosted;
    message->forged = from->rogue && from != message->to;
    HASH_ADD(hh, sim->messages, id, sizeof message->id, message);
    sim_note(sim, from, "sends message %u to %s, %s", message->number, message->to->name, draft->type);
}

/* ---- programs ---- */

void sim_hosted_print(const struct kos_launch *launch)
{
    static const uint8_t output[OUTPUT] = { 'x' };
    launch->out(launch->arg, kos_bytes(output, sizeof output));
}

/* ---- what became of it ---- */

struct final {
    char state[16], error[40];
    uint64_t bytes;
};

static bool read_final(struct sim_node *node, const struct klp_id *id, struct final *ret_final)
{
    char text[KLP_ID_TEXT], key[KLP_ID_TEXT + 2];
    uint8_t *value;
    size_t len;
    struct klp_json record;
    klp_id_text(id, text);
    snprintf(key, sizeof key, "o/%s", text);
    *ret_final = (struct final){ .state = "gone" };
    if (!node->up)
        return false;
    sim_enter(node);
    if (kos_store_get(node->store, "plugin:task_request", kos_bytes_str(key), &value, &len) < 0)
        return true;
    if (klp_json_read(kos_bytes(value, len), 1 << 20, &record, NULL) >= 0) {
        klp_json_string(klp_json_get(record, "state"), ret_final->state, sizeof ret_final->state, NULL);
        klp_json_string(klp_json_get(record, "error"), ret_final->error, sizeof ret_final->error, NULL);
        klp_json_uint(klp_json_get(record, "bytes"), &ret_final->bytes);
    }
    free(value);
    return true;
}

static bool over(const struct final *final)
{
    return strcmp(final->state, "done") == 0 || strcmp(final->state, "failed") == 0;
}

bool sim_hosted_over(struct sim_message *message)
{
    struct final final;
    return !message->hosted || !message->durable || message->excused || message->from->broken ||
           (read_final(message->from, &message->id, &final) && over(&final));
}

void sim_hosted_check(struct sim_message *message)
{
    static const char *const before[] = { "denied", "trust_too_low", "unhandled", "expired", "revoked", "signature" };
    struct sim *sim = message->sim;
    struct final final;
    if (!message->durable || !read_final(message->from, &message->id, &final))
        return;
    const char *from = message->from->name, *to = message->to->name;
    sim_note(sim, message->from, "task %u: %s %s, %llu bytes, ran %u times", message->number, final.state, final.error,
             (unsigned long long)final.bytes, message->runs);
    if (!over(&final))
        sim_fail(sim, "lost", "task %u from %s to %s was on disk there, and is %s after all has ended", message->number,
                 from, to, final.state);
    if (strcmp(final.state, "done") == 0 && (message->runs != 1 || final.bytes != OUTPUT))
        sim_fail(sim, "lost", "task %u from %s to %s is done there with %llu bytes, and ran %u times at %s",
                 message->number, from, to, (unsigned long long)final.bytes, message->runs, to);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        if (strcmp(final.error, before[i]) == 0 && message->runs)
            sim_fail(sim, "denied", "task %u from %s ended there as %s, and ran at %s", message->number, from,
                     final.error, to);
}
