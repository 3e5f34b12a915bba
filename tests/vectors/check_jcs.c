/* SPDX-License-Identifier: Apache-2.0
 *
 * JCS (RFC 8785) against its author's vectors: documents in jcs/input, their canonical form in
 * jcs/output, and numbers as ECMAScript prints them in jcs/es6-numbers.txt.
 */
#include <klp/json.h>

#include <math.h>

#include "vectors.h"

enum { FILE_MAX = 1 << 20 };

/* KLP's reader takes no number that looks like an integer beyond 2^53-1, canonical or not. */
static bool readable(double number)
{
    return fabs(number) <= (double)KLP_JSON_INT_MAX || fabs(number) >= 1e21;
}

static const char *run_number(double number, const char *want)
{
    char text[KLP_JSON_NUMBER_TEXT];
    struct klp_json value;
    double back;
    if (klp_json_number(number, text) != strlen(want) || strcmp(text, want) != 0)
        return "another text";
    int32_t err = klp_json_read(kos_bytes_str(want), FILE_MAX, &value, NULL);
    if (!readable(number))
        return err == KOS_E_CANONICAL ? NULL : "the reader took an integer beyond 2^53-1";
    if (err < 0 || klp_json_double(value, &back) < 0 || back != number)
        return "the reader reads another number";
    return NULL;
}

static void run_numbers(struct vectors *v, const char *path)
{
    char line[128], name[192];
    size_t count = 0, failed = 0, refused = 0;
    FILE *file = fopen(path, "r");
    if (!file) {
        printf("# %s is not there\n", path);
        return;
    }
    while (fgets(line, sizeof line, file)) {
        char *want = strchr(line, ',');
        if (!want)
            continue;
        want[strcspn(want, "\r\n")] = '\0';
        uint64_t bits = strtoull(line, NULL, 16);
        double number;
        memcpy(&number, &bits, sizeof number);
        const char *why = run_number(number, want + 1);
        count++;
        refused += !readable(number);
        failed += why != NULL;
        if (why)
            printf("# line %zu, %s: %s\n", count, line, why);
    }
    fclose(file);
    snprintf(name, sizeof name, "es6-numbers.txt: %zu numbers, of which KLP's reader rightly refuses %zu", count,
             refused);
    vectors_say(v, name, count == 0 ? "no number was found" : failed ? "see above" : NULL);
}

static struct kos_bytes load(const char *root, const char *directory, const char *name, const char *ending)
{
    char path[4096];
    uint8_t *data = malloc(FILE_MAX);
    size_t stem = strcspn(name, ".");
    snprintf(path, sizeof path, "%s/jcs/%s/%.*s%s", root, directory, (int)stem, name, ending);
    FILE *file = data ? fopen(path, "rb") : NULL;
    if (!file) {
        free(data);
        return kos_bytes(NULL, 0);
    }
    size_t len = fread(data, 1, FILE_MAX, file);
    fclose(file);
    return kos_bytes(data, len);
}

static bool hex_equals(struct kos_bytes hex, struct kos_bytes data)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < hex.len;) {
        uint8_t byte;
        if (hex.data[i] == ' ' || hex.data[i] == '\n' || hex.data[i] == '\r') {
            i++;
            continue;
        }
        if (klp_unhex(kos_bytes(hex.data + i, 2), &byte, 1, NULL) < 0 || n >= data.len || data.data[n++] != byte)
            return false;
        i += 2;
    }
    return n == data.len;
}

static const char *run_document(struct kos_bytes input, struct kos_bytes output, struct kos_bytes hex)
{
    struct klp_json value;
    struct kos_error error = { 0 };
    uint8_t *data = NULL;
    size_t len = 0;
    const char *why = NULL;
    if (!input.data || !output.data)
        return "input or output is missing";
    if (klp_json_canonicalise(input, FILE_MAX, &data, &len, &error) < 0)
        why = "it was refused";
    else if (!kos_bytes_eq(kos_bytes(data, len), output))
        why = "another canonical form";
    else if (hex.data && !hex_equals(hex, kos_bytes(data, len)))
        why = "not the bytes in outhex";
    else if (klp_json_read(output, FILE_MAX, &value, NULL) < 0)
        why = "the reader refuses the canonical form";
    else if (!kos_bytes_eq(input, output) && klp_json_read(input, FILE_MAX, &value, NULL) == 0)
        why = "the reader takes what is not canonical";
    if (error.code)
        printf("# %s\n", error.text);
    free(data);
    return why;
}

int main(void)
{
    const char *root = vectors_root();
    char path[4096];
    struct dirent **entries;
    struct vectors v = { 0, 0, 0 };
    snprintf(path, sizeof path, "%s/jcs/input", root);
    int count = scandir(path, &entries, vectors_is_json, alphasort);
    for (int i = 0; i < count; i++) {
        struct kos_bytes b[3] = { load(root, "input", entries[i]->d_name, ".json"),
                                  load(root, "output", entries[i]->d_name, ".json"),
                                  load(root, "outhex", entries[i]->d_name, ".txt") };
        vectors_say(&v, entries[i]->d_name, run_document(b[0], b[1], b[2]));
        vectors_free(b, 3);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    snprintf(path, sizeof path, "%s/jcs/es6-numbers.txt", root);
    run_numbers(&v, path);
    return vectors_end(&v, "jcs");
}
