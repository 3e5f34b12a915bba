/* SPDX-License-Identifier: Apache-2.0
 *
 * A discovery service: a directory that several nodes share. Each announces itself by one file, ADDRESSES (a line
 * each), an empty line, RECORD; a find reads them all, and a timer looks for new ones unasked. The service judges
 * nothing: records are signed, and the host checks them.
 */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>
#include <kos/discovery.h>
#include <kos/plugin.h>

enum { FILE_MAX = 64 << 10, ADDRESSES_MAX = 16, LOOK = 1, PATH_BYTES = 4096 };

struct files {
    const struct kos_host *host;
    const struct kos_discovery_host *events;
    const char *directory;
    uint64_t interval_ms;
    char mine[33];              /* name of our file: random, so that nodes do not meet */
};

/* Reads one file and tells what it says. Anything malformed is passed over: others write here. */
static void tell(struct files *f, uint64_t op, const char *name)
{
    char path[PATH_BYTES], *text = malloc(FILE_MAX + 1);
    const char *addresses[ADDRESSES_MAX + 1] = { NULL };
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", f->directory, name);
    FILE *file = text ? fopen(path, "re") : NULL;
    size_t len = file ? fread(text, 1, FILE_MAX, file) : 0;
    char *at = text;
    if (file)
        fclose(file);
    if (len > 0) {
        text[len] = '\0';
        for (char *end; count < ADDRESSES_MAX && (end = strchr(at, '\n')) && end != at; at = end + 1) {
            *end = '\0';
            addresses[count++] = at;
        }
        if (*at == '\n' && count > 0)
            f->events->found(f->host, op, NULL, kos_bytes(at + 1, len - (size_t)(at + 1 - text)), addresses,
                             3 * f->interval_ms);
    }
    free(text);
}

static int32_t look(struct files *f, uint64_t op, uint32_t limit)
{
    DIR *dir = opendir(f->directory);
    if (!dir)
        return KOS_E_IO;
    for (struct dirent *entry; limit > 0 && (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, f->mine) != 0) {
            tell(f, op, entry->d_name);
            limit--;
        }
    closedir(dir);
    return KOS_OK;
}

static void announce(void *self, uint64_t op, struct kos_bytes record, const char *const *addresses)
{
    struct files *f = self;
    char path[PATH_BYTES], hidden[PATH_BYTES];
    snprintf(hidden, sizeof hidden, "%s/.%s", f->directory, f->mine);
    snprintf(path, sizeof path, "%s/%s", f->directory, f->mine);
    FILE *file = fopen(hidden, "we");
    bool ok = file != NULL;
    for (; ok && *addresses; addresses++)
        ok = fprintf(file, "%s\n", *addresses) > 0;
    ok = ok && fputc('\n', file) != EOF && (record.len == 0 || fwrite(record.data, 1, record.len, file) == record.len);
    ok = (!file || fclose(file) == 0) && ok;
    /* Whole or not at all: readers never see half a file. */
    ok = ok && rename(hidden, path) == 0;
    f->host->complete(f->host, op, ok ? KOS_OK : KOS_E_IO, kos_bytes(NULL, 0));
}

static void withdraw(void *self, uint64_t op)
{
    struct files *f = self;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", f->directory, f->mine);
    unlink(path);
    f->host->complete(f->host, op, KOS_OK, kos_bytes(NULL, 0));
}

static void find(void *self, uint64_t op, const struct kos_find *what)
{
    struct files *f = self;
    /* Files are found by nothing but being there: for anything narrower the host filters. */
    int32_t status = what->kind == KOS_FIND_ALL ? look(f, op, what->limit) : KOS_E_UNSUPPORTED;
    f->host->complete(f->host, op, status, kos_bytes(NULL, 0));
}

static void find_cancel(void *self, uint64_t op)
{
    (void)self; /* a find here has completed before it could be cancelled: events cross */
    (void)op;
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    static const char digits[] = "0123456789abcdef";
    const struct kos_discovery_host *events = host->feature(host, KOS_DISCOVERY_HOST);
    const char *directory = kos_conf_text(conf, "directory");
    uint8_t random[16];
    if (access(directory, R_OK | W_OK | X_OK) != 0)
        return kos_fail(ret_error, KOS_E_CONFIG, "the directory %s is not there or may not be read and written",
                        directory);
    struct files *f = calloc(1, sizeof *f);
    if (!f)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the file discovery");
    f->host = host;
    f->events = events;
    f->directory = directory;
    f->interval_ms = (uint64_t)kos_conf_number(conf, "interval");
    host->random(host, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        f->mine[2 * i] = digits[random[i] >> 4];
        f->mine[2 * i + 1] = digits[random[i] & 15];
    }
    *ret_self = f;
    return KOS_OK;
}

static void start(void *self)
{
    struct files *f = self;
    if (f->events) /* a host that does not drive discovery gives no table; then there is nobody to tell */
        f->host->timer_set(f->host, LOOK, f->interval_ms);
}

static void timer(void *self, uint64_t id)
{
    struct files *f = self;
    (void)id;
    look(f, 0, UINT32_MAX);
    f->host->timer_set(f->host, LOOK, f->interval_ms);
}

static void stop(void *self)
{
    struct files *f = self;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", f->directory, f->mine);
    unlink(path);
    f->host->timer_stop(f->host, LOOK);
    f->host->stopped(f->host);
}

static const struct kos_discovery discovery = { sizeof discovery, announce, withdraw, find, find_cancel };
static const struct kos_setting *const settings[] = {
    &(const struct kos_setting){ .size = sizeof(struct kos_setting),
                                 .type = KOS_SETTING_STRING,
                                 .name = "directory",
                                 .summary = "directory that the nodes share" },
    &(const struct kos_setting){ .size = sizeof(struct kos_setting),
                                 .type = KOS_SETTING_DURATION,
                                 .name = "interval",
                                 .fallback = "10s",
                                 .min = 10,
                                 .max = 3600000,
                                 .summary = "how often to look for new files" },
    NULL,
};
static const struct kos_right *const rights[] = {
    &(const struct kos_right){ sizeof(struct kos_right), "files", "reads and writes the directory they share" },
    NULL,
};
static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_DISCOVERY, &discovery },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.example.file_discovery",
    .name = "file_discovery",
    .version = "1.0.0",
    .summary = "finds nodes by files in a shared directory",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = free,
    .timer = timer,
};
