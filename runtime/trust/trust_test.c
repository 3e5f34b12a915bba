/* SPDX-License-Identifier: Apache-2.0 */
#include "trust/trust.h"

#include <unit.h>

#include "core/buf.h"
#include "core/manual.h"
#include "trust/keys_private.h"
#include "trust/trust_private.h"

static const struct kos_bytes none = { NULL, 0 };

struct fixture {
    struct kos_manual *manual;
    struct kos_env *env;
    struct kos_store *store;
    struct kos_keys *keys, *other;   /* ours; a node elsewhere */
    struct kos_policy *policy;
    struct kos_trust *trust;
    struct kos_error error;
};

static struct kos_keys *node_in(struct fixture *f, const char *dir)
{
    struct kos_keys *keys = NULL;
    ck_assert_msg(kos_keys_create(f->env, dir, KLP_ALG_ED25519, none, &f->error) == KOS_OK, "%s", f->error.text);
    ck_assert_msg(kos_keys_open(f->env, dir, none, &keys, &f->error) == KOS_OK, "%s", f->error.text);
    return keys;
}

static struct kos_policy *policy_of(const char *text)
{
    struct kos_conf_doc *doc;
    struct policy_manifest **manifests = kos_new(sizeof(struct policy_manifest *));
    struct kos_policy *policy;
    struct kos_error error;
    ck_assert_int_eq(kos_conf_read("p", kos_bytes_str(text), &doc, &error), KOS_OK);
    ck_assert_msg(policy_manifest_parse(doc, "p", manifests, &error) == KOS_OK, "%s", error.text);
    ck_assert_int_eq(policy_compile(manifests, 1, &policy, NULL), KOS_OK);
    return policy;
}

static void open_trust(struct fixture *f)
{
    ck_assert_msg(kos_store_open(f->env, "/i/state", NULL, &f->store, &f->error) == KOS_OK, "%s", f->error.text);
    ck_assert_int_eq(kos_trust_new(f->env, f->store, f->keys, f->policy, &f->trust, &f->error), KOS_OK);
}

static void close_trust(struct fixture *f)
{
    kos_manual_settle(f->manual);
    kos_trust_free(f->trust);
    kos_store_close(f->store);
    kos_manual_settle(f->manual);
}

static struct fixture begin(const char *policy)
{
    struct fixture f = { .manual = kos_manual_new(5) };
    f.env = kos_manual_env(f.manual);
    f.env->ops->dir_make(f.env, "/i", 0700);
    f.keys = node_in(&f, "/i/keys");
    f.other = node_in(&f, "/i/other");
    f.policy = policy_of(policy);
    open_trust(&f);
    return f;
}

static void end(struct fixture *f)
{
    close_trust(f);
    kos_policy_unref(f->policy);
    kos_keys_close(f->keys);
    kos_keys_close(f->other);
    kos_manual_free(f->manual);
}

static void again(struct fixture *f)
{
    close_trust(f);
    open_trust(f);
}

static const struct klp_id *id_of(struct kos_keys *keys)
{
    return kos_identity_id(kos_keys_node(keys));
}

static int32_t learn_text(struct fixture *f, struct kos_bytes text)
{
    struct klp_id id;
    struct kos_tx *tx = kos_tx_begin(f->store);
    int32_t rc = kos_trust_learn(f->trust, tx, text, &id, &f->error);
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    return rc;
}

static int32_t learn(struct fixture *f, const struct klp_log *log, uint64_t from)
{
    uint8_t *text;
    size_t len;
    ck_assert_int_eq(klp_log_text(log, from, &text, &len), KOS_OK);
    int32_t rc = learn_text(f, kos_bytes(text, len));
    free(text);
    return rc;
}

static int32_t trust_it(struct fixture *f, const struct klp_id *id, double score)
{
    struct kos_tx *tx = kos_tx_begin(f->store);
    int32_t rc = kos_trust_set(f->trust, tx, id, score, &f->error);
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    return rc;
}

static int32_t name_it(struct fixture *f, const char *name, const struct klp_id *id)
{
    struct kos_tx *tx = kos_tx_begin(f->store);
    int32_t rc = kos_trust_name_set(f->trust, tx, name, id, &f->error);
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    return rc;
}

START_TEST(test_learn)
{
    struct fixture f = begin("");
    const struct klp_id *id = id_of(f.other);
    struct kos_identity *agent;
    ck_assert_ptr_null(kos_trust_log(f.trust, id));
    ck_assert_ptr_nonnull(kos_trust_log(f.trust, id_of(f.keys)));
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(f.other)), 0), 1);
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(f.other)), 0), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(kos_keys_agent_new(f.other, &agent, &f.error), KOS_OK);
    const struct klp_log *log = kos_identity_log(kos_keys_node(f.other));
    ck_assert_int_eq(learn(&f, log, 2), KOS_E_GAP); /* event 1 is missing */
    ck_assert_uint_eq(klp_log_count(kos_trust_log(f.trust, id)), 1);
    ck_assert_int_eq(learn(&f, log, 1), 3);
    ck_assert_int_eq(learn(&f, log, 3), 0);
    again(&f);
    ck_assert_uint_eq(klp_log_count(kos_trust_log(f.trust, id)), 4);
    ck_assert_mem_eq(klp_log_head(kos_trust_log(f.trust, id)), klp_log_head(log),
                     offsetof(struct klp_event, acceptance));
    /* What is no log is refused and changes nothing. */
    static const char *const bad[] = { "", "\n", "{}\n", "{\"body\":{},\"signature\":\"0x00\"}\n", "no line end", "\0\0\n" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_lt(learn_text(&f, kos_bytes_str(bad[i])), 0);
    uint8_t *text;
    size_t len;
    klp_log_text(log, 0, &text, &len);
    for (size_t at = 0; at < len; at += 7) {
        text[at] ^= 1;
        int32_t rc = learn_text(&f, kos_bytes(text, len));
        ck_assert_int_le(rc, 0);
        text[at] ^= 1;
    }
    ck_assert(!klp_log_frozen(kos_trust_log(f.trust, id)));
    ck_assert_uint_eq(klp_log_count(kos_trust_log(f.trust, id)), 4);
    free(text);
    end(&f);
}
END_TEST

static struct klp_id stranger(struct fixture *f)
{
    struct kos_key_secrets *secrets;
    struct klp_log *log;
    ck_assert_int_eq(kos_key_secrets_new(f->env, KLP_ALG_ED25519, &secrets, &f->error), KOS_OK);
    ck_assert_int_eq(kos_keys_incept(f->env, KLP_KIND_NODE, secrets, NULL, &log, &f->error), KOS_OK);
    ck_assert_int_eq(learn(f, log, 0), 1);
    struct klp_id id = *klp_log_id(log);
    klp_log_free(log);
    kos_secret_free(secrets);
    return id;
}

/* A crowd of new identities pushes out strangers only, and the parsed ones are few; a log handed out stays good until
 * the turn ends. */
START_TEST(test_crowd)
{
    struct fixture f = begin("");
    struct klp_id kept[3] = { stranger(&f), stranger(&f), *id_of(f.other) };
    struct kos_identity *agent;
    f.trust->logs_max = 12;
    f.trust->cache_max = 3;
    ck_assert_int_eq(kos_keys_agent_new(f.other, &agent, &f.error), KOS_OK);
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(f.other)), 0), 2);
    ck_assert_int_eq(learn(&f, kos_identity_log(agent), 0), 1);
    ck_assert_int_eq(trust_it(&f, &kept[0], 1), KOS_OK);
    ck_assert_int_eq(name_it(&f, "friend", &kept[1]), KOS_OK);
    ck_assert_int_eq(trust_it(&f, &kept[2], 6), KOS_OK);
    const struct klp_log *held = kos_trust_log(f.trust, &kept[0]);
    struct klp_id last = { { 0 } };
    for (int i = 0; i < 60; i++)
        last = stranger(&f);
    ck_assert(klp_id_eq(klp_log_id(held), &kept[0]));
    ck_assert_uint_eq(kos_store_count(f.store, "log"), 12);
    ck_assert_uint_le(HASH_COUNT(f.trust->logs), 3);
    kos_manual_settle(f.manual);
    again(&f);
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_nonnull(kos_trust_log(f.trust, &kept[i]));
    ck_assert_double_eq(kos_trust_score(f.trust, kos_identity_id(agent)), 6);
    ck_assert_ptr_nonnull(kos_trust_log(f.trust, &last));
    f.trust->logs_max = 1; /* only kept ones and what came before: nothing to be dropped among the first */
    for (int i = 0; i < 30; i++) {
        struct kos_key_secrets *secrets;
        struct klp_log *log;
        ck_assert_int_eq(kos_key_secrets_new(f.env, KLP_ALG_ED25519, &secrets, &f.error), KOS_OK);
        ck_assert_int_eq(kos_keys_incept(f.env, KLP_KIND_NODE, secrets, NULL, &log, &f.error), KOS_OK);
        int32_t rc = learn(&f, log, 0);
        ck_assert(rc == 1 || rc == KOS_E_LIMIT);
        klp_log_free(log);
        kos_secret_free(secrets);
    }
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_nonnull(kos_trust_log(f.trust, &kept[i]));
    end(&f);
}
END_TEST

/* A damaged store: what does not verify is not believed. */
START_TEST(test_damaged_store)
{
    struct fixture f = begin("");
    struct klp_id id = stranger(&f);
    struct kos_tx *tx = kos_tx_begin(f.store);
    kos_tx_put(tx, "log", trust_id_bytes(&id), kos_bytes_str("{}"));
    kos_tx_put(tx, "word", trust_id_bytes(&id), kos_bytes_str("short"));
    kos_tx_put(tx, "name", kos_bytes_str("nx"), kos_bytes_str("short"));
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    again(&f);
    ck_assert_ptr_null(kos_trust_log(f.trust, &id));
    ck_assert_double_eq(kos_trust_score(f.trust, &id), 0);
    ck_assert_int_lt(kos_trust_name_get(f.trust, "x", &id), 0);
    ck_assert_ptr_nonnull(strstr(kos_manual_logged(f.manual), "does not verify"));
    end(&f);
}
END_TEST

/* Two copies of one node's keys sign different events at one place: proof is kept over restarts, whatever becomes of
 * the transaction that brought it. */
START_TEST(test_duplicity)
{
    struct fixture f = begin("");
    struct kos_keys *twin;
    struct kos_identity *agent;
    struct klp_id id = *id_of(f.other), learned;
    ck_assert_int_eq(kos_keys_open(f.env, "/i/other", none, &twin, &f.error), KOS_OK);
    ck_assert_int_eq(kos_keys_agent_new(f.other, &agent, &f.error), KOS_OK);
    ck_assert_int_eq(kos_keys_agent_new(twin, &agent, &f.error), KOS_OK);
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(f.other)), 0), 2);
    ck_assert_int_eq(trust_it(&f, &id, 8), KOS_OK);
    ck_assert_double_eq(kos_trust_score(f.trust, &id), 8);
    uint8_t *text;
    size_t len;
    klp_log_text(kos_identity_log(kos_keys_node(twin)), 0, &text, &len);
    struct kos_tx *tx = kos_tx_begin(f.store);
    ck_assert_int_eq(kos_trust_learn(f.trust, tx, kos_bytes(text, len), &learned, &f.error), KOS_E_DUPLICITY);
    kos_tx_abort(tx);
    for (int i = 0; i < 2; i++) {
        ck_assert(klp_log_frozen(kos_trust_log(f.trust, &id)));
        ck_assert_double_eq(kos_trust_score(f.trust, &id), 0);
        again(&f);
    }
    ck_assert_int_eq(learn_text(&f, kos_bytes(text, len)), KOS_E_DUPLICITY);
    ck_assert_ptr_nonnull(strstr(kos_manual_logged(f.manual), "frozen"));
    free(text);
    kos_keys_close(twin);
    end(&f);
}
END_TEST

START_TEST(test_own_log)
{
    struct fixture f = begin("");
    struct kos_keys *thief;
    struct kos_identity *agent;
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(f.keys)), 0), 0);
    ck_assert_int_eq(kos_keys_open(f.env, "/i/keys", none, &thief, &f.error), KOS_OK);
    ck_assert_int_eq(kos_keys_agent_new(thief, &agent, &f.error), KOS_OK);
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(thief)), 0), KOS_E_DUPLICITY);
    ck_assert_ptr_nonnull(strstr(kos_manual_logged(f.manual), "not signed here"));
    ck_assert_uint_eq(klp_log_count(kos_identity_log(kos_keys_node(f.keys))), 1);
    kos_keys_close(thief);
    end(&f);
}
END_TEST

static void count_entry(void *arg, const struct kos_trust_entry *entry)
{
    struct kos_trust_entry *last = arg;
    last[1] = *entry;
    last[0].since_ms++;
}

START_TEST(test_scores)
{
    struct fixture f = begin("");
    const struct klp_id *id = id_of(f.other);
    struct kos_identity *agent, *stray;
    struct kos_trust_entry seen[2] = { { .since_ms = 0 } };
    ck_assert_double_eq(kos_trust_score(f.trust, id), 0);
    ck_assert_double_eq(kos_trust_score(f.trust, id_of(f.keys)), 10);
    ck_assert_int_eq(trust_it(&f, id, 10.5), KOS_E_INVALID);
    ck_assert_int_eq(trust_it(&f, id, -1), KOS_E_INVALID);
    ck_assert_int_eq(trust_it(&f, id, 0.0 / 0.0), KOS_E_INVALID);
    ck_assert_int_eq(trust_it(&f, id_of(f.keys), 5), KOS_E_INVALID);
    ck_assert_int_eq(trust_it(&f, id, 7.5), KOS_OK); /* before its log is known */
    ck_assert_double_eq(kos_trust_score(f.trust, id), 7.5);
    ck_assert_int_eq(name_it(&f, "Home.kai", id), KOS_OK);
    kos_trust_list(f.trust, count_entry, seen);
    ck_assert_int_eq(seen[0].since_ms, 1);
    ck_assert_str_eq(seen[1].name, "home.kai");
    ck_assert_mem_eq(&seen[1].identity, &(struct klp_digest){ { 0 } }, sizeof seen[1].identity);
    ck_assert_int_eq(kos_keys_agent_new(f.other, &agent, &f.error), KOS_OK);
    ck_assert_int_eq(learn(&f, kos_identity_log(agent), 0), 1);
    ck_assert_double_eq(kos_trust_score(f.trust, kos_identity_id(agent)), 0); /* its node's log is not known */
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(f.other)), 0), 2);
    ck_assert_double_eq(kos_trust_score(f.trust, kos_identity_id(agent)), 7.5);
    kos_trust_list(f.trust, count_entry, seen);
    ck_assert_mem_eq(&seen[1].identity, klp_log_identity(kos_trust_log(f.trust, id)),
                     sizeof seen[1].identity); /* pinned */
    /* An agent that names the trusted node, which never heard of it. */
    ck_assert_int_eq(kos_keys_agent_new(f.other, &stray, &f.error), KOS_OK);
    ck_assert_int_eq(learn(&f, kos_identity_log(stray), 0), 1);
    ck_assert_double_eq(kos_trust_score(f.trust, kos_identity_id(stray)), 0);
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(f.other)), 0), 1); /* now it has */
    ck_assert_double_eq(kos_trust_score(f.trust, kos_identity_id(stray)), 7.5);
    ck_assert_int_eq(trust_it(&f, kos_identity_id(agent), 2), KOS_OK); /* a word of its own outranks its node's */
    again(&f);
    ck_assert_double_eq(kos_trust_score(f.trust, kos_identity_id(agent)), 2);
    ck_assert_double_eq(kos_trust_score(f.trust, id), 7.5);
    struct klp_id retired = *kos_identity_id(agent);
    ck_assert_int_eq(kos_keys_agent_retire(f.other, &retired, &f.error), KOS_OK);
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_find(f.other, &retired)), 0), 1);
    ck_assert_double_eq(kos_trust_score(f.trust, &retired), 0);
    struct kos_tx *tx = kos_tx_begin(f.store);
    ck_assert_int_eq(kos_trust_unset(f.trust, tx, id), KOS_OK);
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    ck_assert_double_eq(kos_trust_score(f.trust, id), 0);
    ck_assert_str_eq(kos_trust_name_of(f.trust, id), "");
    tx = kos_tx_begin(f.store);
    ck_assert_int_eq(kos_trust_unset(f.trust, tx, id), KOS_E_NOTFOUND);
    kos_tx_abort(tx);
    end(&f);
}
END_TEST

/* What a transaction took back was never seen. */
START_TEST(test_aborted)
{
    struct fixture f = begin("");
    struct kos_tx *tx = kos_tx_begin(f.store);
    ck_assert_int_eq(kos_trust_set(f.trust, tx, id_of(f.other), 9, &f.error), KOS_OK);
    ck_assert_int_eq(kos_trust_name_set(f.trust, tx, "x", id_of(f.other), &f.error), KOS_OK);
    kos_tx_abort(tx);
    ck_assert_double_eq(kos_trust_score(f.trust, id_of(f.other)), 0);
    ck_assert_str_eq(kos_trust_name_of(f.trust, id_of(f.other)), "");
    end(&f);
}
END_TEST

START_TEST(test_names)
{
    struct fixture f = begin("");
    const struct klp_id *id = id_of(f.other);
    struct klp_id third = { { 9 } }, got;
    char text[KLP_ID_TEXT], third_text[KLP_ID_TEXT];
    klp_id_text(id, text);
    klp_id_text(&third, third_text);
    ck_assert_int_eq(name_it(&f, "home.kai", id), KOS_OK);
    ck_assert_int_eq(name_it(&f, "HOME.KAI", id), KOS_OK);
    ck_assert_int_eq(name_it(&f, "home.kai", &third), KOS_E_EXISTS);
    ck_assert(strstr(f.error.text, text) && strstr(f.error.text, third_text));
    ck_assert_int_eq(name_it(&f, "other.name", id), KOS_E_EXISTS);
    ck_assert(strstr(f.error.text, "home.kai") && strstr(f.error.text, "other.name"));
    ck_assert_int_eq(name_it(&f, "not a name", &third), KOS_E_INVALID);
    ck_assert_int_eq(name_it(&f, "", &third), KOS_E_INVALID);
    const char *name = kos_trust_name_of(f.trust, id);
    ck_assert_str_eq(name, "home.kai");
    ck_assert_ptr_eq(name, kos_trust_name_of(f.trust, id));
    ck_assert_int_eq(kos_trust_name_get(f.trust, "Home.Kai", &got), KOS_OK);
    ck_assert(klp_id_eq(&got, id));
    ck_assert_int_eq(kos_trust_name_get(f.trust, "else", &got), KOS_E_NOTFOUND);
    ck_assert_int_eq(kos_trust_name_get(f.trust, "no name", &got), KOS_E_NOTFOUND);
    again(&f);
    ck_assert_str_eq(kos_trust_name_of(f.trust, id), "home.kai");
    end(&f);
}
END_TEST

static int32_t find(struct fixture *f, struct klp_id *id, const char *format, const char *arg)
{
    char text[300];
    snprintf(text, sizeof text, format, arg);
    return kos_trust_find(f->trust, text, id, &f->error);
}

START_TEST(test_find)
{
    struct fixture f = begin("");
    const struct klp_id *id = id_of(f.other);
    struct kos_identity *agent;
    struct klp_id got, near = *id;
    char text[KLP_ID_TEXT], hex[KLP_ID_HEX], did[KLP_DID_TEXT];
    klp_id_text(id, text);
    klp_id_hex(id, hex);
    klp_did(id, did);
    ck_assert_int_eq(find(&f, &got, "%s", text), KOS_OK); /* whole ids need not be known */
    ck_assert(klp_id_eq(&got, id));
    ck_assert_int_eq(find(&f, &got, "%s", did), KOS_OK);
    ck_assert_int_eq(find(&f, &got, "%s", hex), KOS_OK);
    ck_assert_int_eq(find(&f, &got, "klp://node.%s", text), KOS_OK);
    ck_assert_int_eq(find(&f, &got, "klp://agent.%s", text), KOS_OK);
    ck_assert_int_eq(find(&f, &got, "klp://doc.%s", text), KOS_E_INVALID);
    hex[2 + 7] = 0; /* seven digits */
    ck_assert_int_eq(find(&f, &got, "%s", hex), KOS_E_NOTFOUND);
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(f.other)), 0), 1);
    ck_assert_int_eq(find(&f, &got, "%s", hex), KOS_OK);
    ck_assert(klp_id_eq(&got, id));
    ck_assert_int_eq(find(&f, &got, "agent://x.%s", hex), KOS_E_NOTFOUND); /* it is a node */
    near.b[15] ^= 1;
    ck_assert_int_eq(trust_it(&f, &near, 3), KOS_OK);
    ck_assert_int_eq(find(&f, &got, "%s", hex), KOS_E_INVALID);
    ck_assert_ptr_nonnull(strstr(f.error.text, "several ids"));
    klp_id_hex(id_of(f.keys), hex);
    hex[2 + 9] = 0;
    ck_assert_int_eq(find(&f, &got, "%s", hex), KOS_OK);
    ck_assert(klp_id_eq(&got, id_of(f.keys)));
    ck_assert_int_eq(kos_keys_agent_new(f.other, &agent, &f.error), KOS_OK);
    ck_assert_int_eq(learn(&f, kos_identity_log(agent), 0), 1);
    klp_id_hex(kos_identity_id(agent), hex);
    hex[2 + 8] = 0;
    ck_assert_msg(find(&f, &got, "agent://echo.%s", hex) == KOS_OK, "%s", f.error.text);
    ck_assert(klp_id_eq(&got, kos_identity_id(agent)));
    ck_assert_int_eq(name_it(&f, "home.kai", id), KOS_OK);
    static const char *const names[] = { "home.kai", "HOME.kai", "peer://home.kai", "klp://node.home.kai" };
    for (size_t i = 0; i < 4; i++) {
        ck_assert_msg(find(&f, &got, "%s", names[i]) == KOS_OK, "%s: %s", names[i], f.error.text);
        ck_assert(klp_id_eq(&got, id));
    }
    static const struct { const char *text; int32_t code; } bad[] = {
        { "", KOS_E_NOTFOUND }, { "0x", KOS_E_NOTFOUND }, { "0x1", KOS_E_NOTFOUND }, { "nobody.here", KOS_E_NOTFOUND },
        { "klp://node.nobody.here", KOS_E_NOTFOUND }, { "peer://127.0.0.1:7450", KOS_E_INVALID },
        { "klp://", KOS_E_SYNTAX }, { "http://x", KOS_E_SYNTAX }, { "agent://x.0x00000000", KOS_E_NOTFOUND },
        { "\xff\xfe", KOS_E_NOTFOUND },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t rc = kos_trust_find(f.trust, bad[i].text, &got, &f.error);
        ck_assert_msg(rc == bad[i].code, "%s: %d %s", bad[i].text, (int)rc, f.error.text);
    }
    end(&f);
}
END_TEST

static size_t statement(struct fixture *f, struct kos_keys *keys, uint64_t seq, const char *body, uint8_t *out,
                        size_t cap)
{
    struct kos_identity *node = kos_keys_node(keys);
    int64_t now = kos_now_ms(f->env);
    struct klp_statement s = { .kind = "node_record",
                               .issuer = *kos_identity_id(node),
                               .event = kos_identity_event(node),
                               .seq = seq,
                               .created = now,
                               .expires = now + 3600000 };
    size_t len = 0;
    ck_assert_int_eq(klp_statement_make(&s, kos_bytes_str(body), kos_identity_secret(node), out, cap, &len), KOS_OK);
    return len;
}

static int32_t take(struct fixture *f, struct kos_bytes text)
{
    struct klp_statement s;
    struct kos_tx *tx = kos_tx_begin(f->store);
    int32_t rc = kos_trust_statement_take(f->trust, tx, text, &s, &f->error);
    ck_assert_int_eq(kos_tx_commit(tx, NULL, NULL), KOS_OK);
    return rc;
}

START_TEST(test_statements)
{
    struct fixture f = begin("");
    uint8_t first[4096], second[4096], third[4096], *held;
    size_t one = statement(&f, f.other, 1, "{\"a\":1}", first, sizeof first), two, three, len;
    ck_assert_int_eq(take(&f, kos_bytes(first, one)), KOS_E_UNKNOWN_ID);
    ck_assert_int_eq(learn(&f, kos_identity_log(kos_keys_node(f.other)), 0), 1);
    ck_assert_int_eq(take(&f, kos_bytes(first, one)), KOS_OK);
    ck_assert_int_eq(take(&f, kos_bytes(first, one)), KOS_OK);
    two = statement(&f, f.other, 2, "{\"a\":2}", second, sizeof second);
    ck_assert_int_eq(take(&f, kos_bytes(second, two)), KOS_OK);
    ck_assert_int_eq(take(&f, kos_bytes(first, one)), KOS_E_STALE);
    three = statement(&f, f.other, 2, "{\"a\":3}", third, sizeof third);
    ck_assert_int_eq(take(&f, kos_bytes(third, three)), KOS_E_DUPLICITY);
    again(&f);
    ck_assert_int_eq(take(&f, kos_bytes(first, one)), KOS_E_STALE);
    ck_assert_int_eq(kos_trust_statement_get(f.trust, id_of(f.other), "node_record", &held, &len), KOS_OK);
    ck_assert(kos_bytes_eq(kos_bytes(held, len), kos_bytes(second, two)));
    free(held);
    ck_assert_int_eq(kos_trust_statement_get(f.trust, id_of(f.other), "other", &held, &len), KOS_E_NOTFOUND);
    three = statement(&f, f.other, 3, "{}", third, sizeof third);
    third[three / 2] ^= 1;
    ck_assert_int_lt(take(&f, kos_bytes(third, three)), 0);
    ck_assert_int_lt(take(&f, kos_bytes_str("{}")), 0);
    kos_manual_advance(f.manual, 3700000);
    ck_assert_int_eq(take(&f, kos_bytes(second, two)), KOS_E_EXPIRED);
    ck_assert_int_eq(take(&f, kos_bytes(third, statement(&f, f.keys, 1, "{}", third, sizeof third))),
                     KOS_OK); /* our own */
    end(&f);
}
END_TEST

START_TEST(test_decide)
{
    struct fixture f = begin("peers = { block = [ \"bad.node\" ]; };");
    const struct klp_id *id = id_of(f.other);
    struct kos_identity *agent;
    struct kos_policy_decision d;
    ck_assert_int_eq(kos_keys_agent_new(f.other, &agent, &f.error), KOS_OK);
    learn(&f, kos_identity_log(agent), 0);
    learn(&f, kos_identity_log(kos_keys_node(f.other)), 0);
    struct kos_policy_request r = { .direction = KOS_INBOUND, .peer = *kos_identity_id(agent), .type = "TASK_REQUEST" };
    kos_trust_decide(f.trust, &r, &d);
    ck_assert_int_eq(d.code, KOS_E_TRUST);
    char text[KLP_ID_TEXT];
    klp_id_text(id, text);
    ck_assert_ptr_nonnull(strstr(d.text, text)); /* the command names the node */
    ck_assert(klp_id_eq(&r.host, id));
    trust_it(&f, id, 8);
    kos_trust_decide(f.trust, &r, &d);
    ck_assert_int_eq(d.code, KOS_OK);
    ck_assert_double_eq(r.score, 8);
    name_it(&f, "bad.node", id);
    kos_trust_decide(f.trust, &r, &d);
    ck_assert_int_eq(d.code, KOS_E_DENIED);
    struct kos_policy *open = policy_of("trust = { TASK_REQUEST = 0; };");
    kos_trust_set_policy(f.trust, open);
    ck_assert_ptr_eq(kos_trust_policy(f.trust), open);
    kos_policy_unref(open);
    kos_trust_decide(f.trust, &r, &d);
    ck_assert_int_eq(d.code, KOS_OK);
    end(&f);
}
END_TEST

static int32_t spend(struct fixture *f, struct kos_policy_request *r, uint64_t size, struct kos_policy_decision *d)
{
    r->size_bytes = size;
    return kos_trust_quota_take(f->trust, r, d);
}

START_TEST(test_quota_minutes)
{
    struct fixture f = begin("limits = ( { messages_per_minute = 6; },\n { type = \"B\"; bytes_per_minute = 600; } );");
    struct kos_policy_request r = { .direction = KOS_INBOUND, .peer = { { 1 } }, .type = "A", .transport = "tcp" };
    struct kos_policy_decision d = { 0 };
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_OK);
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    ck_assert_uint_eq(d.retry_ms, 10000);
    ck_assert_str_eq(d.rule, "p:1 limits.messages_per_minute = 6");
    ck_assert_ptr_nonnull(strstr(d.text, "6 messages a minute"));
    ck_assert_ptr_nonnull(strstr(d.text, "in 10 s"));
    r.type = "B"; /* types share what is limited for all */
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    struct kos_policy_request other = r;
    other.peer.b[0] = 2; /* another peer has its own */
    ck_assert_int_eq(spend(&f, &other, 600, &d), KOS_OK);
    ck_assert_int_eq(spend(&f, &other, 1, &d), KOS_E_QUOTA);
    ck_assert_str_eq(d.rule, "p:2 limits.bytes_per_minute = 600");
    ck_assert_uint_eq(d.retry_ms, 100);
    /* What one limit refused cost nothing at the other: four refusals later five messages are left. */
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(spend(&f, &other, 500, &d), KOS_E_QUOTA);
    other.type = "A";
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(spend(&f, &other, 1, &d), KOS_OK);
    ck_assert_int_eq(spend(&f, &other, 1, &d), KOS_E_QUOTA);
    kos_manual_advance(f.manual, 9999);
    r.type = "A";
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    kos_manual_advance(f.manual, 1);
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_OK);
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    kos_manual_advance(f.manual, 600000); /* never more than a minute's worth */
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_OK);
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    /* A policy loaded anew, even on another line, finds the bucket as it was. */
    struct kos_policy *policy = policy_of("\n\nlimits = ( { messages_per_minute = 60; } );");
    kos_trust_set_policy(f.trust, policy);
    kos_policy_unref(policy);
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    kos_manual_advance(f.manual, 1000);
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_OK);
    end(&f);
}
END_TEST

/* Agents count as their node: minting them makes no room. */
START_TEST(test_quota_of_agents)
{
    struct fixture f = begin("limits = ( { messages_per_minute = 2; } );");
    struct kos_policy_request r = {
        .direction = KOS_INBOUND, .peer = { { 1 } }, .host = { { 77 } }, .type = "A", .transport = ""
    };
    struct kos_policy_decision d;
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_OK);
    r.peer.b[0] = 2;
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_OK);
    r.peer.b[0] = 3;
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    end(&f);
}
END_TEST

START_TEST(test_quota_days)
{
    struct fixture f = begin("limits = ( { bytes_per_day = 1000; } );");
    struct kos_policy_request r = { .direction = KOS_INBOUND, .peer = { { 1 } }, .type = "A", .transport = "tcp" };
    struct kos_policy_decision d;
    int64_t start = kos_now_ms(f.env); /* midnight UTC */
    ck_assert_int_eq(start % 86400000, 0);
    ck_assert_int_eq(spend(&f, &r, 900, &d), KOS_OK);
    ck_assert_int_eq(spend(&f, &r, 101, &d), KOS_E_QUOTA);
    ck_assert_uint_eq(d.retry_ms, 86400000);
    kos_manual_advance(f.manual, 6000); /* written meanwhile: a restart gives nothing back */
    again(&f);
    ck_assert_int_eq(spend(&f, &r, 101, &d), KOS_E_QUOTA);
    ck_assert_int_eq(spend(&f, &r, 100, &d), KOS_OK);
    again(&f); /* closing writes what is not written yet */
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    kos_manual_set_wall(f.manual, start - 86400000); /* nor does a clock set back */
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    kos_manual_set_wall(f.manual, start + 86400000);
    ck_assert_int_eq(spend(&f, &r, 1000, &d), KOS_OK);
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA);
    end(&f);
}
END_TEST

/* A disk that fails to read is not a store that knows nothing: a revocation, a block or a quota would be forgotten. */
START_TEST(test_what_cannot_be_read)
{
    struct fixture f = begin("peers = { block = [ \"foe\" ]; }; limits = ( { bytes_per_day = 1000; } );");
    const struct klp_id *id = id_of(f.other);
    struct kos_policy_request r = { .direction = KOS_INBOUND, .peer = *id, .type = "A", .transport = "tcp" };
    struct kos_policy_decision d;
    struct kos_identity *agent;
    const struct klp_log *log;
    ck_assert_int_eq(kos_keys_agent_new(f.other, &agent, &f.error), KOS_OK);
    ck_assert_int_gt(learn(&f, kos_identity_log(kos_keys_node(f.other)), 0), 0);
    ck_assert_int_gt(learn(&f, kos_identity_log(agent), 0), 0);
    const struct klp_id agent_id = *kos_identity_id(agent);
    ck_assert_int_eq(kos_keys_agent_retire(f.other, &agent_id, &f.error), KOS_OK);
    ck_assert_int_gt(learn(&f, kos_identity_log(kos_keys_find(f.other, &agent_id)), 0), 0);
    ck_assert_int_eq(name_it(&f, "foe", id), KOS_OK);
    ck_assert_int_eq(trust_it(&f, id, 8), KOS_OK);
    ck_assert_int_eq(spend(&f, &r, 900, &d), KOS_OK);
    for (uint64_t nth = 1;; nth++) {
        close_trust(&f); /* all is in the database, and nothing in memory */
        open_trust(&f);
        uint64_t before = kos_manual_file_ops(f.manual);
        kos_manual_fail_file_once(f.manual, nth, KOS_E_IO);
        log = kos_trust_log(f.trust, &agent_id);
        ck_assert_msg(!log || klp_log_revoked(log), "operation %llu", (unsigned long long)nth);
        kos_trust_decide(f.trust, &r, &d);
        ck_assert_msg(d.code == KOS_E_DENIED || d.code == KOS_E_BUSY, "operation %llu: %s", (unsigned long long)nth,
                      kos_error_name(d.code));
        int32_t spent = spend(&f, &r, 101, &d);
        ck_assert_msg(spent == KOS_E_QUOTA || spent == KOS_E_BUSY, "operation %llu: %s", (unsigned long long)nth,
                      kos_error_name(spent));
        /* An older copy of the log is learned meanwhile: it takes the place of nothing. */
        bool all_read = kos_manual_file_ops(f.manual) - before < nth;
        kos_manual_fail_files(f.manual, 0, KOS_OK);
        log = kos_trust_log(f.trust, &agent_id);
        ck_assert_ptr_nonnull(log);
        ck_assert(klp_log_revoked(log));
        if (all_read)
            break;
    }
    end(&f);
}
END_TEST

START_TEST(test_tasks)
{
    struct fixture f = begin("limits = ( { type = \"TASK_REQUEST\"; concurrent_tasks = 2; } );");
    struct kos_policy_request r = { .direction = KOS_INBOUND,
                                    .peer = { { 1 } },
                                    .type = "TASK_REQUEST",
                                    .transport = "tcp" },
                              other = r;
    struct kos_policy_decision d;
    other.peer.b[0] = 2;
    ck_assert_int_eq(kos_trust_tasks_take(f.trust, &r, &d), KOS_OK);
    ck_assert_int_eq(kos_trust_tasks_take(f.trust, &r, &d), KOS_OK);
    ck_assert_int_eq(kos_trust_tasks_take(f.trust, &r, &d), KOS_E_QUOTA);
    ck_assert_ptr_nonnull(strstr(d.text, "2 tasks at once"));
    ck_assert_int_eq(kos_trust_tasks_take(f.trust, &other, &d), KOS_OK);
    /* A policy without that limit, and back: what runs is still counted. */
    struct kos_policy *policy = policy_of("");
    kos_trust_set_policy(f.trust, policy);
    kos_policy_unref(policy);
    ck_assert_int_eq(kos_trust_tasks_take(f.trust, &r, &d), KOS_OK);
    kos_trust_tasks_give(f.trust, &r);
    kos_trust_set_policy(f.trust, f.policy);
    ck_assert_int_eq(kos_trust_tasks_take(f.trust, &r, &d), KOS_E_QUOTA);
    kos_trust_tasks_give(f.trust, &r);
    ck_assert_int_eq(kos_trust_tasks_take(f.trust, &r, &d), KOS_OK);
    struct kos_policy_request own = r;
    own.peer = *id_of(f.keys);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(kos_trust_tasks_take(f.trust, &own, &d), KOS_OK);
    for (int i = 0; i < 5; i++)
        kos_trust_tasks_give(f.trust, &r); /* never below none */
    ck_assert_int_eq(kos_trust_tasks_take(f.trust, &r, &d), KOS_OK);
    end(&f);
}
END_TEST

/* More peers than are counted: the newcomer waits, nobody's count is lost; after a minute of silence places are free.
 */
START_TEST(test_quota_crowd)
{
    struct fixture f = begin("limits = ( { messages_per_minute = 1; } );");
    struct kos_policy_request r = { .direction = KOS_INBOUND, .type = "A", .transport = "" };
    struct kos_policy_decision d;
    uint32_t n = 0;
    for (;; n++) {
        memcpy(r.peer.b, &n, sizeof n);
        r.peer.b[15] = 1;
        if (spend(&f, &r, 1, &d) < 0)
            break;
        ck_assert_uint_lt(n, 70000);
    }
    ck_assert_uint_eq(n, 65536);
    ck_assert_ptr_nonnull(strstr(d.text, "65536"));
    n = 0;
    memcpy(r.peer.b, &n, sizeof n);
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_E_QUOTA); /* the first is still counted */
    kos_manual_advance(f.manual, 60001);
    n = 70000;
    memcpy(r.peer.b, &n, sizeof n);
    ck_assert_int_eq(spend(&f, &r, 1, &d), KOS_OK);
    end(&f);
}
END_TEST

TESTS("trust/trust", test_learn, test_crowd, test_damaged_store, test_duplicity, test_own_log, test_scores,
      test_aborted, test_names, test_find, test_statements, test_decide, test_quota_minutes, test_quota_of_agents,
      test_quota_days, test_what_cannot_be_read, test_tasks, test_quota_crowd)
