/* SPDX-License-Identifier: Apache-2.0
 *
 * The checkpoint: spaces as tables of an SQLite database, state.db.
 *
 * Two connections: the loop reads with one, a checkpoint writes with the other on a worker. That needs SQLite's
 * write-ahead log (with a rollback journal a commit would lock the reader out, and a large transaction would sync in
 * the midst of it); its index lies in memory (vfs.h). The log is synced at commit, which is one per checkpoint, and
 * copied into the database right after.
 */
#ifndef KOS_STORE_SQLITE_H
#define KOS_STORE_SQLITE_H

#include <sqlite3.h>

#include "core/env.h"

struct database;
struct space;

/* Prepared when first used. The reader's two belong to the loop, the writer's two to the checkpoint. */
struct space_statements {
    sqlite3_stmt *get, *scan;
    sqlite3_stmt *put, *remove;
};

struct database_info {
    uint64_t store;   /* random, made with the database: segments carry it */
    uint64_t applied; /* number of the last record in it */
};

/* Opens or makes state.db in `dir`; `found` gets the name of each space in it. make: whether it may be made. */
int32_t database_open(struct kos_env *env, const char *dir, bool make, void (*found)(void *arg, const char *name), void *arg,
                      struct database **ret_database, struct database_info *ret_info, struct kos_error *ret_error);
/* checkpoint: fold the log into the database before. Statements of all spaces must be finalized before. */
void database_close(struct database *database, bool checkpoint);
void space_statements_fini(struct space_statements *statements);

/* Writes the frozen table of each space in the list and `applied` in one durable transaction. On a worker. text: what SQLite says. */
int32_t database_apply(struct database *database, struct space *frozen, uint64_t applied, char *text, size_t text_cap);
int32_t database_get(struct database *database, struct space *space, struct kos_bytes key, uint8_t **ret_value, size_t *ret_len);
/* KOS_OK or KOS_E_NOTFOUND. */
int32_t database_has(struct database *database, struct space *space, struct kos_bytes key);
/* Between begin and end all reads see one state, whatever a checkpoint does meanwhile. */
void database_snapshot(struct database *database, bool begin);
int32_t database_count(struct database *database, struct space *space, uint64_t *ret_count);

/* Walks keys from `from` on. database_scan_next: 1 with the next pair, valid until the next call; 0 at the end. */
struct database_scan { sqlite3_stmt *statement; bool own; };
int32_t database_scan_begin(struct database *database, struct space *space, struct kos_bytes from, struct database_scan *ret_scan);
int32_t database_scan_next(struct database_scan *scan, struct kos_bytes *ret_key, struct kos_bytes *ret_value);
void database_scan_end(struct database_scan *scan);

/* integrity_check; `say` gets each fault. KOS_E_CORRUPT when there is one. */
int32_t database_check(struct database *database, void (*say)(void *arg, const char *line), void *arg);

#endif
