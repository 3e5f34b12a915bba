/* SPDX-License-Identifier: Apache-2.0
 * The database behind the store: opening, applying checkpoints, reading. */
#include "store/sqlite.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/buf.h"
#include "store/internal.h"
#include "store/vfs.h"

struct database {
    struct kos_env *env;
    struct vfs *vfs;
    sqlite3 *reader, *writer;
};

static int32_t sql_error(sqlite3 *db, const char *path, int result, struct kos_error *ret_error)
{
    int32_t rc = vfs_error(result);
    return kos_fail(ret_error, rc, "%s: SQLite says: %s", path, db ? sqlite3_errmsg(db) : sqlite3_errstr(result));
}

/* sqlite3_mprintf's formats: %w is a name inside quotes. */
static int exec(sqlite3 *db, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *sql = sqlite3_vmprintf(format, args);
    va_end(args);
    int result = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return result;
}

static int prepare(sqlite3 *db, sqlite3_stmt **statement, const char *sql, const char *name)
{
    if (*statement)
        return SQLITE_OK;
    char *text = sqlite3_mprintf(sql, name);
    int result = text ? sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) : SQLITE_NOMEM;
    sqlite3_free(text);
    return result;
}

/* A key or value of length 0 is an empty blob, not NULL. */
static int bind(sqlite3_stmt *statement, int at, struct kos_bytes bytes)
{
    return sqlite3_bind_blob64(statement, at, bytes.len ? (const void *)bytes.data : "", bytes.len, SQLITE_STATIC);
}

static int64_t meta_get(sqlite3 *db, const char *name, int *ret_result)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = -1;
    int result = sqlite3_prepare_v2(db, "SELECT value FROM kos_meta WHERE name = ?1", -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    if (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0), result = SQLITE_OK;
    else if (result == SQLITE_DONE)
        result = SQLITE_CORRUPT;
    sqlite3_finalize(statement);
    *ret_result = result;
    return value;
}

static int connect(struct database *database, const char *path, bool make, sqlite3 **ret_db)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | (make ? SQLITE_OPEN_CREATE : 0);
    int result = sqlite3_open_v2(path, ret_db, flags, vfs_name(database->vfs));
    if (result != SQLITE_OK)
        return result;
    sqlite3_extended_result_codes(*ret_db, 1);
    sqlite3_busy_timeout(*ret_db, 2000);
    sqlite3_db_config(*ret_db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(*ret_db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(*ret_db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return exec(*ret_db, "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; PRAGMA cell_size_check = ON");
}

/* SQLITE_ROW when the database was made before, SQLITE_DONE when not. */
static int initialized(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(db, "SELECT 1 FROM sqlite_schema WHERE name = 'kos_meta'", -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    sqlite3_finalize(statement);
    return result;
}

/* Makes what every database has. One transaction, so that a crash leaves all of it or nothing. */
static int initialize(struct database *database)
{
    sqlite3 *db = database->writer;
    int result = exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;"
                          "PRAGMA journal_size_limit = 16777216");
    if (result != SQLITE_OK)
        return result;
    result = initialized(db);
    if (result != SQLITE_DONE)
        return result == SQLITE_ROW ? SQLITE_OK : result;
    uint64_t id;
    kos_random(database->env, &id, sizeof id);
    id &= INT64_MAX; /* SQLite's integers are signed */
    result = exec(db, "BEGIN IMMEDIATE; CREATE TABLE kos_meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
                      "INSERT INTO kos_meta VALUES('format', 1), ('applied', 0), ('store', %lld); COMMIT", (sqlite3_int64)id);
    if (result != SQLITE_OK)
        exec(db, "ROLLBACK");
    return result;
}

static int list_spaces(sqlite3 *db, void (*found)(void *arg, const char *name), void *arg)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(db, "SELECT substr(name, 3) FROM sqlite_schema WHERE type = 'table' AND name GLOB 's:*'", -1, &statement, NULL);
    while (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        found(arg, (const char *)sqlite3_column_text(statement, 0));
        result = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return result == SQLITE_DONE ? SQLITE_OK : result;
}

static int32_t read_info(struct database *database, const char *path, struct database_info *ret_info, struct kos_error *ret_error)
{
    int result;
    int64_t format = meta_get(database->reader, "format", &result);
    if (result != SQLITE_OK)
        return sql_error(database->reader, path, result, ret_error);
    if (format != 1)
        return kos_fail(ret_error, KOS_E_VERSION, "%s has format %" PRId64 "; this kos reads 1", path, format);
    int64_t applied = meta_get(database->reader, "applied", &result);
    int64_t store = result == SQLITE_OK ? meta_get(database->reader, "store", &result) : 0;
    if (result != SQLITE_OK && vfs_error(result) != KOS_E_CORRUPT)
        return sql_error(database->reader, path, result, ret_error);
    if (result != SQLITE_OK || applied < 0)
        return kos_fail(ret_error, KOS_E_CORRUPT, "%s is damaged: kos_meta lacks its rows; restore the store from a copy", path);
    *ret_info = (struct database_info){ (uint64_t)store, (uint64_t)applied };
    return KOS_OK;
}

/* SQLite's log as it is found may be in memory only: its sync may have failed in the process before this one, and what a
 * failed sync left out no later one writes. So it is written once more before anything is built on it. */
static int32_t log_write_again(struct kos_env *env, const char *dir, const char *path)
{
    enum { LOG_PART = 1 << 20 };
    char *log = kos_format("%s-wal", path);
    struct kos_file *file;
    int32_t rc = env->ops->file_open(env, log, KOS_FILE_READ | KOS_FILE_WRITE, 0, &file);
    free(log);
    if (rc < 0)
        return rc == KOS_E_NOTFOUND ? KOS_OK : rc;
    uint8_t *part = kos_new(LOG_PART);
    uint64_t at = 0;
    int64_t got;
    while ((got = env->ops->file_read(file, part, LOG_PART, at)) > 0) {
        rc = env->ops->file_write(file, part, (size_t)got, at);
        if (rc < 0)
            break;
        at += (uint64_t)got;
    }
    if (got < 0)
        rc = (int32_t)got;
    if (rc == KOS_OK && at)
        rc = env->ops->file_sync(file);
    if (rc == KOS_OK && at)
        rc = env->ops->dir_sync(env, dir);
    env->ops->file_close(file);
    free(part);
    return rc;
}

int32_t database_open(struct kos_env *env, const char *dir, bool make, void (*found)(void *arg, const char *name), void *arg,
                      struct database **ret_database, struct database_info *ret_info, struct kos_error *ret_error)
{
    struct database *database = kos_new(sizeof *database);
    database->env = env;
    char *path = kos_format("%s/state.db", dir);
    struct database_info info;
    int32_t rc = vfs_new(env, dir, &database->vfs);
    if (rc < 0) {
        kos_fail(ret_error, rc, "SQLite cannot be started: %s", kos_error_text(rc));
    } else if (make && (rc = log_write_again(env, dir, path)) < 0) {
        kos_fail(ret_error, rc, "%s-wal cannot be written once more: %s", path, kos_error_text(rc));
    } else {
        int result = connect(database, path, make, &database->writer);
        if (result == SQLITE_OK && make)
            result = initialize(database);
        else if (result == SQLITE_OK)
            result = initialized(database->writer);
        if (result == SQLITE_DONE)
            rc = kos_fail(ret_error, KOS_E_NOTFOUND, "%s was begun and never used", path);
        else if (result != SQLITE_OK && result != SQLITE_ROW)
            rc = sql_error(database->writer, path, result, ret_error);
    }
    if (rc == KOS_OK) {
        int result = connect(database, path, false, &database->reader);
        if (result == SQLITE_OK)
            result = list_spaces(database->reader, found, arg);
        rc = result == SQLITE_OK ? read_info(database, path, &info, ret_error) : sql_error(database->reader, path, result, ret_error);
    }
    free(path);
    if (rc < 0) {
        database_close(database, false);
        return rc;
    }
    *ret_database = database;
    *ret_info = info;
    return KOS_OK;
}

void database_close(struct database *database, bool checkpoint)
{
    if (!database)
        return;
    sqlite3_close(database->reader);
    if (checkpoint)
        sqlite3_wal_checkpoint_v2(database->writer, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_close(database->writer);
    vfs_free(database->vfs);
    free(database);
}

void space_statements_fini(struct space_statements *statements)
{
    sqlite3_finalize(statements->get);
    sqlite3_finalize(statements->scan);
    sqlite3_finalize(statements->put);
    sqlite3_finalize(statements->remove);
    *statements = (struct space_statements){ 0 };
}

static int apply_space(sqlite3 *db, struct space *space)
{
    struct space_statements *s = &space->statements;
    if (!space->in_database) {
        int result = exec(db, "CREATE TABLE IF NOT EXISTS \"s:%w\"(key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID", space->name);
        if (result != SQLITE_OK)
            return result;
    }
    int result = prepare(db, &s->put, "INSERT INTO \"s:%w\" VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value", space->name);
    if (result == SQLITE_OK)
        result = prepare(db, &s->remove, "DELETE FROM \"s:%w\" WHERE key = ?1", space->name);
    const struct table_entry *entry = table_from(space->frozen, kos_bytes(NULL, 0));
    for (; entry && result == SQLITE_OK; entry = entry->next[0]) {
        sqlite3_stmt *statement = entry->deleted ? s->remove : s->put;
        result = bind(statement, 1, table_key(entry));
        if (result == SQLITE_OK && !entry->deleted)
            result = bind(statement, 2, table_value(entry));
        if (result == SQLITE_OK)
            result = sqlite3_step(statement);
        int reset = sqlite3_reset(statement);
        result = result == SQLITE_DONE ? reset : result;
    }
    return result;
}

int32_t database_apply(struct database *database, struct space *frozen, uint64_t applied, char *text, size_t text_cap)
{
    sqlite3 *db = database->writer;
    int result = exec(db, "BEGIN IMMEDIATE");
    for (struct space *space = frozen; space && result == SQLITE_OK; space = space->frozen_next)
        result = apply_space(db, space);
    if (result == SQLITE_OK)
        result = exec(db, "UPDATE kos_meta SET value = %lld WHERE name = 'applied'", (sqlite3_int64)applied);
    if (result == SQLITE_OK)
        result = exec(db, "COMMIT");
    if (result != SQLITE_OK) {
        snprintf(text, text_cap, "%s", sqlite3_errmsg(db));
        if (!sqlite3_get_autocommit(db))
            exec(db, "ROLLBACK");
        return vfs_error(result);
    }
    /* The log is durable now. What of it cannot be copied today, the next checkpoint copies. */
    sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return KOS_OK;
}

/* Steps to the row of `key`: SQLITE_ROW or SQLITE_DONE. */
static int seek(struct database *database, struct space *space, struct kos_bytes key)
{
    sqlite3_stmt **get = &space->statements.get;
    int result = prepare(database->reader, get, "SELECT value FROM \"s:%w\" WHERE key = ?1", space->name);
    if (result == SQLITE_OK)
        result = bind(*get, 1, key);
    return result == SQLITE_OK ? sqlite3_step(*get) : result;
}

int32_t database_get(struct database *database, struct space *space, struct kos_bytes key, uint8_t **ret_value, size_t *ret_len)
{
    int result = seek(database, space, key);
    sqlite3_stmt *get = space->statements.get;
    int32_t rc = result == SQLITE_DONE ? KOS_E_NOTFOUND : vfs_error(result);
    if (result == SQLITE_ROW) {
        const void *blob = sqlite3_column_blob(get, 0);
        size_t len = (size_t)sqlite3_column_bytes(get, 0);
        uint8_t *value = malloc(len + 1);
        if (value && (blob || len == 0)) {
            if (len)
                memcpy(value, blob, len);
            value[len] = 0;
            *ret_value = value;
            *ret_len = len;
        } else {
            free(value);
            rc = KOS_E_NOMEM;
        }
    }
    sqlite3_reset(get);
    return rc;
}

int32_t database_has(struct database *database, struct space *space, struct kos_bytes key)
{
    int result = seek(database, space, key);
    sqlite3_reset(space->statements.get);
    return result == SQLITE_DONE ? KOS_E_NOTFOUND : vfs_error(result);
}

void database_snapshot(struct database *database, bool begin)
{
    exec(database->reader, begin ? "BEGIN" : "COMMIT"); /* without it the answers may differ by a checkpoint: bearable */
}

int32_t database_count(struct database *database, struct space *space, uint64_t *ret_count)
{
    sqlite3_stmt *statement = NULL;
    int result = prepare(database->reader, &statement, "SELECT count(*) FROM \"s:%w\"", space->name);
    if (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_ROW)
        *ret_count = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return vfs_error(result);
}

int32_t database_scan_begin(struct database *database, struct space *space, struct kos_bytes from, struct database_scan *ret_scan)
{
    /* The kept statement is taken when a scan inside a scan asks again: then one of its own is made. */
    bool own = space->statements.scan && sqlite3_stmt_busy(space->statements.scan);
    sqlite3_stmt *made = NULL, **statement = own ? &made : &space->statements.scan;
    int result = prepare(database->reader, statement, "SELECT key, value FROM \"s:%w\" WHERE key >= ?1 ORDER BY key", space->name);
    if (result == SQLITE_OK)
        result = sqlite3_bind_blob64(*statement, 1, from.len ? (const void *)from.data : "", from.len, SQLITE_TRANSIENT);
    if (result != SQLITE_OK) {
        if (own)
            sqlite3_finalize(made);
        return vfs_error(result);
    }
    *ret_scan = (struct database_scan){ *statement, own };
    return KOS_OK;
}

int32_t database_scan_next(struct database_scan *scan, struct kos_bytes *ret_key, struct kos_bytes *ret_value)
{
    int result = sqlite3_step(scan->statement);
    if (result != SQLITE_ROW)
        return vfs_error(result);
    *ret_key = kos_bytes(sqlite3_column_blob(scan->statement, 0), (size_t)sqlite3_column_bytes(scan->statement, 0));
    *ret_value = kos_bytes(sqlite3_column_blob(scan->statement, 1), (size_t)sqlite3_column_bytes(scan->statement, 1));
    if ((!ret_key->data && ret_key->len) || (!ret_value->data && ret_value->len))
        return KOS_E_NOMEM;
    return 1;
}

void database_scan_end(struct database_scan *scan)
{
    if (scan->own)
        sqlite3_finalize(scan->statement);
    else
        sqlite3_reset(scan->statement);
}

int32_t database_check(struct database *database, void (*say)(void *arg, const char *line), void *arg)
{
    sqlite3_stmt *statement = NULL;
    int32_t rc = KOS_OK;
    int result = sqlite3_prepare_v2(database->reader, "PRAGMA integrity_check(100)", -1, &statement, NULL);
    while (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *line = (const char *)sqlite3_column_text(statement, 0);
        if (line && strcmp(line, "ok") != 0) {
            char text[300];
            snprintf(text, sizeof text, "state.db: %s", line);
            say(arg, text);
            rc = KOS_E_CORRUPT;
        }
        result = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return rc < 0 || result == SQLITE_DONE ? rc : vfs_error(result);
}
