/* SPDX-License-Identifier: Apache-2.0
 *
 * What the programs that run published test vectors share: finding the files, reading hex, one line of TAP for each
 * case. The directory is $VECTORS, or the one this file stands in; every *.json of a program's subdirectory is run.
 * A program's main() is: vectors_run("noise", run_file).
 */
#ifndef KOS_TESTS_VECTORS_H
#define KOS_TESTS_VECTORS_H

#include <dirent.h>
#include <jansson.h>
#include <kos/bytes.h>
#include <stdio.h>
#include <stdlib.h>

struct vectors {
    int cases, failed, left_out;
};

/* One case: its name and why it failed (NULL: it passed). */
static inline void vectors_say(struct vectors *v, const char *name, const char *why)
{
    printf("%sok %d - %s%s%s\n", why ? "not " : "", ++v->cases, name, why ? ": " : "", why ? why : "");
    v->failed += why != NULL;
}

static inline void vectors_leave_out(struct vectors *v, const char *name, const char *why)
{
    printf("# left out: %s: %s\n", name, why);
    v->left_out++;
}

/* The bytes of a member in hex, malloc'ed: for vectors_free(). {NULL, 0} when the member is absent, null or not hex;
 * empty hex gives an address and length 0. */
static inline struct kos_bytes vectors_hex(json_t *value)
{
    static const char digits[] = "0123456789abcdef";
    const char *text = json_string_value(value);
    if (!text || strlen(text) % 2)
        return kos_bytes(NULL, 0);
    size_t len = strlen(text) / 2;
    uint8_t *data = malloc(len + 1);
    for (size_t i = 0; data && i < 2 * len; i++) {
        const char *digit = memchr(digits, text[i], 16);
        if (!digit) {
            free(data);
            return kos_bytes(NULL, 0);
        }
        data[i / 2] = (uint8_t)((i % 2 ? data[i / 2] << 4 : 0) | (digit - digits));
    }
    return kos_bytes(data, data ? len : 0);
}

static inline struct kos_bytes vectors_member(json_t *object, const char *name)
{
    return vectors_hex(json_object_get(object, name));
}

static inline void vectors_free(struct kos_bytes *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)bytes[i].data);
}

static inline int vectors_is_json(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

/* The directory asked for, or the one with the vectors that come with the sources. */
static inline const char *vectors_root(void)
{
    const char *asked = getenv("VECTORS");
    return asked && *asked ? asked : KOS_TEST_SRCDIR "/tests/vectors";
}

/* The end of the TAP and the program's exit status. Nothing to run is a fault of our own directory, and a mere note
 * on another one, which may hold fewer families. */
static inline int vectors_end(struct vectors *v, const char *name)
{
    const char *asked = getenv("VECTORS");
    int passed = v->cases - v->failed;
    if (v->cases == 0 && asked && *asked)
        vectors_say(v, "nothing of this family to run", NULL);
    else if (v->cases == 0)
        vectors_say(v, name, "no case was found");
    printf("1..%d\n# %s: %d passed, %d failed, %d left out\n", v->cases, name, passed, v->failed, v->left_out);
    return v->failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Runs all files of $VECTORS/<name>; the program's exit status. */
static inline int vectors_run(const char *name, void (*run_file)(struct vectors *v, json_t *file))
{
    char path[4096];
    struct dirent **entries;
    struct vectors v = { 0, 0, 0 };
    snprintf(path, sizeof path, "%s/%s", vectors_root(), name);
    int count = scandir(path, &entries, vectors_is_json, alphasort);
    if (count < 0)
        printf("# %s is not there\n", path);
    for (int i = 0; i < count; i++) {
        json_error_t error;
        snprintf(path, sizeof path, "%s/%s/%s", vectors_root(), name, entries[i]->d_name);
        json_t *file = json_load_file(path, 0, &error);
        printf("# %s\n", path);
        if (file)
            run_file(&v, file);
        else
            vectors_say(&v, entries[i]->d_name, error.text);
        json_decref(file);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return vectors_end(&v, name);
}

#endif
