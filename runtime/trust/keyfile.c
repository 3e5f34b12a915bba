/* SPDX-License-Identifier: Apache-2.0
 * One identity's secrets in a file: see keyfile.h for the format. */
#include "trust/keyfile.h"

#include <sodium.h>
#include <stdlib.h>
#include <klp/json.h>

#include "core/buf.h"

enum { FILE_MAX = 4096, SECRETS_MAX = 512, SUM_MEMBER = 6 + 68 + 1 /* "sum":"0x<64 digits>", */ };

int32_t kos_key_guard(struct kos_env *env, const char *path, bool directory, struct kos_error *ret_error)
{
    struct kos_file_stat st;
    int32_t rc = env->ops->file_stat(env, path, &st);
    if (rc < 0)
        return kos_fail(ret_error, rc, "%s: %s", path, kos_error_text(rc));
    if (st.type == KOS_FILE_LINK)
        return kos_fail(ret_error, KOS_E_PERMISSION,
                        "%s is a symbolic link; secrets are not read through one: put the %s itself there", path,
                        directory ? "directory" : "file");
    if (st.type != (directory ? KOS_FILE_DIRECTORY : KOS_FILE_REGULAR))
        return kos_fail(ret_error, KOS_E_PERMISSION, "%s is not a %s", path, directory ? "directory" : "regular file");
    if (!st.ours)
        return kos_fail(ret_error, KOS_E_PERMISSION,
                        "%s belongs to another user: chown it to the one who runs this, or run this as its owner",
                        path);
    if (st.mode & 077)
        return kos_fail(ret_error, KOS_E_PERMISSION, "%s is open to other users (mode %04o): chmod %s %s", path,
                        (unsigned)st.mode, directory ? "700" : "600", path);
    return KOS_OK;
}

int32_t kos_key_lock_new(struct kos_env *env, struct kos_bytes passphrase, int64_t passes, int64_t memory,
                         struct kos_key_lock **ret_lock, struct kos_error *ret_error)
{
    struct kos_key_lock *lock = kos_secret_new(sizeof *lock);
    if (!lock)
        return kos_fail(ret_error, KOS_E_NOMEM,
                        "no locked memory for a key: raise the limit (ulimit -l, LimitMEMLOCK)");
    lock->passes = passes;
    lock->memory = memory;
    kos_random(env, lock->salt, sizeof lock->salt);
    if (crypto_pwhash(lock->key, sizeof lock->key, (const char *)passphrase.data, passphrase.len, lock->salt,
                      (unsigned long long)passes, (size_t)memory, crypto_pwhash_ALG_ARGON2ID13) != 0) {
        kos_secret_free(lock);
        return kos_fail(ret_error, KOS_E_NOMEM,
                        "deriving a key from the passphrase takes %lld MiB of memory, and there is not as much",
                        (long long)(memory >> 20));
    }
    *ret_lock = lock;
    return KOS_OK;
}

static void put_secrets(struct klp_json_out *out, const struct kos_key_secrets *secrets)
{
    klp_json_object(out);
    klp_json_name(out, "alg");
    klp_json_put_cstr(out, secrets->current.alg == KLP_ALG_P256 ? "p256" : "ed25519");
    klp_json_name(out, "current");
    klp_json_put_hex(out, kos_bytes(secrets->current.b, sizeof secrets->current.b));
    klp_json_name(out, "next");
    klp_json_put_hex(out, kos_bytes(secrets->next.b, sizeof secrets->next.b));
    klp_json_name(out, "noise");
    klp_json_put_hex(out, kos_bytes(secrets->noise, sizeof secrets->noise));
    klp_json_close(out, '}');
}

static void put_kdf(struct klp_json_out *out, const struct kos_key_lock *lock)
{
    klp_json_object(out);
    klp_json_name(out, "memory");
    klp_json_put_int(out, lock->memory);
    klp_json_name(out, "name");
    klp_json_put_cstr(out, "argon2id");
    klp_json_name(out, "passes");
    klp_json_put_int(out, lock->passes);
    klp_json_name(out, "salt");
    klp_json_put_hex(out, kos_bytes(lock->salt, sizeof lock->salt));
    klp_json_close(out, '}');
}

struct sealed {
    uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];
    uint8_t box[SECRETS_MAX + crypto_aead_xchacha20poly1305_ietf_ABYTES];
    unsigned long long len;
};

/* The file's text but its line feed; sum NULL: without that member, which is what is summed. */
static int32_t put_file(struct klp_json_out *out, void *data, const struct kos_key_secrets *secrets,
                        const struct kos_key_lock *lock, const struct sealed *sealed, const struct klp_digest *sum,
                        struct kos_bytes *ret_text)
{
    klp_json_begin(out, data, FILE_MAX);
    klp_json_object(out);
    if (lock) {
        klp_json_name(out, "box");
        klp_json_put_hex(out, kos_bytes(sealed->box, (size_t)sealed->len));
    }
    klp_json_name(out, "encrypted");
    klp_json_put_bool(out, lock != NULL);
    if (lock) {
        klp_json_name(out, "kdf");
        put_kdf(out, lock);
        klp_json_name(out, "nonce");
        klp_json_put_hex(out, kos_bytes(sealed->nonce, sizeof sealed->nonce));
    } else {
        klp_json_name(out, "secrets");
        put_secrets(out, secrets);
    }
    if (sum) {
        klp_json_name(out, "sum");
        klp_json_put_hex(out, kos_bytes(sum->b, sizeof sum->b));
    }
    klp_json_name(out, "version");
    klp_json_put_int(out, 1);
    klp_json_close(out, '}');
    return klp_json_end(out, ret_text);
}

static int32_t seal(struct kos_env *env, const struct kos_key_secrets *secrets, const struct kos_key_lock *lock,
                    char *scratch, struct sealed *sealed)
{
    uint8_t kdf[256];
    struct klp_json_out out;
    struct kos_bytes plain, ad;
    klp_json_begin(&out, scratch, SECRETS_MAX);
    put_secrets(&out, secrets);
    int32_t rc = klp_json_end(&out, &plain);
    if (rc < 0)
        return rc;
    klp_json_begin(&out, kdf, sizeof kdf);
    put_kdf(&out, lock);
    if ((rc = klp_json_end(&out, &ad)) < 0)
        return rc;
    kos_random(env, sealed->nonce, sizeof sealed->nonce);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed->box, &sealed->len, plain.data, plain.len, ad.data, ad.len, NULL,
                                               sealed->nonce, lock->key);
    return KOS_OK;
}

int32_t kos_key_file_write(struct kos_env *env, const char *path, const struct kos_key_secrets *secrets,
                           const struct kos_key_lock *lock, struct kos_error *ret_error)
{
    char *text = kos_secret_new(FILE_MAX + 1);
    if (!text)
        return kos_fail(ret_error, KOS_E_NOMEM,
                        "no locked memory for a key: raise the limit (ulimit -l, LimitMEMLOCK)");
    struct sealed sealed = { .len = 0 };
    struct klp_json_out out;
    struct kos_bytes written;
    struct klp_digest sum;
    int32_t rc = lock ? seal(env, secrets, lock, text, &sealed) : KOS_OK;
    if (rc == KOS_OK)
        rc = put_file(&out, text, secrets, lock, &sealed, NULL, &written);
    if (rc == KOS_OK) {
        klp_sha256(written, &sum);
        rc = put_file(&out, text, secrets, lock, &sealed, &sum, &written);
    }
    if (rc < 0) {
        rc = kos_fail(ret_error, KOS_E_INTERNAL, "%s: the key file cannot be composed", path);
    } else {
        text[written.len] = '\n';
        rc = kos_file_write_all(env, path, 0600, kos_bytes(text, written.len + 1));
        if (rc < 0)
            kos_fail(ret_error, rc, "%s: cannot be written: %s", path, kos_error_text(rc));
    }
    kos_secret_free(text);
    return rc;
}

static int32_t corrupt(const char *path, const char *reason, struct kos_error *ret_error)
{
    return kos_fail(ret_error, KOS_E_CORRUPT, "%s is damaged (%s): restore it from a backup", path, reason);
}

enum { F_BOX, F_ENCRYPTED, F_KDF, F_NONCE, F_SECRETS, F_SUM, F_VERSION, F_COUNT };

/* Text to members, the sum checked. */
static int32_t parse_file(const char *path, struct kos_bytes text, struct klp_json members[F_COUNT], bool *encrypted,
                          struct kos_error *ret_error)
{
    static const char *const names[F_COUNT] = { "box", "encrypted", "kdf", "nonce", "secrets", "sum", "version" };
    struct klp_json file;
    if (text.len == 0 || text.data[text.len - 1] != '\n')
        return corrupt(path, "it is cut off", ret_error);
    text.len--;
    if (klp_json_read(text, FILE_MAX, &file, NULL) < 0 || file.type != KLP_JSON_OBJECT)
        return corrupt(path, "it is not canonical JSON", ret_error);
    size_t count = klp_json_get_many(file, names, F_COUNT, members), known = 0;
    for (size_t i = 0; i < F_COUNT; i++)
        known += members[i].type != KLP_JSON_NONE;
    int64_t version;
    if (klp_json_int(members[F_VERSION], &version) < 0)
        return corrupt(path, "it has no version", ret_error);
    if (version != 1)
        return kos_fail(ret_error, KOS_E_VERSION, "%s has version %lld; this kos reads version 1", path,
                        (long long)version);
    struct klp_digest sum, said = { { 0 } };
    struct kos_bytes hex;
    size_t len;
    if (members[F_SUM].type != KLP_JSON_STRING || klp_json_plain(members[F_SUM], &hex) < 0 || hex.len != 66 ||
        memcmp(hex.data, "0x", 2) != 0 || klp_unhex(kos_bytes(hex.data + 2, 64), said.b, sizeof said.b, &len) < 0)
        return corrupt(path, "it has no sum", ret_error);
    /* "version" follows, so the member ends with a comma. */
    const uint8_t *from = hex.data - 1 - 6;
    struct kos_bytes pieces[2] = { { text.data, (size_t)(from - text.data) }, { from + SUM_MEMBER, 0 } };
    pieces[1].len = (size_t)(text.data + text.len - pieces[1].data);
    klp_sha256v(pieces, 2, &sum);
    if (memcmp(&sum, &said, sizeof sum) != 0)
        return corrupt(path, "its sum does not match", ret_error);
    if (klp_json_bool(members[F_ENCRYPTED], encrypted) < 0 || known != count ||
        (members[F_SECRETS].type == KLP_JSON_OBJECT) == *encrypted)
        return corrupt(path, "its members do not fit", ret_error);
    return KOS_OK;
}

static int32_t get_hex(struct klp_json value, uint8_t *data, size_t cap, size_t *ret_len)
{
    struct kos_bytes hex;
    if (value.type != KLP_JSON_STRING || klp_json_plain(value, &hex) < 0 || hex.len < 2 ||
        memcmp(hex.data, "0x", 2) != 0)
        return KOS_E_SYNTAX;
    return klp_unhex(kos_bytes(hex.data + 2, hex.len - 2), data, cap, ret_len);
}

static bool get_hex_exact(struct klp_json object, const char *name, uint8_t *data, size_t len)
{
    size_t got = 0;
    return get_hex(klp_json_get(object, name), data, len, &got) == KOS_OK && got == len;
}

static bool get_secrets(struct klp_json object, struct kos_key_secrets *secrets)
{
    struct klp_json alg = klp_json_get(object, "alg");
    secrets->current.alg = klp_json_equals(alg, "ed25519") ? KLP_ALG_ED25519
                           : klp_json_equals(alg, "p256")  ? KLP_ALG_P256
                                                           : 0;
    secrets->next.alg = secrets->current.alg;
    return secrets->current.alg && klp_json_count(object) == 4 &&
           get_hex_exact(object, "current", secrets->current.b, sizeof secrets->current.b) &&
           get_hex_exact(object, "next", secrets->next.b, sizeof secrets->next.b) &&
           get_hex_exact(object, "noise", secrets->noise, sizeof secrets->noise);
}

/* The lock of this file: the one given, if it is the same, or one derived from the passphrase. */
static int32_t get_lock(const char *path, struct klp_json kdf, struct kos_bytes passphrase, struct kos_key_lock **lock,
                        struct kos_error *ret_error)
{
    int64_t passes = 0, memory = 0;
    uint8_t salt[16];
    if (!klp_json_equals(klp_json_get(kdf, "name"), "argon2id") || klp_json_count(kdf) != 4 ||
        klp_json_int(klp_json_get(kdf, "passes"), &passes) < 0 ||
        klp_json_int(klp_json_get(kdf, "memory"), &memory) < 0 || !get_hex_exact(kdf, "salt", salt, sizeof salt))
        return corrupt(path, "its key derivation is not known", ret_error);
    if (passes < 1 || passes > KOS_KDF_PASSES_MAX || memory < (int64_t)crypto_pwhash_MEMLIMIT_MIN ||
        memory > KOS_KDF_MEMORY_MAX)
        return kos_fail(ret_error, KOS_E_LIMIT,
                        "%s asks for %lld passes over %lld bytes to derive its key; at most %d and %d are granted",
                        path, (long long)passes, (long long)memory, KOS_KDF_PASSES_MAX, KOS_KDF_MEMORY_MAX);
    if (*lock) {
        if ((*lock)->passes != passes || (*lock)->memory != memory || memcmp((*lock)->salt, salt, sizeof salt) != 0)
            return kos_fail(ret_error, KOS_E_PASSPHRASE, "%s is encrypted under another passphrase than node.key",
                            path);
        return KOS_OK;
    }
    if (passphrase.len == 0)
        return kos_fail(ret_error, KOS_E_PASSPHRASE, "%s is encrypted: its passphrase is needed", path);
    struct kos_key_lock *made = kos_secret_new(sizeof *made);
    if (!made)
        return kos_fail(ret_error, KOS_E_NOMEM,
                        "no locked memory for a key: raise the limit (ulimit -l, LimitMEMLOCK)");
    made->passes = passes;
    made->memory = memory;
    memcpy(made->salt, salt, sizeof salt);
    if (crypto_pwhash(made->key, sizeof made->key, (const char *)passphrase.data, passphrase.len, salt,
                      (unsigned long long)passes, (size_t)memory, crypto_pwhash_ALG_ARGON2ID13) != 0) {
        kos_secret_free(made);
        return kos_fail(ret_error, KOS_E_NOMEM,
                        "%s: deriving its key takes %lld MiB of memory, and there is not as much", path,
                        (long long)(memory >> 20));
    }
    *lock = made;
    return KOS_OK;
}

static int32_t open_box(const char *path, const struct klp_json members[F_COUNT], const struct kos_key_lock *lock,
                        struct kos_key_secrets *secrets, struct kos_error *ret_error)
{
    struct sealed sealed;
    size_t len = 0, nonce = 0;
    if (get_hex(members[F_BOX], sealed.box, sizeof sealed.box, &len) < 0 ||
        len < crypto_aead_xchacha20poly1305_ietf_ABYTES ||
        get_hex(members[F_NONCE], sealed.nonce, sizeof sealed.nonce, &nonce) < 0 || nonce != sizeof sealed.nonce)
        return corrupt(path, "its box does not fit", ret_error);
    uint8_t *plain = kos_secret_new(SECRETS_MAX);
    if (!plain)
        return kos_fail(ret_error, KOS_E_NOMEM,
                        "no locked memory for a key: raise the limit (ulimit -l, LimitMEMLOCK)");
    unsigned long long plain_len = 0;
    struct klp_json object;
    int32_t rc = KOS_OK;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, &plain_len, NULL, sealed.box, len, members[F_KDF].text.data,
                                                   members[F_KDF].text.len, sealed.nonce, lock->key) != 0)
        rc = kos_fail(ret_error, KOS_E_PASSPHRASE, "%s: this is not its passphrase", path);
    else if (klp_json_read(kos_bytes(plain, (size_t)plain_len), SECRETS_MAX, &object, NULL) < 0 ||
             object.type != KLP_JSON_OBJECT || !get_secrets(object, secrets))
        rc = corrupt(path, "its secrets do not fit", ret_error);
    kos_secret_free(plain);
    return rc;
}

static int32_t read_file(struct kos_env *env, const char *path, uint8_t **text, size_t *len,
                         struct kos_error *ret_error)
{
    int32_t rc = kos_key_guard(env, path, false, ret_error);
    if (rc < 0)
        return rc;
    rc = kos_file_read_all(env, path, FILE_MAX, text, len);
    if (rc == KOS_E_LIMIT)
        return corrupt(path, "it is longer than any key file", ret_error);
    return rc < 0 ? kos_fail(ret_error, rc, "%s: cannot be read: %s", path, kos_error_text(rc)) : KOS_OK;
}

int32_t kos_key_file_read(struct kos_env *env, const char *path, struct kos_bytes passphrase,
                          struct kos_key_lock **lock, struct kos_key_secrets *ret_secrets, struct kos_error *ret_error)
{
    uint8_t *text;
    size_t len;
    int32_t rc = read_file(env, path, &text, &len, ret_error);
    if (rc < 0)
        return rc;
    struct klp_json members[F_COUNT];
    struct kos_key_lock *made = *lock;
    bool encrypted = false;
    rc = parse_file(path, kos_bytes(text, len), members, &encrypted, ret_error);
    if (rc == KOS_OK && encrypted) {
        rc = get_lock(path, members[F_KDF], passphrase, &made, ret_error);
        if (rc == KOS_OK)
            rc = open_box(path, members, made, ret_secrets, ret_error);
    } else if (rc == KOS_OK && !get_secrets(members[F_SECRETS], ret_secrets)) {
        rc = corrupt(path, "its secrets do not fit", ret_error);
    }
    klp_wipe(text, len);
    free(text);
    if (rc == KOS_OK)
        *lock = made;
    else if (made != *lock)
        kos_secret_free(made);
    return rc;
}

int32_t kos_key_file_encrypted(struct kos_env *env, const char *path, bool *ret_encrypted, struct kos_error *ret_error)
{
    uint8_t *text;
    size_t len;
    int32_t rc = read_file(env, path, &text, &len, ret_error);
    if (rc < 0)
        return rc;
    struct klp_json members[F_COUNT];
    bool encrypted = false;
    rc = parse_file(path, kos_bytes(text, len), members, &encrypted, ret_error);
    klp_wipe(text, len);
    free(text);
    if (rc == KOS_OK)
        *ret_encrypted = encrypted;
    return rc;
}
