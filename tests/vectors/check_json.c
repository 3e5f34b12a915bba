/* SPDX-License-Identifier: Apache-2.0
 *
 * Both JSON readers against JSONTestSuite. test_parsing: y_ must be taken by the loose reader, n_
 * refused, i_ is free. Whatever either reader takes must be canonical on the way out, and the strict
 * reader takes only what is canonical already. test_transform has no verdicts but this one.
 */
#include <klp/json.h>

#include "vectors.h"

enum { FILE_MAX = 1 << 20 };

static struct kos_bytes load(const char *path)
{
    uint8_t *data = malloc(FILE_MAX);
    FILE *file = data ? fopen(path, "rb") : NULL;
    if (!file) {
        free(data);
        return kos_bytes(NULL, 0);
    }
    size_t len = fread(data, 1, FILE_MAX, file);
    fclose(file);
    return kos_bytes(data, len);
}

static const char *check_readers(struct kos_bytes text, int32_t *ret_loose, struct kos_error *ret_error)
{
    struct klp_json value;
    uint8_t *data = NULL, *again = NULL;
    size_t len = 0, again_len = 0;
    const char *why = NULL;
    bool strict = klp_json_read(text, FILE_MAX, &value, NULL) == 0;
    *ret_loose = klp_json_canonicalise(text, FILE_MAX, &data, &len, ret_error);
    struct kos_bytes canonical = kos_bytes(data, len);
    if (*ret_loose < 0)
        why = strict ? "the strict reader takes what the loose one refuses" : NULL;
    else if (klp_json_read(canonical, FILE_MAX, &value, NULL) < 0)
        why = "the strict reader refuses the canonical form";
    else if (strict != kos_bytes_eq(canonical, text))
        why = "the strict reader and the canonical form disagree";
    else if (klp_json_canonicalise(canonical, FILE_MAX, &again, &again_len, NULL) < 0 ||
             !kos_bytes_eq(canonical, kos_bytes(again, again_len)))
        why = "the canonical form has another canonical form";
    free(data);
    free(again);
    return why;
}

/* Right JSON that KLP's narrower JSON leaves out on purpose, told by the reason given. */
static bool narrow(int32_t err, const struct kos_error *error)
{
    return err == KOS_E_LIMIT || strstr(error->text, "duplicate") || strstr(error->text, "\\u0000") ||
        strstr(error->text, "too big integer");
}

static void run_directory(struct vectors *v, const char *root, const char *directory)
{
    char path[4096];
    struct dirent **entries;
    snprintf(path, sizeof path, "%s/json-test-suite/%s", root, directory);
    int count = scandir(path, &entries, vectors_is_json, alphasort);
    if (count < 0)
        printf("# %s is not there\n", path);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        struct kos_error error = { 0 };
        int32_t loose = 0;
        snprintf(path, sizeof path, "%s/json-test-suite/%s/%s", root, directory, name);
        struct kos_bytes text = load(path);
        const char *why = text.data ? check_readers(text, &loose, &error) : "it cannot be read";
        if (!why && name[0] == 'n' && name[1] == '_' && loose == 0)
            why = "broken JSON was taken";
        if (!why && name[0] == 'y' && name[1] == '_' && loose < 0 && !narrow(loose, &error))
            why = error.text;
        if (!why && name[0] == 'y' && name[1] == '_' && loose < 0)
            printf("# refused on purpose: %s: %s\n", name, error.text);
        vectors_say(v, name, why);
        vectors_free(&text, 1);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

int main(void)
{
    const char *root = vectors_root();
    struct vectors v = { 0, 0, 0 };
    run_directory(&v, root, "test_parsing");
    run_directory(&v, root, "test_transform");
    return vectors_end(&v, "json-test-suite");
}
