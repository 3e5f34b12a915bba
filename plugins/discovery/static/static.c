/* SPDX-License-Identifier: Apache-2.0
 *
 * Discovery of nodes that somebody wrote down: in the setting peers, or in a file with a line per node, which is read
 * again when it changes. There is nobody to announce to. The smallest service of its kind: a list, told at start, when
 * it is asked for, and again before it would be forgotten.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <klp/json.h>
#include <klp/statement.h>
#include <kos/discovery.h>
#include <kos/plugin.h>

enum { PEERS_MAX = 4096, ADDRESSES_MAX = 16, FILE_MAX = 4 << 20, NAME_BYTES = 128, TELL = 1, LOOK = 2 };

struct peer {
    char *line;                     /* what the rest points to */
    const char *addresses[ADDRESSES_MAX + 1];
    const char *name;               /* NULL: none */
    struct kos_bytes record;
    struct klp_id id;
    bool has_id, from_file;
};
struct list {
    const struct kos_host *host;
    const struct kos_discovery_host *events;
    const char *file;
    uint64_t ttl_ms, interval_ms;
    struct peer *peers;
    size_t count;
    struct timespec changed;        /* of the file, when it was read */
    bool missing;                   /* said already */
};

/* ---- reading ---- */

static const char *take_word(struct peer *p, char *word, size_t addresses)
{
    if (strncmp(word, "id=", 3) == 0) {
        p->has_id = klp_id_parse(kos_bytes_str(word + 3), &p->id) == KOS_OK;
        return p->has_id ? NULL : "what follows id= is not the id of a node";
    }
    if (strncmp(word, "name=", 5) == 0) {
        p->name = word + 5;
        return word[5] && strlen(word + 5) < NAME_BYTES ? NULL : "what follows name= is empty or too long";
    }
    if (!strstr(word, "://") || strstr(word, "://") == word)
        return "a word is neither an address (tcp://HOST:PORT) nor id=, name= or record=";
    if (addresses == ADDRESSES_MAX)
        return "there are more than 16 addresses";
    p->addresses[addresses] = word;
    return NULL;
}

/* One node from a line, which it cuts up: addresses, id=, name=, and at the end record= with the signed record. NULL, or
 * what is wrong. */
static const char *parse(char *line, struct peer *p)
{
    char *rest = line, *record = NULL;
    size_t addresses = 0;
    while (*(rest += strspn(rest, " \t\r"))) {
        if (strncmp(rest, "record=", 7) == 0) {
            record = rest + 7;
            break;
        }
        char *word = rest;
        rest += strcspn(rest, " \t\r");
        if (*rest)
            *rest++ = '\0';
        const char *wrong = take_word(p, word, addresses);
        if (wrong)
            return wrong;
        addresses += strncmp(word, "id=", 3) != 0 && strncmp(word, "name=", 5) != 0;
    }
    if (record) {
        struct klp_statement statement;
        size_t len = strlen(record);
        while (len > 0 && strchr(" \t\r", record[len - 1]))
            len--;
        p->record = kos_bytes(record, len);
        if (klp_statement_parse(p->record, &statement, NULL) < 0)
            return "what follows record= is not a signed record";
        if (p->has_id && !klp_id_eq(&p->id, &statement.issuer))
            return "the record is of another node than id= says";
        p->id = statement.issuer;
        p->has_id = true;
    }
    return addresses > 0 || record ? NULL : "there is neither an address nor a record";
}

/* Takes the line over. */
static const char *add(struct list *l, char *line, bool from_file)
{
    struct peer p = { .line = line, .from_file = from_file };
    const char *wrong = l->count == PEERS_MAX ? "there are more than 4096 nodes" : parse(line, &p);
    struct peer *peers = wrong ? NULL : realloc(l->peers, (l->count + 1) * sizeof *peers);
    if (!peers) {
        free(line);
        return wrong ? wrong : "there is no memory for it";
    }
    l->peers = peers;
    l->peers[l->count++] = p;
    return NULL;
}

/* The setting, an array of objects: each becomes such a line. */
static int32_t add_table(struct list *l, const char *json, struct kos_error *ret_error)
{
    static const char *const members[] = { "addresses", "id", "name", "record" };
    struct klp_json all, each, v[4];
    struct klp_json_iter iter;
    if (!json[0])
        return KOS_OK;
    if (klp_json_read(kos_bytes_str(json), FILE_MAX, &all, NULL) < 0 || all.type != KLP_JSON_ARRAY)
        return kos_fail(ret_error, KOS_E_CONFIG, "the setting peers is not a list of groups");
    klp_json_iter_init(all, &iter);
    for (unsigned n = 1; klp_json_next(&iter, NULL, &each); n++) {
        size_t known = 0, cap = each.text.len + 64, len = 0, got;
        char *line = calloc(1, cap);
        const char *wrong = !line ? "there is no memory for it" : NULL;
        size_t in_all = klp_json_get_many(each, members, 4, v);
        for (size_t i = 0; line && !wrong && i < 4; i++) {
            if (v[i].type == KLP_JSON_NONE)
                continue;
            known++;
            len += (size_t)snprintf(line + len, cap - len, "%s%s%s", i ? " " : "", i ? members[i] : "", i ? "=" : "");
            if (klp_json_string(v[i], line + len, cap - len, &got) < 0)
                wrong = "a member is not a string";
            len = strlen(line);
        }
        if (!wrong && known != in_all)
            wrong = "a group has addresses, id, name and record, and nothing else";
        if (wrong)
            free(line);
        else
            wrong = add(l, line, false);
        if (wrong)
            return kos_fail(ret_error, KOS_E_CONFIG, "peers, entry %u: %s", n, wrong);
    }
    return KOS_OK;
}

static void say(struct list *l, unsigned number, const char *wrong)
{
    char text[KOS_LOG_TEXT_MAX];
    snprintf(text, sizeof text, "static: %s:%u: left out: %s", l->file, number, wrong);
    l->host->log(l->host, KOS_WARNING, text);
}

static void add_lines(struct list *l, FILE *file)
{
    char *line = NULL;
    size_t cap = 0, all = 0;
    ssize_t len;
    for (unsigned n = 1; (len = getline(&line, &cap, file)) >= 0; n++) {
        if ((all += (size_t)len) > FILE_MAX) {
            say(l, n, "this line and all behind it: a list has at most 4 MiB");
            break;
        }
        if (len > 0 && line[len - 1] == '\n')
            line[--len] = '\0';
        const char *wrong = strlen(line) != (size_t)len ? "it has a zero byte in it" : NULL;
        char first = line[strspn(line, " \t\r")];
        if (!wrong && (first == '#' || !first))
            continue;
        if (!wrong) {
            wrong = add(l, line, true);
            line = NULL;
            cap = 0;
        }
        if (wrong)
            say(l, n, wrong);
    }
    free(line);
}

/* ---- telling ---- */

static void tell(struct list *l, uint64_t op, const struct peer *p)
{
    if (l->events)
        l->events->found(l->host, op, p->has_id ? p->id.b : NULL, p->record, p->addresses, l->ttl_ms);
}

static bool still_there(const struct list *l, const struct peer *p)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->peers[i].has_id && klp_id_eq(&l->peers[i].id, &p->id))
            return true;
    return false;
}

/* Reads the file again if it is another than before; what is no longer in it is lost. False: it cannot be read. */
static bool reread(struct list *l)
{
    struct stat st;
    FILE *file = l->file[0] ? fopen(l->file, "re") : NULL;
    if (!file || fstat(fileno(file), &st) != 0 || !S_ISREG(st.st_mode)) {
        if (file)
            fclose(file);
        return !l->file[0];
    }
    if (memcmp(&st.st_mtim, &l->changed, sizeof l->changed) != 0) {
        struct peer *old = l->peers;
        size_t old_count = l->count, kept = 0;
        l->changed = st.st_mtim;
        l->peers = malloc((old_count + 1) * sizeof *old);
        if (!l->peers)
            abort();
        l->count = 0;
        for (; kept < old_count && !old[kept].from_file; kept++) /* those of the setting stand first */
            l->peers[l->count++] = old[kept];
        add_lines(l, file);
        for (size_t i = kept; i < old_count; i++) {
            if (l->events && old[i].has_id && !still_there(l, &old[i]))
                l->events->lost(l->host, old[i].id.b);
            free(old[i].line);
        }
        free(old);
    }
    fclose(file);
    return true;
}

static void timer(void *self, uint64_t id)
{
    struct list *l = self;
    char text[KOS_LOG_TEXT_MAX];
    struct timespec before = l->changed;
    bool there = reread(l);
    if (!there && !l->missing) {
        snprintf(text, sizeof text, "static: %s cannot be read (%s): what it said before is kept", l->file, strerror(errno));
        l->host->log(l->host, KOS_WARNING, text);
    }
    l->missing = !there;
    if (id == TELL || memcmp(&before, &l->changed, sizeof before) != 0)
        for (size_t i = 0; i < l->count; i++)
            tell(l, 0, &l->peers[i]);
    if (id == TELL)
        l->host->timer_set(l->host, TELL, l->ttl_ms / 2);
    else
        l->host->timer_set(l->host, LOOK, l->interval_ms);
}

/* ---- operations ---- */

static void done(void *self, uint64_t op)
{
    struct list *l = self;
    l->host->complete(l->host, op, KOS_OK, kos_bytes(NULL, 0));
}

static void announce(void *self, uint64_t op, struct kos_bytes record, const char *const *addresses)
{
    (void)record;
    (void)addresses;
    done(self, op);
}

static void find(void *self, uint64_t op, const struct kos_find *given)
{
    struct list *l = self;
    struct kos_find what = { 0 };
    memcpy(&what, given, given->size < sizeof what ? given->size : sizeof what);
    if (what.kind < KOS_FIND_ALL || what.kind > KOS_FIND_NAME) {
        l->host->complete(l->host, op, KOS_E_UNSUPPORTED, kos_bytes(NULL, 0));
        return;
    }
    for (size_t i = 0; i < l->count && what.limit > 0; i++) {
        const struct peer *p = &l->peers[i];
        if (what.kind == KOS_FIND_ALL || (what.kind == KOS_FIND_ID && p->has_id && memcmp(p->id.b, what.id, 16) == 0) ||
            (what.kind == KOS_FIND_NAME && p->name && what.text && strcmp(p->name, what.text) == 0)) {
            tell(l, op, p);
            what.limit--;
        }
    }
    done(l, op);
}

static void find_cancel(void *self, uint64_t op)
{
    (void)self; /* a find has completed before it could be cancelled: events cross */
    (void)op;
}

/* ---- life ---- */

static void fini(void *self)
{
    struct list *l = self;
    for (size_t i = 0; i < l->count; i++)
        free(l->peers[i].line);
    free(l->peers);
    free(l);
}

/* In a process of its own a plugin sees only what the policy lets it read, and not that it is there. */
static int32_t unreadable(const struct list *l, struct kos_error *ret_error)
{
    const char *slash = strrchr(l->file, '/');
    if (errno != EACCES && errno != EPERM)
        return kos_fail(ret_error, KOS_E_CONFIG, "the file %s (setting file) cannot be read: %s", l->file,
                        strerror(errno));
    return kos_fail(ret_error, KOS_E_CONFIG,
                    "the file %s (setting file) cannot be read: %s; where the plugin is isolated, the policy lets it "
                    "read the directory: read = [ \"%.*s\" ];",
                    l->file, strerror(errno), slash && slash > l->file ? (int)(slash - l->file) : 1,
                    slash ? l->file : "/");
}

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    struct list *l = calloc(1, sizeof *l);
    if (!l)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for the list of nodes");
    l->host = host;
    l->events = host->feature(host, KOS_DISCOVERY_HOST);
    l->file = kos_conf_text(conf, "file");
    l->ttl_ms = (uint64_t)kos_conf_number(conf, "ttl");
    l->interval_ms = (uint64_t)kos_conf_number(conf, "interval");
    int32_t rc = add_table(l, kos_conf_text(conf, "peers"), ret_error);
    if (rc == KOS_OK && !reread(l))
        rc = unreadable(l, ret_error);
    if (rc < 0)
        fini(l);
    else
        *ret_self = l;
    return rc;
}

static void start(void *self)
{
    struct list *l = self;
    timer(l, TELL);
    if (l->file[0])
        l->host->timer_set(l->host, LOOK, l->interval_ms);
}

static void stop(void *self)
{
    struct list *l = self;
    l->host->timer_stop(l->host, TELL);
    l->host->timer_stop(l->host, LOOK);
    l->host->stopped(l->host);
}

#define SETTING(name_, type_, fallback_, min_, max_, summary_)                                                         \
    &(const struct kos_setting)                                                                                        \
    {                                                                                                                  \
        .size = sizeof(struct kos_setting), .type = (type_), .name = (name_), .fallback = (fallback_), .min = (min_),  \
        .max = (max_), .summary = (summary_)                                                                           \
    }
static const struct kos_setting *const settings[] = {
    SETTING("peers", KOS_SETTING_TABLE, "", 0, 0, "nodes: groups of addresses, id, name, record"),
    SETTING("file", KOS_SETTING_STRING, "", 0, 0, "file with a line per node; read again when it changes"),
    SETTING("ttl", KOS_SETTING_DURATION, "24h", 1000, INT64_C(31536000000), "how long what is told may be believed"),
    SETTING("interval", KOS_SETTING_DURATION, "10s", 10, 86400000, "how often to look whether the file has changed"),
    NULL,
};
static const struct kos_discovery discovery = { sizeof discovery, announce, done, find, find_cancel };
static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), KOS_DISCOVERY, &discovery },
    NULL,
};

KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = sizeof kos_plugin_v1,
    .abi = KOS_ABI,
    .id = "org.kos.discovery.static",
    .name = "static",
    .version = "1.0.0",
    .summary = "nodes that somebody wrote down",
    .settings = settings,
    .features = features,
    .init = init,
    .start = start,
    .stop = stop,
    .fini = fini,
    .timer = timer,
};
