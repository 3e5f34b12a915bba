/* SPDX-License-Identifier: Apache-2.0 */
#include "trust/keys.h"

#include <sys/stat.h>
#include <unistd.h>
#include <unit.h>

#include "core/buf.h"
#include "core/manual.h"
#include "trust/keyfile.h"

#define DIR_ "/i/keys"

struct fixture {
    struct kos_manual *manual;
    struct kos_env *env;
    struct kos_error error;
};

static struct fixture begin(void)
{
    struct fixture f = { .manual = kos_manual_new(7) };
    f.env = kos_manual_env(f.manual);
    f.env->ops->dir_make(f.env, "/i", 0755);
    f.env->ops->dir_sync(f.env, "/");
    return f;
}

static const struct kos_bytes none = { NULL, 0 };

static void create(struct fixture *f, int32_t alg)
{
    ck_assert_msg(kos_keys_create(f->env, DIR_, alg, none, &f->error) == KOS_OK, "%s", f->error.text);
}

static struct kos_keys *reopen(struct fixture *f)
{
    struct kos_keys *keys = NULL;
    ck_assert_msg(kos_keys_open(f->env, DIR_, none, &keys, &f->error) == KOS_OK, "%s", f->error.text);
    return keys;
}

static bool there(struct fixture *f, const char *path)
{
    struct kos_file_stat st;
    return f->env->ops->file_stat(f->env, path, &st) == KOS_OK;
}

static void put_file(struct fixture *f, const char *path, const char *text)
{
    ck_assert_int_eq(kos_file_write_all(f->env, path, 0600, kos_bytes_str(text)), KOS_OK);
}

static char *get_file(struct fixture *f, const char *path, size_t *len)
{
    uint8_t *data;
    ck_assert_int_eq(kos_file_read_all(f->env, path, 1 << 20, &data, len), KOS_OK);
    return (char *)data;
}

static void round_trip(int32_t alg)
{
    struct fixture f = begin();
    create(&f, alg);
    struct kos_file_stat st;
    const char *const paths[] = { DIR_, DIR_ "/agents", DIR_ "/secrets", DIR_ "/node.key", DIR_ "/node.log" };
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(f.env->ops->file_stat(f.env, paths[i], &st), KOS_OK);
        ck_assert_uint_eq(st.mode, i < 3 ? 0700 : 0600);
    }
    bool encrypted = true;
    ck_assert_int_eq(kos_keys_encrypted(f.env, DIR_, &encrypted, &f.error), KOS_OK);
    ck_assert(!encrypted);
    ck_assert_int_eq(kos_keys_create(f.env, DIR_, alg, none, &f.error), KOS_E_EXISTS);
    struct kos_keys *keys = reopen(&f);
    struct kos_identity *node = kos_keys_node(keys);
    struct klp_id id = *kos_identity_id(node);
    uint8_t noise[32], signature[KLP_SIGNATURE_LEN];
    memcpy(noise, kos_keys_noise_secret(keys), 32);
    struct klp_public key;
    ck_assert_int_eq(klp_log_key(kos_identity_log(node), kos_identity_event(node), &key), KOS_OK);
    ck_assert_int_eq(key.alg, alg);
    ck_assert_int_eq(kos_identity_sign(node, KLP_TAG_MESSAGE, kos_bytes_str("{}"), signature), KOS_OK);
    ck_assert_int_eq(klp_verify(&key, KLP_TAG_MESSAGE, kos_bytes_str("{}"), kos_bytes(signature, sizeof signature)),
                     KOS_OK);
    ck_assert_ptr_eq(kos_keys_find(keys, &id), node);
    kos_keys_close(keys);
    kos_manual_power_loss(f.manual);
    keys = reopen(&f);
    ck_assert(klp_id_eq(&id, kos_identity_id(kos_keys_node(keys))));
    ck_assert_mem_eq(noise, kos_keys_noise_secret(keys), 32);
    kos_keys_close(keys);
    kos_manual_free(f.manual);
}

START_TEST(test_node)
{
    round_trip(KLP_ALG_ED25519);
    round_trip(KLP_ALG_P256);
}
END_TEST

START_TEST(test_agents)
{
    struct fixture f = begin();
    create(&f, KLP_ALG_ED25519);
    struct kos_keys *keys = reopen(&f);
    struct kos_identity *one, *two;
    ck_assert_msg(kos_keys_agent_new(keys, &one, &f.error) == KOS_OK, "%s", f.error.text);
    ck_assert_int_eq(kos_keys_agent_new(keys, &two, &f.error), KOS_OK);
    struct klp_id id1 = *kos_identity_id(one), id2 = *kos_identity_id(two), delegator;
    struct klp_digest identity;
    ck_assert(!klp_id_eq(&id1, &id2));
    ck_assert_uint_eq(klp_log_count(kos_identity_log(kos_keys_node(keys))), 3);
    ck_assert_uint_eq(kos_identity_event(kos_keys_node(keys)), 0);
    ck_assert(klp_log_delegates(kos_identity_log(kos_keys_node(keys)), &id1, klp_log_identity(kos_identity_log(one))));
    ck_assert(klp_log_delegator(kos_identity_log(one), &delegator, &identity));
    ck_assert(klp_id_eq(&delegator, kos_identity_id(kos_keys_node(keys))));
    ck_assert_int_eq(kos_keys_agent_retire(keys, &id1, &f.error), KOS_OK);
    uint8_t signature[KLP_SIGNATURE_LEN];
    ck_assert_int_eq(kos_identity_sign(one, KLP_TAG_MESSAGE, none, signature), KOS_E_REVOKED);
    ck_assert_ptr_null(kos_identity_secret(one));
    ck_assert(klp_log_revoked(kos_identity_log(one)));
    ck_assert_int_eq(kos_keys_agent_retire(keys, &id1, &f.error), KOS_E_REVOKED);
    ck_assert_int_eq(kos_keys_agent_retire(keys, &(struct klp_id){ { 1 } }, &f.error), KOS_E_NOTFOUND);
    ck_assert_int_eq(kos_keys_agent_retire(keys, kos_identity_id(kos_keys_node(keys)), &f.error), KOS_E_NOTFOUND);
    kos_keys_close(keys);
    keys = reopen(&f);
    one = kos_keys_find(keys, &id1);
    two = kos_keys_find(keys, &id2);
    ck_assert_ptr_nonnull(one);
    ck_assert(klp_log_revoked(kos_identity_log(one)));
    ck_assert_ptr_null(kos_identity_secret(one));
    ck_assert_int_eq(kos_identity_sign(two, KLP_TAG_MESSAGE, none, signature), KOS_OK);
    kos_keys_close(keys);
    kos_manual_free(f.manual);
}
END_TEST

/* Every file operation of making an agent fails once, then power is lost: the agent is there whole or not at all, and
 * the next start leaves no file of one that is not. */
START_TEST(test_agent_new_fails_anywhere)
{
    bool done = false;
    for (uint64_t nth = 1; !done; nth++) {
        ck_assert_uint_lt(nth, 60);
        struct fixture f = begin();
        create(&f, KLP_ALG_ED25519);
        struct kos_keys *keys = reopen(&f);
        struct kos_identity *agent = NULL;
        kos_manual_fail_file_once(f.manual, nth, KOS_E_IO);
        int32_t rc = kos_keys_agent_new(keys, &agent, &f.error);
        kos_manual_fail_files(f.manual, 0, 0);
        done = rc == KOS_OK;
        if (rc < 0) {
            ck_assert_int_eq(rc, KOS_E_IO);
            ck_assert_int_eq(f.error.code, KOS_E_IO);
            ck_assert_ptr_null(agent);
        }
        /* What the process goes on with is sound: another agent can be made. */
        struct kos_identity *other;
        ck_assert_int_eq(kos_keys_agent_new(keys, &other, &f.error), KOS_OK);
        struct klp_id other_id = *kos_identity_id(other);
        kos_keys_close(keys);
        if (nth % 2)
            kos_manual_power_loss(f.manual);
        keys = reopen(&f);
        ck_assert_ptr_nonnull(kos_keys_find(keys, &other_id));
        ck_assert_ptr_nonnull(kos_identity_secret(kos_keys_find(keys, &other_id)));
        kos_keys_close(keys);
        kos_manual_free(f.manual);
    }
}
END_TEST

/* Power goes at any moment of making an agent; start cleans up. */
START_TEST(test_agent_new_power_loss)
{
    for (uint64_t nth = 1; nth < 40; nth++) {
        struct fixture f = begin();
        create(&f, KLP_ALG_ED25519);
        struct kos_keys *keys = reopen(&f);
        struct kos_identity *agent = NULL;
        kos_manual_fail_files(f.manual, nth, KOS_E_IO); /* from here on nothing reaches the disk: the process is gone */
        kos_keys_agent_new(keys, &agent, &f.error);
        kos_keys_close(keys);
        kos_manual_fail_files(f.manual, 0, 0);
        if (nth % 2)
            kos_manual_power_loss_torn(f.manual);
        keys = reopen(&f);
        uint64_t delegations = klp_log_count(kos_identity_log(kos_keys_node(keys))) - 1;
        ck_assert_uint_le(delegations, 1);
        kos_keys_close(keys);
        keys = reopen(&f);
        kos_keys_close(keys);
        kos_manual_free(f.manual);
    }
}
END_TEST

static void count_names(void *arg, const char *name)
{
    (void)name;
    ++*(size_t *)arg;
}

START_TEST(test_leftovers)
{
    struct fixture f = begin();
    create(&f, KLP_ALG_ED25519);
    size_t len;
    char *node_log = get_file(&f, DIR_ "/node.log", &len);
    struct kos_keys *keys = reopen(&f);
    struct kos_identity *agent;
    ck_assert_int_eq(kos_keys_agent_new(keys, &agent, &f.error), KOS_OK);
    kos_keys_close(keys);
    put_file(&f, DIR_ "/node.log", node_log); /* as if the delegation had never been written */
    put_file(&f, DIR_ "/agents/x.log.0123.tmp", "half");
    put_file(&f, DIR_ "/node.key.0123.tmp", "half");
    keys = reopen(&f);
    size_t names = 0;
    f.env->ops->dir_list(f.env, DIR_ "/agents", count_names, &names);
    ck_assert_uint_eq(names, 0);
    ck_assert(!there(&f, DIR_ "/node.key.0123.tmp"));
    kos_keys_close(keys);
    free(node_log);
    kos_manual_free(f.manual);
}
END_TEST

/* On any failure of create nothing is left, and it can be tried again. */
START_TEST(test_create_fails_anywhere)
{
    bool done = false;
    for (uint64_t nth = 1; !done; nth++) {
        ck_assert_uint_lt(nth, 60);
        struct fixture f = begin();
        kos_manual_fail_file_once(f.manual, nth, KOS_E_NOSPACE);
        int32_t rc = kos_keys_create(f.env, DIR_, KLP_ALG_ED25519, none, &f.error);
        kos_manual_fail_files(f.manual, 0, 0);
        done = rc == KOS_OK;
        ck_assert(rc == KOS_OK || rc == KOS_E_NOSPACE);
        ck_assert_int_eq(there(&f, DIR_), done);
        if (!done)
            create(&f, KLP_ALG_ED25519);
        kos_keys_close(reopen(&f));
        kos_manual_free(f.manual);
    }
    struct fixture f = begin();
    ck_assert_int_eq(kos_keys_create(f.env, "keys", KLP_ALG_ED25519, none, &f.error), KOS_E_INVALID);
    ck_assert_int_eq(kos_keys_create(f.env, "/no/keys", KLP_ALG_ED25519, none, &f.error), KOS_E_NOTFOUND);
    struct kos_keys *keys;
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, none, &keys, &f.error), KOS_E_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(f.error.text, "kosctl init"));
    kos_manual_free(f.manual);
}
END_TEST

/* A key file with any one byte changed, cut anywhere, or with something behind is refused by name. */
START_TEST(test_damaged_key)
{
    struct fixture f = begin();
    create(&f, KLP_ALG_ED25519);
    size_t len;
    char *text = get_file(&f, DIR_ "/node.key", &len), *bad = kos_new(len + 2);
    struct kos_keys *keys = NULL;
    for (size_t i = 0; i <= 2 * len; i++) {
        size_t n = i < len ? len : i - len;
        memcpy(bad, text, len);
        if (i < len)
            bad[i] ^= (char)(1 << i % 7);
        else if (i == 2 * len)
            bad[n++] = '\n';
        kos_file_write_all(f.env, DIR_ "/node.key", 0600, kos_bytes(bad, n));
        int32_t rc = kos_keys_open(f.env, DIR_, none, &keys, &f.error);
        ck_assert_msg(rc == KOS_E_CORRUPT || rc == KOS_E_VERSION, "%zu: %d %s", i, (int)rc,
                      rc < 0 ? f.error.text : "opened");
        ck_assert_ptr_nonnull(strstr(f.error.text, DIR_ "/node.key"));
    }
    char *big = kos_new(10000);
    memset(big, 'x', 9999);
    put_file(&f, DIR_ "/node.key", big);
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, none, &keys, &f.error), KOS_E_CORRUPT);
    put_file(&f, DIR_ "/node.key", text);
    put_file(&f, DIR_ "/node.log", "");
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, none, &keys, &f.error), KOS_E_CORRUPT);
    put_file(&f, DIR_ "/node.log", "{}\n");
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, none, &keys, &f.error), KOS_E_CORRUPT);
    f.env->ops->file_remove(f.env, DIR_ "/node.log");
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, none, &keys, &f.error), KOS_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.error.text, "node.log is missing"));
    free(big);
    free(bad);
    free(text);
    kos_manual_free(f.manual);
}
END_TEST

START_TEST(test_key_of_another_node)
{
    struct fixture f = begin();
    create(&f, KLP_ALG_ED25519);
    ck_assert_int_eq(kos_keys_create(f.env, "/i/other", KLP_ALG_ED25519, none, &f.error), KOS_OK);
    size_t len;
    char *text = get_file(&f, "/i/other/node.key", &len);
    put_file(&f, DIR_ "/node.key", text);
    struct kos_keys *keys;
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, none, &keys, &f.error), KOS_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.error.text, "does not hold the keys"));
    free(text);
    kos_manual_free(f.manual);
}
END_TEST

/* Sums are redone, so that what lies behind them is reached. */
static void write_summed(struct fixture *f, const char *head, const char *tail)
{
    struct klp_digest sum;
    char hex[65];
    struct kos_bytes pieces[2] = { kos_bytes_str(head), kos_bytes_str(tail) };
    klp_sha256v(pieces, 2, &sum);
    klp_hex(kos_bytes(sum.b, 32), hex);
    char *text = kos_format("%s\"sum\":\"0x%s\",%s\n", head, hex, tail);
    put_file(f, DIR_ "/node.key", text);
    free(text);
}

START_TEST(test_hostile_key)
{
    struct fixture f = begin();
    create(&f, KLP_ALG_ED25519);
    struct kos_keys *keys;
#define HEX32 "0x0000000000000000000000000000000000000000000000000000000000000001"
#define NONCE "0x000000000000000000000000000000000000000000000000"
#define SALT "0x00000000000000000000000000000000"
    static const struct { const char *head; int32_t code; } cases[] = {
        { "{\"box\":\"0x00\",\"encrypted\":true,\"kdf\":{\"memory\":68719476736,\"name\":\"argon2id\",\"passes\":3,\"salt\":\"" SALT "\"},\"nonce\":\"" NONCE "\",", KOS_E_LIMIT },
        { "{\"box\":\"0x00\",\"encrypted\":true,\"kdf\":{\"memory\":65536,\"name\":\"argon2id\",\"passes\":4000000000,\"salt\":\"" SALT "\"},\"nonce\":\"" NONCE "\",", KOS_E_LIMIT },
        { "{\"box\":\"0x00\",\"encrypted\":true,\"kdf\":{\"memory\":-1,\"name\":\"argon2id\",\"passes\":3,\"salt\":\"" SALT "\"},\"nonce\":\"" NONCE "\",", KOS_E_LIMIT },
        { "{\"box\":\"0x00\",\"encrypted\":true,\"kdf\":{\"memory\":65536,\"name\":\"md5\",\"passes\":3,\"salt\":\"" SALT "\"},\"nonce\":\"" NONCE "\",", KOS_E_CORRUPT },
        { "{\"box\":\"0x00\",\"encrypted\":true,\"kdf\":{\"memory\":65536,\"name\":\"argon2id\",\"passes\":3,\"salt\":\"0x00\"},\"nonce\":\"" NONCE "\",", KOS_E_CORRUPT },
        { "{\"box\":\"0x00\",\"encrypted\":true,\"kdf\":{\"memory\":65536,\"name\":\"argon2id\",\"passes\":1,\"salt\":\"" SALT "\"},\"nonce\":\"" NONCE "\",", KOS_E_CORRUPT },
        { "{\"box\":\"0x00\",\"encrypted\":true,\"kdf\":[],\"nonce\":\"" NONCE "\",", KOS_E_CORRUPT },
        { "{\"encrypted\":true,\"secrets\":{},", KOS_E_CORRUPT },
        { "{\"encrypted\":false,\"secrets\":{},", KOS_E_CORRUPT },
        { "{\"encrypted\":false,", KOS_E_CORRUPT },
        { "{\"encrypted\":1,\"secrets\":{},", KOS_E_CORRUPT },
        { "{\"a\":1,\"encrypted\":false,\"secrets\":{\"alg\":\"ed25519\",\"current\":\"" HEX32 "\",\"next\":\"" HEX32 "\",\"noise\":\"" HEX32 "\"},", KOS_E_CORRUPT },
        { "{\"encrypted\":false,\"secrets\":{\"alg\":\"rot13\",\"current\":\"" HEX32 "\",\"next\":\"" HEX32 "\",\"noise\":\"" HEX32 "\"},", KOS_E_CORRUPT },
        { "{\"encrypted\":false,\"secrets\":{\"alg\":\"ed25519\",\"current\":\"0x00\",\"next\":\"" HEX32 "\",\"noise\":\"" HEX32 "\"},", KOS_E_CORRUPT },
        { "{\"encrypted\":false,\"secrets\":{\"alg\":\"p256\",\"current\":\"" HEX32 "\",\"next\":\"" HEX32 "\",\"noise\":\"" HEX32 "\"},", KOS_E_CORRUPT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_summed(&f, cases[i].head, "\"version\":1}");
        int32_t rc = kos_keys_open(f.env, DIR_, kos_bytes_str("pass"), &keys, &f.error);
        ck_assert_msg(rc == cases[i].code, "%zu: %d %s", i, (int)rc, rc < 0 ? f.error.text : "");
    }
    write_summed(&f, "{\"encrypted\":false,\"secrets\":{},", "\"version\":2}");
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, none, &keys, &f.error), KOS_E_VERSION);
    kos_manual_free(f.manual);
}
END_TEST

/* With the cheapest derivation; what create uses differs in numbers alone. */
START_TEST(test_encrypted_file)
{
    struct fixture f = begin();
    struct kos_key_lock *lock, *made = NULL;
    struct kos_key_secrets *secrets = kos_secret_new(sizeof *secrets), *got = kos_secret_new(sizeof *got);
    ck_assert_int_eq(kos_key_lock_new(f.env, kos_bytes_str("right"), 1, 65536, &lock, &f.error), KOS_OK);
    secrets->current.alg = secrets->next.alg = KLP_ALG_ED25519;
    kos_random(f.env, secrets->current.b, 32);
    kos_random(f.env, secrets->next.b, 32);
    kos_random(f.env, secrets->noise, 32);
    ck_assert_int_eq(kos_key_file_write(f.env, "/i/k", secrets, lock, &f.error), KOS_OK);
    size_t len;
    char *text = get_file(&f, "/i/k", &len), hex[65];
    klp_hex(kos_bytes(secrets->current.b, 32), hex);
    ck_assert_ptr_null(strstr(text, hex));
    bool encrypted = false;
    ck_assert_int_eq(kos_key_file_encrypted(f.env, "/i/k", &encrypted, &f.error), KOS_OK);
    ck_assert(encrypted);
    ck_assert_int_eq(kos_key_file_read(f.env, "/i/k", none, &made, got, &f.error), KOS_E_PASSPHRASE);
    ck_assert_int_eq(kos_key_file_read(f.env, "/i/k", kos_bytes_str("wrong"), &made, got, &f.error), KOS_E_PASSPHRASE);
    ck_assert_ptr_null(made);
    ck_assert_int_eq(kos_key_file_read(f.env, "/i/k", kos_bytes_str("right"), &made, got, &f.error), KOS_OK);
    ck_assert_mem_eq(secrets, got, sizeof *got);
    ck_assert_ptr_nonnull(made);
    struct kos_key_lock *before = made;
    ck_assert_int_eq(kos_key_file_read(f.env, "/i/k", none, &made, got, &f.error),
                     KOS_OK); /* the lock in hand opens it */
    ck_assert_ptr_eq(made, before);
    struct kos_key_lock *other;
    ck_assert_int_eq(kos_key_lock_new(f.env, kos_bytes_str("right"), 1, 65536, &other, &f.error), KOS_OK);
    ck_assert_int_eq(kos_key_file_write(f.env, "/i/k2", secrets, other, &f.error), KOS_OK);
    ck_assert_int_eq(kos_key_file_read(f.env, "/i/k2", kos_bytes_str("right"), &made, got, &f.error), KOS_E_PASSPHRASE);
    for (size_t i = 0; i < len; i += 3) {
        char *bad = kos_strdup(text);
        bad[i] ^= 1;
        put_file(&f, "/i/bad", bad);
        int32_t rc = kos_key_file_read(f.env, "/i/bad", kos_bytes_str("right"), &made, got, &f.error);
        ck_assert_msg(rc == KOS_E_CORRUPT || rc == KOS_E_VERSION, "%zu: %d", i, (int)rc);
        free(bad);
    }
    free(text);
    kos_secret_free(other);
    kos_secret_free(made);
    kos_secret_free(lock);
    kos_secret_free(secrets);
    kos_secret_free(got);
    kos_manual_free(f.manual);
}
END_TEST

START_TEST(test_passphrase)
{
    struct fixture f = begin();
    struct kos_keys *keys = NULL;
    struct kos_identity *agent;
    bool encrypted = false;
    ck_assert_msg(kos_keys_create(f.env, DIR_, KLP_ALG_ED25519, kos_bytes_str("open sesame"), &f.error) == KOS_OK, "%s",
                  f.error.text);
    ck_assert_int_eq(kos_keys_encrypted(f.env, DIR_, &encrypted, &f.error), KOS_OK);
    ck_assert(encrypted);
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, none, &keys, &f.error), KOS_E_PASSPHRASE);
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, kos_bytes_str("open sesam"), &keys, &f.error), KOS_E_PASSPHRASE);
    ck_assert_ptr_null(keys);
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, kos_bytes_str("open sesame"), &keys, &f.error), KOS_OK);
    ck_assert_int_eq(kos_keys_agent_new(keys, &agent, &f.error), KOS_OK);
    struct klp_id id = *kos_identity_id(agent);
    kos_keys_close(keys);
    ck_assert_int_eq(kos_keys_open(f.env, DIR_, kos_bytes_str("open sesame"), &keys, &f.error), KOS_OK);
    ck_assert_ptr_nonnull(kos_identity_secret(kos_keys_find(keys, &id)));
    ck_assert_ptr_null(strstr(kos_manual_logged(f.manual), "sesame"));
    kos_keys_close(keys);
    kos_manual_free(f.manual);
}
END_TEST

/* With the kernel's files: modes and links. */
START_TEST(test_permissions)
{
    char dir[] = "/tmp/kos-keys-test-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    struct kos_manual *manual = kos_manual_new(3);
    kos_manual_kernel_files(manual);
    struct kos_env *env = kos_manual_env(manual);
    struct kos_error error;
    struct kos_keys *keys = NULL;
    static const char *const names[] = { "", "/node.key", "/node.log", "/agents" };
    char *keys_dir = kos_format("%s/keys", dir);
    ck_assert_int_eq(kos_keys_create(env, keys_dir, KLP_ALG_ED25519, none, &error), KOS_OK);
    for (size_t i = 0; i < 4; i++) {
        char *path = kos_format("%s%s", keys_dir, names[i]), *moved = kos_format("%s/moved", dir);
        struct stat st;
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, i == 0 || i == 3 ? 0700 : 0600);
        static const mode_t open_modes[] = { 0040, 0004, 0020, 0011 };
        for (size_t m = 0; m < 4; m++) {
            ck_assert_int_eq(chmod(path, (st.st_mode & 0700) | open_modes[m]), 0);
            ck_assert_int_eq(kos_keys_open(env, keys_dir, none, &keys, &error), KOS_E_PERMISSION);
            ck_assert_msg(strstr(error.text, path) && strstr(error.text, i == 0 || i == 3 ? "chmod 700" : "chmod 600"),
                          "%s", error.text);
        }
        chmod(path, st.st_mode & 0700);
        ck_assert_int_eq(rename(path, moved), 0);
        ck_assert_int_eq(symlink(moved, path), 0);
        ck_assert_int_eq(kos_keys_open(env, keys_dir, none, &keys, &error), KOS_E_PERMISSION);
        ck_assert_msg(strstr(error.text, "symbolic link") != NULL, "%s", error.text);
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(rename(moved, path), 0);
        free(path);
        free(moved);
    }
    ck_assert_msg(kos_keys_open(env, keys_dir, none, &keys, &error) == KOS_OK, "%s", error.text);
    kos_keys_close(keys);
    char *command = kos_format("rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
    free(command);
    free(keys_dir);
    kos_manual_free(manual);
}
END_TEST

TESTS("trust/keys", test_node, test_agents, test_agent_new_fails_anywhere, test_agent_new_power_loss, test_leftovers,
      test_create_fails_anywhere, test_damaged_key, test_key_of_another_node, test_hostile_key, test_encrypted_file,
      test_passphrase, test_permissions)
