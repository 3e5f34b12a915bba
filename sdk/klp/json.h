/* SPDX-License-Identifier: Apache-2.0
 *
 * KLP's JSON (klp(7), "JSON"): I-JSON (RFC 7493) in canonical form (JCS, RFC 8785), integers within
 * +-(2^53-1) or doubles, no U+0000, no duplicate names, bounded depth.
 *
 * The reader accepts canonical bytes only: one pass, no allocation, members as slices of the input.
 * Because JCS is compositional, the slice of a member is itself canonical: a signed body can be cut out.
 */
#ifndef KLP_JSON_H
#define KLP_JSON_H

#include <klp/crypto.h>

enum { KLP_JSON_DEPTH_MAX = 32, KLP_MESSAGE_MAX = 1 << 20, KLP_JSON_NUMBER_TEXT = 32 };
#define KLP_JSON_INT_MAX INT64_C(9007199254740991)

enum klp_json_type {
    KLP_JSON_NONE = 0, KLP_JSON_NULL, KLP_JSON_BOOL, KLP_JSON_INT, KLP_JSON_DOUBLE, KLP_JSON_STRING, KLP_JSON_ARRAY,
    KLP_JSON_OBJECT
};

/* A value: its type and its exact bytes (quotes and braces included). A zeroed struct is KLP_JSON_NONE: absent. */
struct klp_json {
    int32_t type;
    struct kos_bytes text;
};

/* Checks that `text` is exactly one canonical value of at most `max_bytes` and depth KLP_JSON_DEPTH_MAX.
 * KOS_E_CANONICAL or KOS_E_LIMIT; ret_offset (may be NULL) is the byte that was wrong.
 * All functions below trust values that came from here. */
int32_t klp_json_read(struct kos_bytes text, size_t max_bytes, struct klp_json *ret_value, size_t *ret_offset);

/* The same, and klp_json_get_many() on what it read, in one pass; *ret_members (may be NULL) as that returns. */
int32_t klp_json_read_many(struct kos_bytes text, size_t max_bytes, const char *const *names, size_t count,
                           struct klp_json *ret_values, size_t *ret_members, struct klp_json *ret_value,
                           size_t *ret_offset);

/* Steps through an array or object in order. Returns false at the end. `ret_name` (objects; may be NULL) is
 * the name between its quotes, still escaped. */
struct klp_json_iter { struct kos_bytes rest; bool object; };
void klp_json_iter_init(struct klp_json container, struct klp_json_iter *ret_iter);
bool klp_json_next(struct klp_json_iter *iter, struct kos_bytes *ret_name, struct klp_json *ret_value);

/* The member `name` (plain ASCII, no escapes) of an object; type NONE when absent or `object` is not one. */
struct klp_json klp_json_get(struct klp_json object, const char *name);
/* One pass for many: `names` sorted by strcmp, `ret_values[i]` NONE when absent. Returns how many members
 * the object has in all, so that a caller can refuse unknown ones. */
size_t klp_json_get_many(struct klp_json object, const char *const *names, size_t count, struct klp_json *ret_values);
size_t klp_json_count(struct klp_json container);

int32_t klp_json_int(struct klp_json value, int64_t *ret_number);      /* KOS_E_SYNTAX when not an integer */
int32_t klp_json_uint(struct klp_json value, uint64_t *ret_number);    /* and not negative */
int32_t klp_json_double(struct klp_json value, double *ret_number);    /* integers too */
int32_t klp_json_bool(struct klp_json value, bool *ret_bool);
/* Unescapes into buf and writes a NUL; KOS_E_LIMIT when cap (NUL included) is too small. ret_len may be NULL. */
int32_t klp_json_string(struct klp_json value, char *buf, size_t cap, size_t *ret_len);
bool klp_json_equals(struct klp_json value, const char *text);         /* a string, equal to plain ASCII `text` */
/* The bytes between the quotes when nothing in them is escaped; KOS_E_SYNTAX otherwise. */
int32_t klp_json_plain(struct klp_json value, struct kos_bytes *ret_text);

/* Writes canonical JSON into the caller's buffer. Members must come in JCS order (for ASCII names: strcmp);
 * a wrong order, invalid UTF-8, U+0000, NaN or unbalanced nesting sets `error`. When the buffer is too small, `len`
 * goes on counting and klp_json_end() returns KOS_E_LIMIT: so a first run with cap 0 measures. */
struct klp_json_out {
    uint8_t *data;
    size_t cap;
    size_t len;
    int32_t error;
    uint8_t depth;
    uint8_t comma[KLP_JSON_DEPTH_MAX + 1];      /* 0 first, 1 after a member */
    struct { size_t at, len; } last[KLP_JSON_DEPTH_MAX + 1]; /* last name, to check the order when in the buffer */
};
void klp_json_begin(struct klp_json_out *out, void *data, size_t cap);
void klp_json_object(struct klp_json_out *out);
void klp_json_array(struct klp_json_out *out);
void klp_json_close(struct klp_json_out *out, char bracket /* '}' or ']' */);
void klp_json_name(struct klp_json_out *out, const char *name);
void klp_json_put_string(struct klp_json_out *out, struct kos_bytes utf8);
void klp_json_put_cstr(struct klp_json_out *out, const char *utf8);
void klp_json_put_int(struct klp_json_out *out, int64_t number);
/* An integer beyond +-(2^53-1), and a double whose canonical text would look like one (2^53 up to below 1e21),
 * set KOS_E_INVALID: the reader refuses both, because programs disagree on what they mean. */
void klp_json_put_double(struct klp_json_out *out, double number);
void klp_json_put_bool(struct klp_json_out *out, bool value);
void klp_json_put_null(struct klp_json_out *out);
void klp_json_put_raw(struct klp_json_out *out, struct kos_bytes canonical); /* a value already canonical; trusted */
void klp_json_put_hex(struct klp_json_out *out, struct kos_bytes data);      /* "0x..." */
int32_t klp_json_end(struct klp_json_out *out, struct kos_bytes *ret_text);

/* ECMAScript number text (RFC 8785 3.2.2.3) of a finite double; returns its length. */
size_t klp_json_number(double number, char ret_text[KLP_JSON_NUMBER_TEXT]);

/* The slow way in for loose JSON (files, HTTP, people): any RFC 8259 text to canonical bytes, malloc'ed into
 * *ret_data (caller frees). Duplicate names, lone surrogates, U+0000, numbers that read as integers
 * beyond 2^53-1, and depth beyond KLP_JSON_DEPTH_MAX are refused. `max_bytes` bounds what comes in
 * and what goes out. */
int32_t klp_json_canonicalise(struct kos_bytes loose, size_t max_bytes, uint8_t **ret_data, size_t *ret_len,
                              struct kos_error *ret_error);

#endif
