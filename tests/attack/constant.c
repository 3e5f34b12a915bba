/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether time depends on secrets: they are marked as undefined for memcheck, which then tells of each branch and each
 * address that depends on one (the way of Adam Langley's ctgrind). What our own code compares and derives is looked at;
 * the libraries' own code along with it. Not tried: opening a record and agreeing on a key, which end in a branch on one
 * bit of outcome that is public, and P-256, whose scalar OpenSSL blinds before it branches. klp_hex() does look up a
 * table: key files are written through it, which nobody far away can time, and its table is one cache line.
 *
 * Starts itself again under valgrind; without it, the tests are skipped.
 */
#include <klp/noise.h>
#include <stdlib.h>
#include <unistd.h>

#if __has_include(<valgrind/memcheck.h>) && !defined(__SANITIZE_ADDRESS__) && defined(__x86_64__)
#include <valgrind/memcheck.h>

static volatile int sink;
static uint8_t key[32], other[32], out[256];

static void secret(void *p, size_t len)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(p, len);
}

static void known(void *p, size_t len)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(p, len);
}

/* What must be told: were it not, nothing below would mean anything. */
static void careless_comparison(void)
{
    for (int i = 0; i < 32; i++)
        if (key[i] != other[i]) {
            sink = i;
            return;
        }
}

static void comparison(void)
{
    bool same = klp_equal(key, other, 32);
    known(&same, sizeof same);
    sink = same;
}

static void key_of_agreement(void)
{
    klp_x25519_public(key, out);
}

static void derivation(void)
{
    klp_hkdf_sha256(kos_bytes(other, 32), kos_bytes(key, 32), kos_bytes(NULL, 0), out, 64);
}

static void mac(void)
{
    struct kos_bytes text = kos_bytes(other, 32);
    klp_hmac_sha256(kos_bytes(key, 32), &text, 1, out);
}

static void sealing(void)
{
    struct klp_aead *aead = klp_aead_new(key);
    klp_aead_seal(aead, out, kos_bytes(NULL, 0), kos_bytes(other, 32), out + 32);
    klp_aead_free(aead);
}

static void signature(void)
{
    struct klp_secret seed = { .alg = KLP_ALG_ED25519 };
    memcpy(seed.b, key, 32);
    klp_sign(&seed, KLP_TAG_MESSAGE, kos_bytes(other, 32), out);
}

static void wiping(void)
{
    klp_wipe(key, sizeof key);
}

static void hex(void)
{
    klp_hex(kos_bytes(key, 32), (char *)out);
}

static const struct {
    const char *name;
    void (*run)(void);
    bool told;
} tries[] = {
    { "a careless comparison is told of", careless_comparison, true },
    { "so is a table that is looked up by a secret", hex, true },
    { "klp_equal", comparison, false },
    { "klp_x25519_public", key_of_agreement, false },
    { "klp_hkdf_sha256", derivation, false },
    { "klp_hmac_sha256", mac, false },
    { "klp_aead_new, klp_aead_seal", sealing, false },
    { "klp_sign, Ed25519", signature, false },
    { "klp_wipe", wiping, false },
};

static int try_all(void)
{
    int failed = 0;
    printf("1..%zu\n", sizeof tries / sizeof *tries);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        memset(key, 0x41, sizeof key);
        memset(other, 0x41, sizeof other);
        secret(key, sizeof key);
        unsigned before = VALGRIND_COUNT_ERRORS;
        tries[i].run();
        bool told = VALGRIND_COUNT_ERRORS > before;
        known(key, sizeof key);
        known(out, sizeof out);
        failed += told != tries[i].told;
        printf("%sok %zu - %s\n", told == tries[i].told ? "" : "not ", i + 1, tries[i].name);
    }
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    (void)argc;
    if (RUNNING_ON_VALGRIND)
        return try_all();
    execlp("valgrind", "valgrind", "-q", "--leak-check=no", "--undef-value-errors=yes", "--", argv[0], (char *)NULL);
    puts("1..1\nok 1 - time does not depend on secrets # SKIP valgrind is not here");
    return 0;
}
#else
int main(void)
{
    puts("1..1\nok 1 - time does not depend on secrets # SKIP no valgrind, not x86-64, or sanitizers are at work");
    return 0;
}
#endif
