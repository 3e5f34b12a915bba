/* SPDX-License-Identifier: Apache-2.0
 *
 * A bridge: a directory of files as the other network. What is delivered becomes DIRECTORY/DESTINATION/ID.json; each
 * file of DIRECTORY/in, read in the order of names, becomes a message to `target`. The file's name is its key there and
 * the cursor, so nothing is taken twice and nothing is left out, whichever side crashes when.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <kos/bridge.h>
#include <kos/plugin.h>

enum { FILE_MAX = 1 << 20, LOOK = 1, PATH_BYTES = 4096 };
static const char origin[] = "files:in";

struct files {
    const struct kos_host *host;
    const struct kos_bridge_host *bridge;
    const char *directory, *target, *type;
    uint64_t interval_ms, op;
    bool injecting;             /* one at a time: the order of names is the order of messages */
    char name[256], cursor[256];
};

/* ---- outward ---- */

static int32_t write_file(const char *hidden, const char *path, struct kos_bytes bytes)
{
    int fd = open(hidden, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return KOS_E_IO;
    bool ok = write(fd, bytes.data, bytes.len) == (ssize_t)bytes.len && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    return ok && rename(hidden, path) == 0 ? KOS_OK : KOS_E_IO;
}

static void deliver(void *self, uint64_t op, const struct kos_message *m, const char *destination)
{
    struct files *f = self;
    char dir[PATH_BYTES], hidden[PATH_BYTES + 80], path[PATH_BYTES + 80], id[2 * KOS_ID_BYTES + 1];
    int32_t status = KOS_E_INVALID;
    for (size_t i = 0; i < KOS_ID_BYTES; i++)
        snprintf(id + 2 * i, 3, "%02x", m->id[i]);
    if (*destination && *destination != '.' && !strchr(destination, '/')) {
        snprintf(dir, sizeof dir, "%s/%s", f->directory, destination);
        mkdir(dir, 0700);
        snprintf(hidden, sizeof hidden, "%s/.%s", dir, id);
        snprintf(path, sizeof path, "%s/%s.json", dir, id);
        /* The same message again after a crash writes the same file again. */
        status = write_file(hidden, path, m->payload);
    }
    f->host->complete(f->host, op, status, kos_bytes(NULL, 0));
}

/* ---- inward ---- */

/* The first name behind the cursor, in byte order. */
static bool next_name(struct files *f, const char *in)
{
    DIR *dir = opendir(in);
    f->name[0] = '\0';
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, f->cursor) > 0 &&
            (!f->name[0] || strcmp(entry->d_name, f->name) < 0))
            snprintf(f->name, sizeof f->name, "%s", entry->d_name);
    if (dir)
        closedir(dir);
    return f->name[0] != '\0';
}

static void look(struct files *f)
{
    char in[PATH_BYTES], path[PATH_BYTES + 264], *text;
    snprintf(in, sizeof in, "%s/in", f->directory);
    if (f->injecting || !f->bridge || !next_name(f, in) || !(text = (char *)malloc(FILE_MAX)))
        return;
    snprintf(path, sizeof path, "%s/%s", in, f->name);
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, FILE_MAX, file) : 0;
    if (file)
        fclose(file);
    struct kos_foreign foreign = {
        .size = sizeof foreign, .origin = origin, .key = f->name, .cursor = kos_bytes_str(f->name), .foreign_author = ""
    };
    foreign.draft.size = sizeof foreign.draft;
    foreign.draft.klass = 2;
    foreign.draft.type = f->type;
    foreign.draft.target = f->target;
    foreign.draft.payload = kos_bytes(text, len);
    foreign.draft.expires_in_ms = 86400000;
    f->injecting = true;
    f->bridge->inject(f->host, &foreign, ++f->op);
    free(text);
}

static void completed(void *self, uint64_t op, int32_t status, struct kos_bytes result)
{
    struct files *f = self;
    (void)op;
    f->injecting = false;
    if (status >= 0 || status == KOS_E_EXISTS || !kos_error_retry(status)) {
        /* It is in, or never will be: on to the next one. */
        if (status < 0 && status != KOS_E_EXISTS) {
            char line[KOS_LOG_TEXT_MAX];
            snprintf(line, sizeof line, "%s was refused: %.*s", f->name, (int)result.len, (const char *)result.data);
            f->host->log(f->host, KOS_WARNING, line);
        }
        memcpy(f->cursor, f->name, sizeof f->cursor);
        look(f);
    }
}

static void resume(void *self, const char *from, struct kos_bytes cursor)
{
    struct files *f = self;
    if (strcmp(from, origin) == 0 && cursor.len < sizeof f->cursor) {
        memcpy(f->cursor, cursor.data, cursor.len);
        f->cursor[cursor.len] = '\0';
    }
}

static void timer(void *self, uint64_t id)
{
    struct files *f = self;
    (void)id;
    look(f);
    f->host->timer_set(f->host, LOOK, f->interval_ms);
}

/* ---- life ---- */

static bool type_ok(const char *type)
{
    return *type >= 'A' && *type <= 'Z' &&
        strspn(type, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(type);
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    if (!*kos_conf_text(conf, "directory") && !host->directory)
        return kos_fail(ret_error, KOS_E_CONFIG,
                        "the file bridge needs a directory: the right \"files\" or the setting");
    /* NULL where bridges are not driven: then nothing is injected */
    const struct kos_bridge_host *events = host->feature(host, KOS_BRIDGE_HOST);
    if (strncmp(kos_conf_text(conf, "target"), "klp://", 6) != 0)
        return kos_fail(ret_error, KOS_E_CONFIG, "target is a klp:// address, not %.100s",
                        kos_conf_text(conf, "target"));
    if (!type_ok(kos_conf_text(conf, "type")))
        return kos_fail(ret_error, KOS_E_CONFIG, "type is a message type such as BROADCAST_ANNOUNCE, not %.60s",
                        kos_conf_text(conf, "type"));
    struct files *f = calloc(1, sizeof *f);
    if (!f)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the file bridge");
    f->host = host;
    f->bridge = events;
    f->directory = *kos_conf_text(conf, "directory") ? kos_conf_text(conf, "directory") : host->directory;
    f->target = kos_conf_text(conf, "target");
    f->type = kos_conf_text(conf, "type");
    f->interval_ms = (uint64_t)kos_conf_number(conf, "interval");
    *ret_self = f;
    return KOS_OK;
}

static void start(void *self)
{
    struct files *f = self;
    f->host->timer_set(f->host, LOOK, f->interval_ms);
}

static void stop(void *self)
{
    struct files *f = self;
    f->host->timer_stop(f->host, LOOK);
    f->host->stopped(f->host); /* an inject under way is dropped; its file is taken again, and recognised by its key */
}

static const struct kos_bridge bridge = { sizeof bridge, deliver, resume };

static const struct kos_setting directory = {
    .size = sizeof directory,
    .type = KOS_SETTING_STRING,
    .name = "directory",
    .summary = "where the files are; empty: the plugin's own directory",
    .fallback = "",
};
static const struct kos_setting target = {
    .size = sizeof target,
    .type = KOS_SETTING_STRING,
    .name = "target",
    .summary = "klp:// address that files of DIRECTORY/in become messages to",
};
static const struct kos_setting type = {
    .size = sizeof type,
    .type = KOS_SETTING_STRING,
    .name = "type",
    .summary = "message type they become",
    .fallback = "BROADCAST_ANNOUNCE",
};
static const struct kos_setting interval = {
    .size = sizeof interval,
    .type = KOS_SETTING_DURATION,
    .name = "interval",
    .summary = "how often to look for new files",
    .fallback = "1s",
    .min = 10,
    .max = 3600000,
};
static const struct kos_setting *const settings[] = { &directory, &target, &type, &interval, NULL };

static const struct kos_right right_send = { sizeof right_send, "send", "sends what it finds in the directory" };
static const struct kos_right right_files = { sizeof right_files, "files", "keeps what it exchanges as files" };
static const struct kos_right *const rights[] = { &right_send, &right_files, NULL };

static const struct kos_feature feature = { sizeof feature, KOS_BRIDGE, &bridge };
static const struct kos_feature *const features[] = { &feature, NULL };

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.example.file_bridge",
    .name = "file_bridge",
    .version = "1.0.0",
    .summary = "joins kos to a directory of files",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .completed = completed,
    .timer = timer,
};
