/* SPDX-License-Identifier: Apache-2.0
 *
 * bridge/nats under the small host of sdk/examples, driven line by line, so that a test can kill it at any moment:
 *
 *   nats_drive DIRECTORY NAME=VALUE...
 *   deliver OP DESTINATION AGAIN CREATED-MS ID(32 hex digits) TYPE PAYLOAD     -> completed OP ERROR TEXT
 *   answer ERROR COUNT   the next COUNT injections are refused with this error -> answering ERROR
 *                        each injection says                                   -> injected KEY ERROR PAYLOAD
 *   status                                                                     -> status JSON
 *   stop                                                                       -> stopped
 *
 * DIRECTORY holds what a host keeps: `origin` (the plugin's state), `taken` (a line for each injected message, on disk
 * before it is answered), `cursor`, and secrets as files `secret.NAME`.
 */
#include "../../sdk/examples/poll_host.h"

#include <fcntl.h>
#include <klp/crypto.h>
#include <kos/bridge.h>
#include <kos/control.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, LINE_MAX_BYTES = 2 << 20 };

static struct {
    struct poll_host *host;
    const char *directory;
    FILE *taken;
    char *known;          /* "\norigin key payload..." */
    size_t known_len;
    int32_t answer;
    long answers;
    char secret[65536];
} d;

static char *file_of(const char *name, size_t *ret_len)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", d.directory, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    size_t len = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(1, len + 1);
    if (!text || fread(text, 1, len, file) != len)
        abort();
    fclose(file);
    *ret_len = len;
    return text;
}

static void put_file(const char *name, const void *data, size_t len)
{
    char path[PATH_BYTES], hidden[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", d.directory, name);
    snprintf(hidden, sizeof hidden, "%s/.%s", d.directory, name);
    FILE *file = fopen(hidden, "we");
    if (!file || fwrite(data, 1, len, file) != len || fflush(file) || fsync(fileno(file)) || fclose(file) ||
        rename(hidden, path))
        abort();
}

static int32_t code_of(const char *name)
{
    for (int32_t code = 0; code > -100; code--)
        if (strcmp(kos_error_name(code), name) == 0)
            return code;
    return KOS_E_INTERNAL;
}

/* ---- the host's side of a bridge ---- */

static bool had_it(const char *line)
{
    return d.known_len && strstr(d.known, line) != NULL;
}

static void remember(const char *line)
{
    size_t len = strlen(line);
    d.known = realloc(d.known, d.known_len + len + 1);
    if (!d.known)
        abort();
    memcpy(d.known + d.known_len, line, len + 1);
    d.known_len += len;
}

static void inject(const struct kos_host *host, const struct kos_foreign *f, uint64_t op)
{
    char line[512], cursor_name[300];
    int32_t status = KOS_OK;
    (void)host;
    snprintf(line, sizeof line, "\n%s %s ", f->origin, f->key);
    if (d.answers > 0) {
        d.answers--;
        status = d.answer;
    } else if (had_it(line)) {
        status = KOS_E_EXISTS;
    } else {
        remember(line);
        fprintf(d.taken, "%s %s %s %s %s %.*s\n", f->origin, f->key, f->draft.type, f->draft.target,
                f->draft.trace ? f->draft.trace : "-", (int)f->draft.payload.len, (const char *)f->draft.payload.data);
        if (fflush(d.taken) || fdatasync(fileno(d.taken)))
            abort();
    }
    if (status == KOS_OK || status == KOS_E_EXISTS) {
        snprintf(cursor_name, sizeof cursor_name, "cursor %s", f->origin);
        put_file(cursor_name, f->cursor.data, f->cursor.len);
    }
    printf("injected %s %s %.*s\n", f->key, kos_error_name(status), (int)f->draft.payload.len,
           (const char *)f->draft.payload.data);
    poll_host_complete(d.host, op, status, kos_bytes_str(status < 0 ? "the test wants it so" : ""));
}

static void reply(const struct kos_host *host, uint64_t call, int32_t status, struct kos_bytes parameters,
                  const char *text, int32_t continues)
{
    (void)host;
    (void)call;
    (void)status;
    (void)text;
    (void)continues;
    printf("status %.*s\n", (int)parameters.len, (const char *)parameters.data);
}

static void event(const struct kos_host *host, const char *word, struct kos_bytes detail)
{
    (void)host;
    (void)word;
    (void)detail;
}

static const struct kos_bridge_host bridge_host = { sizeof bridge_host, inject };
static const struct kos_control_host control_host = { sizeof control_host, reply, event };

static const void *feature(void *arg, const char *name)
{
    (void)arg;
    if (strcmp(name, KOS_BRIDGE_HOST) == 0)
        return &bridge_host;
    return strcmp(name, KOS_CONTROL_HOST) == 0 ? &control_host : NULL;
}

static void log_line(void *arg, int32_t level, const char *text)
{
    (void)arg;
    printf("log %d %s\n", level, text);
}

static void complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)arg;
    printf("completed %llu %s %.*s\n", (unsigned long long)op, kos_error_name(status), (int)result.len,
           (const char *)result.data);
}

static const char *secret(void *arg, const char *name)
{
    char file[128];
    size_t len;
    (void)arg;
    snprintf(file, sizeof file, "secret.%s", name);
    char *text = file_of(file, &len);
    if (!text)
        return NULL;
    snprintf(d.secret, sizeof d.secret, "%s", text);
    free(text);
    return d.secret;
}

static const struct poll_host_hooks hooks = {
    .feature = feature, .log = log_line, .complete = complete, .secret = secret
};

/* ---- lines ---- */

static void deliver(char *rest)
{
    const struct kos_bridge *bridge = kos_plugin_v1.features[0]->table;
    struct kos_message m = { .size = sizeof m, .klass = 1, .source = "klp://node.there", .target = "klp://node.here",
                             .trace = "", .source_name = "there", .trust = 5 };
    uint64_t op = strtoull(strtok_r(rest, " ", &rest), NULL, 10);
    char *destination = strtok_r(rest, " ", &rest);
    size_t len;
    m.again = atoi(strtok_r(rest, " ", &rest));
    m.created_ms = strtoll(strtok_r(rest, " ", &rest), NULL, 10);
    m.expires_ms = m.created_ms + 3600000;
    if (klp_unhex(kos_bytes_str(strtok_r(rest, " ", &rest)), m.id, sizeof m.id, &len) < 0)
        abort();
    m.type = strtok_r(rest, " ", &rest);
    if (strncmp(rest, "trace=", 6) == 0)
        m.trace = strtok_r(rest, " ", &rest) + 6;
    m.payload = kos_bytes_str(rest);
    bridge->deliver(poll_host_self(d.host), op, &m, destination);
}

static bool run_line(char *line)
{
    const struct kos_control *control = kos_plugin_v1.features[1]->table;
    char *rest = line, *word = strtok_r(rest, " ", &rest);
    if (!word)
        return true;
    if (strcmp(word, "deliver") == 0)
        deliver(rest);
    else if (strcmp(word, "status") == 0)
        control->call(poll_host_self(d.host), 1, "Status", kos_bytes_str("{}"), 0);
    else if (strcmp(word, "answer") == 0) {
        d.answer = code_of(strtok_r(rest, " ", &rest));
        d.answers = atol(rest);
        printf("answering %s\n", kos_error_name(d.answer));
    } else if (strcmp(word, "stop") == 0)
        return false;
    return true;
}

/* False when the test said stop, or is gone. */
static bool read_lines(void)
{
    static char buffer[LINE_MAX_BYTES];
    static size_t have;
    ssize_t n = read(0, buffer + have, sizeof buffer - have);
    if (n == 0)
        return false;
    have += n > 0 ? (size_t)n : 0;
    char *from = buffer, *end;
    bool go_on = true;
    while (go_on && (end = memchr(from, '\n', have - (size_t)(from - buffer)))) {
        *end = '\0';
        go_on = run_line(from);
        from = end + 1;
    }
    have -= (size_t)(from - buffer);
    memmove(buffer, from, have);
    return go_on;
}

static void restore(void)
{
    const struct kos_host *host = poll_host_table(d.host);
    const struct kos_bridge *bridge = kos_plugin_v1.features[0]->table;
    static const char *const origins[] = { "nats:IN", "nats:ORDERS", "nats:BOTH" };
    size_t len;
    char *origin = file_of("origin", &len);
    if (!origin) {
        uint8_t bytes[16];
        host->random(host, bytes, sizeof bytes);
        if (!(origin = calloc(1, 33)))
            abort();
        klp_hex(kos_bytes(bytes, sizeof bytes), origin);
        put_file("origin", origin, 32);
    }
    host->tx_begin(host, 1ull << 60);
    host->tx_put(host, 1ull << 60, kos_bytes_str("origin"), kos_bytes_str(origin));
    host->tx_commit(host, 1ull << 60, 1ull << 60);
    free(origin);
    poll_host_start(d.host);
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        char name[64];
        snprintf(name, sizeof name, "cursor %s", origins[i]);
        char *cursor = file_of(name, &len);
        if (cursor)
            bridge->resume(poll_host_self(d.host), origins[i], kos_bytes(cursor, len));
        free(cursor);
    }
}

/* A message that arrives while libnats (3.4) closes its connection is lost by it: one, at the end of the process. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:natsMsg_create\n";
}

int main(int argc, char **argv)
{
    struct kos_error error = { 0 };
    char path[PATH_BYTES];
    size_t len;
    if (argc < 2)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    d.directory = argv[1];
    snprintf(path, sizeof path, "%s/taken", d.directory);
    char *taken = file_of("taken", &len);
    remember("\n");
    if (taken)
        remember(taken);
    free(taken);
    d.taken = fopen(path, "ae");
    d.host = poll_host_new(&kos_plugin_v1, (const char *const *)(argv + 2), &hooks, NULL, &error);
    if (!d.host || !d.taken) {
        printf("refused %s %s\n", kos_error_name(error.code), error.text);
        return 1;
    }
    fcntl(0, F_SETFL, O_NONBLOCK);
    restore();
    while (read_lines())
        poll_host_run(d.host, 5);
    uint32_t left = 0;
    if (!poll_host_stop(d.host)) {
        printf("hangs\n");
        return 1;
    }
    poll_host_free(d.host, &left);
    printf("stopped %u\n", left);
    fclose(d.taken);
    free(d.known);
    return 0;
}
