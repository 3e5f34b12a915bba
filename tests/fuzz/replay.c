/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target over inputs, where no fuzzer does: its own valid inputs, then the files and directories named, or
 * the corpus that bears the program's name. A corpus is one file: inputs, each behind its u32 length, big-endian. TAP.
 *
 * Built for libFuzzer it only turns corpora into directories and back, for tests/fuzz/run:
 *   FUZZ_UNPACK=DIR [FUZZ_CORPUS=FILE]   writes the valid inputs there, and those of the corpus
 *   FUZZ_PACK=DIR FUZZ_CORPUS=FILE       makes the corpus of what is there
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

static void fail(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, errno ? strerror(errno) : "not a corpus");
    exit(EXIT_FAILURE);
}

static uint8_t *read_file(const char *path, size_t *ret_len)
{
    struct stat st;
    errno = 0;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &st) < 0)
        fail(path);
    uint8_t *data = malloc((size_t)st.st_size + 1);
    if (!data || fread(data, 1, (size_t)st.st_size, file) != (size_t)st.st_size)
        fail(path);
    fclose(file);
    *ret_len = (size_t)st.st_size;
    return data;
}

static unsigned each_of_corpus(const char *path, fuzz_put *put, void *arg)
{
    size_t len;
    unsigned count = 0;
    uint8_t *data = read_file(path, &len);
    struct fuzz_input in = fuzz_input(data, len);
    for (; in.left; count++) {
        size_t high = fuzz_u16(&in), size = high << 16 | fuzz_u16(&in);
        if (size > in.left)
            fail(path);
        put(arg, fuzz_take(&in, size));
    }
    free(data);
    return count;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Of the files in a directory, in the order of their names. */
static int each_of_directory(const char *path, void (*each)(void *arg, const char *path), void *arg)
{
    struct dirent **names;
    char whole[4096];
    int count = scandir(path, &names, visible, alphasort);
    if (count < 0)
        fail(path);
    for (int i = 0; i < count; i++) {
        if ((size_t)snprintf(whole, sizeof whole, "%s/%s", path, names[i]->d_name) >= sizeof whole)
            fail(path);
        each(arg, whole);
        free(names[i]);
    }
    free(names);
    return count;
}

#ifdef KOS_FUZZ

/* Named by what they hold, so that nothing is there twice. */
static void write_input(void *arg, struct kos_bytes input)
{
    struct klp_digest digest;
    char name[17], path[4096];
    klp_sha256(input, &digest);
    klp_hex(kos_bytes(digest.b, 8), name);
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    FILE *file = fopen(path, "wb");
    if (!file || (input.len && fwrite(input.data, 1, input.len, file) != input.len) || fclose(file))
        fail(path);
}

static void pack(void *arg, const char *path)
{
    size_t len;
    uint8_t *data = read_file(path, &len);
    const uint8_t head[4] = { (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };
    if (fwrite(head, 1, sizeof head, arg) != sizeof head || (len && fwrite(data, 1, len, arg) != len))
        fail(path);
    free(data);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char *unpack_to = getenv("FUZZ_UNPACK"), *pack_from = getenv("FUZZ_PACK"), *corpus = getenv("FUZZ_CORPUS");
    (void)argc;
    (void)argv;
    if (unpack_to) {
        fuzz_seeds(write_input, unpack_to);
        if (corpus && *corpus)
            each_of_corpus(corpus, write_input, unpack_to);
        exit(EXIT_SUCCESS);
    }
    if (pack_from && corpus) {
        FILE *file = fopen(corpus, "wb");
        if (!file)
            fail(corpus);
        each_of_directory(pack_from, pack, file);
        exit(fclose(file) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    return 0;
}

#else

/* Each on memory of its own, so that a tool that checks memory sees its end; said before, for what crashes does not
 * come back. */
static void run(void *arg, struct kos_bytes input)
{
    uint8_t *copy = fuzz_copy(input);
    printf("# %u\n", ++*(unsigned *)arg);
    fflush(stdout);
    LLVMFuzzerTestOneInput(copy, input.len);
    free(copy);
}

static void run_file(void *arg, const char *path)
{
    size_t len;
    uint8_t *data = read_file(path, &len);
    printf("# %s\n", path);
    run(arg, kos_bytes(data, len));
    free(data);
}

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    const char *sources = getenv("KOS_SRCDIR");
    char own[4096];
    unsigned count = 0;
    struct stat st;
    if (argc == 1) {
        fuzz_seeds(run, &count);
        printf("ok 1 - %u valid inputs\n", count);
        count = 0;
        snprintf(own, sizeof own, "%s/tests/fuzz/corpus/%s", sources && *sources ? sources : KOS_TEST_SRCDIR,
                 strncmp(name, "lt-", 3) == 0 ? name + 3 : name);
        each_of_corpus(own, run, &count);
        printf("%sok 2 - %u inputs of the corpus\n1..2\n", count ? "" : "not ", count);
        return count ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    for (int i = 1; i < argc; i++)
        if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
            each_of_directory(argv[i], run_file, &count);
        else
            run_file(&count, argv[i]);
    printf("ok 1 - %u inputs\n1..1\n", count);
    return EXIT_SUCCESS;
}

#endif
