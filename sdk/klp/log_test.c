/* SPDX-License-Identifier: Apache-2.0
 *
 * Key event logs: each rule of succession, and what thieves, forgers and torn files try.
 */
#include <klp/log.h>

#include "log_testing.h"

static struct t_identity node(bool recovery)
{
    struct t_identity identity;
    t_incept(&identity, KLP_KIND_NODE, KLP_ALG_ED25519, 1, recovery, NULL);
    return identity;
}

START_TEST(inception)
{
    struct t_identity one = node(true);
    const struct klp_event *event = klp_log_event(one.log, 0);
    struct klp_id id;
    struct klp_digest digest;
    struct klp_public key;
    klp_id_derive(KLP_KIND_NODE, event->body, &id, &digest);
    ck_assert(klp_id_eq(&id, klp_log_id(one.log)));
    ck_assert(memcmp(&digest, klp_log_identity(one.log), sizeof digest) == 0);
    ck_assert_int_eq(klp_log_kind(one.log), KLP_KIND_NODE);
    ck_assert_int_eq(klp_log_key(one.log, 0, &key), 0);
    struct klp_public expected = t_public(&one.current);
    ck_assert(memcmp(&key, &expected, sizeof key) == 0);
    ck_assert_int_eq(klp_log_key(one.log, 1, &key), KOS_E_NOTFOUND);
    ck_assert(!klp_log_revoked(one.log) && !klp_log_frozen(one.log));
    ck_assert(event->has_recovery);
    struct klp_id delegator;
    ck_assert(!klp_log_delegator(one.log, &delegator, &digest));
    klp_log_free(one.log);
}
END_TEST

START_TEST(empty_log)
{
    struct klp_log *log = klp_log_new();
    uint8_t *data;
    size_t len;
    ck_assert_uint_eq(klp_log_count(log), 0);
    ck_assert_ptr_null(klp_log_head(log));
    ck_assert_ptr_null(klp_log_id(log));
    ck_assert_ptr_null(klp_log_event(log, 0));
    ck_assert(!klp_log_revoked(log));
    ck_assert_int_eq(klp_log_may_sign(log, 0, T0, T0), KOS_E_NOTFOUND);
    ck_assert_int_eq(klp_log_did_document(log, &data, &len), KOS_E_NOTFOUND);
    ck_assert_int_eq(klp_log_text(log, 0, &data, &len), 0);
    ck_assert_uint_eq(len, 0);
    free(data);
    ck_assert_int_eq(klp_log_append_text(log, kos_bytes(NULL, 0), NULL), 0);
    klp_log_free(log);
    klp_log_free(NULL);
}
END_TEST

/* Keys of either algorithm follow each other. */
START_TEST(rotation_mixes_algorithms)
{
    struct t_identity one = node(false);
    struct klp_public key;
    for (int i = 0; i < 4; i++) {
        one.alg = i % 2 ? KLP_ALG_ED25519 : KLP_ALG_P256;
        t_rotate(&one);
        struct klp_public expected = t_public(&one.current);
        ck_assert_int_eq(klp_log_key(one.log, (uint64_t)i + 1, &key), 0);
        ck_assert(memcmp(&key, &expected, sizeof key) == 0);
    }
    ck_assert_uint_eq(klp_log_count(one.log), 5);
    uint8_t *text;
    size_t len;
    struct klp_log *copy = klp_log_new();
    ck_assert_int_eq(klp_log_text(one.log, 0, &text, &len), 0);
    ck_assert_int_eq(klp_log_append_text(copy, kos_bytes(text, len), NULL), 5);
    ck_assert_int_eq(klp_log_append_text(copy, kos_bytes(text, len), NULL), 0);
    free(text);
    ck_assert_int_eq(klp_log_text(one.log, 3, &text, &len), 0);
    ck_assert_int_eq(klp_log_append_text(copy, kos_bytes(text, len), NULL), 0);
    free(text);
    klp_log_free(copy);
    klp_log_free(one.log);
}
END_TEST

START_TEST(gap_prior_and_other_identity)
{
    struct t_identity one = node(false), other;
    struct klp_log *behind = klp_log_clone(one.log);
    struct t_entry entry;
    t_rotate(&one);
    t_rotate(&one);
    struct kos_bytes second = klp_log_entry(one.log, 2);
    ck_assert_int_eq(klp_log_append(behind, second, NULL), KOS_E_GAP);

    struct klp_event event = t_event(one.log, KLP_EVENT_ROTATION, 3);
    struct klp_secret key = t_fresh(&one), next = t_fresh(&one);
    event.key = t_public(&key);
    event.next = t_commit(&next);
    event.prior = klp_log_event(one.log, 1)->digest;
    t_make(&event, &one.next, &entry);
    t_append(one.log, &entry, KOS_E_GAP);

    t_incept(&other, KLP_KIND_NODE, KLP_ALG_ED25519, 100, false, NULL);
    ck_assert_int_eq(klp_log_append(one.log, klp_log_entry(other.log, 0), NULL), KOS_E_MISADDRESSED);
    t_rotate(&other);
    ck_assert_int_eq(klp_log_append(one.log, klp_log_entry(other.log, 1), NULL), KOS_E_MISADDRESSED);
    ck_assert_uint_eq(klp_log_count(one.log), 3);
    /* A first event that is no inception. */
    struct klp_log *empty = klp_log_new();
    ck_assert_int_eq(klp_log_append(empty, klp_log_entry(other.log, 1), NULL), KOS_E_GAP);
    klp_log_free(empty);
    klp_log_free(other.log);
    klp_log_free(behind);
    klp_log_free(one.log);
}
END_TEST

START_TEST(thief_of_current_key)
{
    struct t_identity one = node(true);
    struct t_entry entry;
    struct klp_secret key = t_fresh(&one), next = t_fresh(&one);
    t_rotate(&one);
    struct klp_secret stolen = one.current;

    t_rotation(&one, 2, &stolen, false, &key, &next, &entry);
    t_append(one.log, &entry, KOS_E_KEY);
    t_rotation(&one, 2, &stolen, true, &key, &next, &entry);
    t_append(one.log, &entry, KOS_E_SIGNATURE);
    struct klp_event event = t_event(one.log, KLP_EVENT_REVOCATION, 2);
    t_make(&event, &stolen, &entry);
    t_append(one.log, &entry, KOS_E_KEY);
    /* Nor at the place of the rotation that made it current: what signs a rotation is not what it installs. */
    t_rotation(&one, 1, &stolen, false, &key, &next, &entry);
    t_append(one.log, &entry, KOS_E_KEY);
    /* Claiming the committed key without having it. */
    t_rotation(&one, 2, &one.next, false, &key, &next, &entry);
    entry.data[entry.len - 10] = entry.data[entry.len - 10] == '0' ? '1' : '0';
    t_append(one.log, &entry, KOS_E_SIGNATURE);
    ck_assert_uint_eq(klp_log_count(one.log), 2);

    /* What it can: delegate, until the owner rotates at that place. */
    for (uint8_t i = 0; i < 3; i++) {
        t_delegation(one.log, 2u + i, &stolen, (uint8_t)(0xa0 + i), &entry);
        t_append(one.log, &entry, KLP_LOG_APPENDED);
    }
    struct t_entry theirs = entry;
    t_rotation(&one, 2, &one.next, false, &key, &next, &entry);
    t_append(one.log, &entry, KLP_LOG_SUPERSEDED);
    ck_assert_uint_eq(klp_log_count(one.log), 3);
    ck_assert_int_eq(klp_log_append(one.log, t_bytes(&theirs), NULL), KOS_E_GAP);
    klp_log_free(one.log);
}
END_TEST

START_TEST(superseded_is_stale)
{
    struct t_identity one = node(false);
    struct t_entry delegation, rotation;
    struct klp_secret key = t_fresh(&one), next = t_fresh(&one);
    t_delegation(one.log, 1, &one.current, 0xaa, &delegation);
    t_rotation(&one, 1, &one.next, false, &key, &next, &rotation);
    struct klp_log *late = klp_log_clone(one.log);
    t_append(one.log, &delegation, KLP_LOG_APPENDED);
    t_append(one.log, &delegation, KLP_LOG_KNOWN);
    t_append(one.log, &rotation, KLP_LOG_SUPERSEDED);
    t_append(one.log, &delegation, KOS_E_STALE);
    /* The other order of arrival ends in the same log. */
    t_append(late, &rotation, KLP_LOG_APPENDED);
    t_append(late, &delegation, KOS_E_STALE);
    ck_assert(kos_bytes_eq(klp_log_entry(late, 1), klp_log_entry(one.log, 1)));
    /* The retired key delegates nothing after it. */
    t_delegation(one.log, 2, &one.current, 0xaa, &delegation);
    t_append(one.log, &delegation, KOS_E_SIGNATURE);
    klp_log_free(late);
    klp_log_free(one.log);
}
END_TEST

START_TEST(duplicity_freezes)
{
    struct t_identity one = node(true);
    struct t_entry a, b, c;
    struct klp_secret k1 = t_fresh(&one), k2 = t_fresh(&one), k3 = t_fresh(&one), k4 = t_fresh(&one);
    struct kos_bytes left, right;
    t_rotation(&one, 1, &one.next, false, &k1, &k2, &a);
    t_rotation(&one, 1, &one.next, false, &k3, &k4, &b);
    ck_assert(!klp_log_duplicity(one.log, &left, &right));
    t_append(one.log, &a, KLP_LOG_APPENDED);
    t_append(one.log, &b, KOS_E_DUPLICITY);
    ck_assert(klp_log_frozen(one.log));
    ck_assert(klp_log_duplicity(one.log, &left, &right));
    ck_assert(kos_bytes_eq(left, t_bytes(&a)) && kos_bytes_eq(right, t_bytes(&b)));
    ck_assert_int_eq(klp_log_may_sign(one.log, 1, T0, T0), KOS_E_FROZEN);
    t_append(one.log, &a, KLP_LOG_KNOWN);
    t_append(one.log, &b, KOS_E_DUPLICITY);

    t_rotation(&one, 2, &k2, false, &k3, &k4, &c);
    t_append(one.log, &c, KOS_E_FROZEN);
    struct klp_event event = t_event(one.log, KLP_EVENT_REVOCATION, 2);
    t_make(&event, &k2, &c);
    t_append(one.log, &c, KOS_E_FROZEN);

    /* A clone is as frozen; the recovery key settles it, in each of the two, before the place and after. */
    struct klp_log *clone = klp_log_clone(one.log);
    ck_assert(klp_log_frozen(clone) && klp_log_duplicity(clone, &left, &right));
    t_rotation(&one, 1, &one.recovery, true, &k3, &k2, &c);
    t_append(clone, &c, KLP_LOG_SUPERSEDED);
    ck_assert(!klp_log_frozen(clone));
    ck_assert(klp_log_duplicity(clone, &left, &right));
    t_append(clone, &a, KOS_E_STALE);
    t_append(clone, &b, KOS_E_STALE);
    t_rotation(&one, 2, &one.recovery, true, &k3, &k4, &c);
    t_append(one.log, &c, KLP_LOG_APPENDED);
    ck_assert(!klp_log_frozen(one.log));
    t_append(one.log, &b, KOS_E_STALE);
    klp_log_free(clone);
    klp_log_free(one.log);
}
END_TEST

/* Two delegations at one place: frozen, until the next key says which one it follows. */
START_TEST(duplicity_of_delegations)
{
    struct t_identity one = node(false);
    struct t_entry a, b, rotation;
    struct klp_secret k1 = t_fresh(&one), k2 = t_fresh(&one);
    uint8_t *text;
    size_t len;
    t_delegation(one.log, 1, &one.current, 0xaa, &a);
    t_delegation(one.log, 1, &one.current, 0xbb, &b);
    struct klp_log *other = klp_log_clone(one.log), *third = klp_log_clone(one.log);
    t_append(one.log, &a, KLP_LOG_APPENDED);
    t_append(one.log, &b, KOS_E_DUPLICITY);
    t_append(other, &b, KLP_LOG_APPENDED);
    t_append(other, &a, KOS_E_DUPLICITY);
    t_append(third, &b, KLP_LOG_APPENDED);

    t_rotation(&one, 2, &one.next, false, &k1, &k2, &rotation);
    t_append(one.log, &rotation, KLP_LOG_APPENDED);
    ck_assert(!klp_log_frozen(one.log));
    t_append(one.log, &b, KOS_E_STALE);
    /* The others held the branch that lost: the log as a whole turns them, and only as a whole. */
    t_append(other, &rotation, KOS_E_GAP);
    ck_assert_int_eq(klp_log_text(one.log, 0, &text, &len), 0);
    ck_assert_int_eq(klp_log_append_text(other, kos_bytes(text, len), NULL), 2);
    ck_assert(!klp_log_frozen(other));
    ck_assert(
        klp_log_delegates(one.log, &klp_log_event(one.log, 1)->subject, &klp_log_event(one.log, 1)->subject_digest));
    ck_assert_int_eq(klp_log_append_text(third, kos_bytes(text, len), NULL), 2);
    for (uint64_t i = 0; i < 3; i++) {
        ck_assert(kos_bytes_eq(klp_log_entry(other, i), klp_log_entry(one.log, i)));
        ck_assert(kos_bytes_eq(klp_log_entry(third, i), klp_log_entry(one.log, i)));
    }
    free(text);
    klp_log_free(third);
    klp_log_free(other);
    klp_log_free(one.log);
}
END_TEST

/* Branches that part at a delegation and both rotate: the same next key spoke twice. */
START_TEST(duplicity_behind_delegations)
{
    struct t_identity one = node(true), two;
    struct t_entry entry;
    struct klp_secret k1 = t_fresh(&one), k2 = t_fresh(&one), k3 = t_fresh(&one), k4 = t_fresh(&one);
    uint8_t *text, *text2;
    size_t len, len2;
    two = one;
    two.log = klp_log_clone(one.log);
    t_delegation(one.log, 1, &one.current, 0xaa, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    t_rotation(&one, 2, &one.next, false, &k1, &k2, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    t_delegation(two.log, 1, &two.current, 0xbb, &entry);
    t_append(two.log, &entry, KLP_LOG_APPENDED);
    t_rotation(&two, 2, &two.next, false, &k3, &k4, &entry);
    t_append(two.log, &entry, KLP_LOG_APPENDED);
    ck_assert_int_eq(klp_log_text(one.log, 0, &text, &len), 0);
    ck_assert_int_eq(klp_log_text(two.log, 0, &text2, &len2), 0);
    ck_assert_int_eq(klp_log_append_text(one.log, kos_bytes(text2, len2), NULL), KOS_E_DUPLICITY);
    ck_assert_int_eq(klp_log_append_text(two.log, kos_bytes(text, len), NULL), KOS_E_DUPLICITY);
    ck_assert(klp_log_frozen(one.log) && klp_log_frozen(two.log));
    free(text);
    /* One goes on by the recovery key: both end there. */
    t_rotation(&one, 3, &one.recovery, true, &k4, &k3, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    ck_assert_int_eq(klp_log_text(one.log, 0, &text, &len), 0);
    ck_assert_int_eq(klp_log_append_text(two.log, kos_bytes(text, len), NULL), 3);
    ck_assert(!klp_log_frozen(two.log));
    ck_assert_int_eq(klp_log_append_text(two.log, kos_bytes(text2, len2), NULL), KOS_E_STALE);
    free(text);
    free(text2);
    klp_log_free(one.log);
    klp_log_free(two.log);
}
END_TEST

/* Five branches that part at event 1, heard of in every order and every choice: what stands is the same for all. */
enum { BRANCHES = 5 };

static void branch_texts(struct t_identity *one, uint8_t *ret_texts[BRANCHES], size_t ret_lens[BRANCHES])
{
    struct klp_secret k1 = t_fresh(one), k2 = t_fresh(one), k3 = t_fresh(one), k4 = t_fresh(one);
    struct t_entry entry;
    for (int i = 0; i < BRANCHES; i++) {
        struct t_identity two = *one;
        two.log = klp_log_clone(one->log);
        struct klp_event event = t_event(two.log, KLP_EVENT_REVOCATION, 1);
        event.by_recovery = true;
        switch (i) {
        case 0: t_delegation(two.log, 1, &two.current, 0xaa, &entry); break;
        case 1: t_delegation(two.log, 1, &two.current, 0xbb, &entry); break;
        case 2: t_rotation(&two, 1, &two.next, false, &k1, &k2, &entry); break;
        case 3: t_rotation(&two, 1, &two.recovery, true, &k3, &k4, &entry); break;
        default: t_make(&event, &two.recovery, &entry); break;
        }
        t_append(two.log, &entry, KLP_LOG_APPENDED);
        if (i == 0) { /* as strong as branch 2, by what follows */
            t_rotation(&two, 2, &two.next, false, &k3, &k2, &entry);
            t_append(two.log, &entry, KLP_LOG_APPENDED);
        }
        ck_assert_int_eq(klp_log_text(two.log, 0, &ret_texts[i], &ret_lens[i]), 0);
        klp_log_free(two.log);
    }
}

/* The branch that must stand among those heard of, or -1: frozen. */
static int expected_branch(unsigned heard)
{
    if (heard & 16)
        return 4;
    if (heard & 8)
        return 3;
    if ((heard & 5) == 5)
        return -1;
    return heard & 4 ? 2 : heard & 1 ? 0 : 1;
}

static void hear(uint8_t *const texts[BRANCHES], const size_t lens[BRANCHES], const struct klp_log *log, unsigned heard)
{
    for (int i = 0; i < BRANCHES; i++) {
        if (heard & 1u << i)
            continue;
        struct klp_log *next = klp_log_clone(log);
        (void)klp_log_append_text(next, kos_bytes(texts[i], lens[i]), NULL);
        unsigned now = heard | 1u << i;
        int branch = expected_branch(now);
        ck_assert_msg(klp_log_frozen(next) == (branch < 0), "heard %u, then %d", heard, i);
        if (branch >= 0) {
            uint8_t *text;
            size_t len;
            ck_assert_int_eq(klp_log_text(next, 0, &text, &len), 0);
            ck_assert_msg(kos_bytes_eq(kos_bytes(text, len), kos_bytes(texts[branch], lens[branch])), "heard %u, then %d",
                          heard, i);
            free(text);
        }
        hear(texts, lens, next, now);
        klp_log_free(next);
    }
}

START_TEST(order_does_not_decide)
{
    struct t_identity one = node(true);
    uint8_t *texts[BRANCHES];
    size_t lens[BRANCHES];
    branch_texts(&one, texts, lens);
    hear(texts, lens, one.log, 0);
    for (int i = 0; i < BRANCHES; i++)
        free(texts[i]);
    klp_log_free(one.log);
}
END_TEST

START_TEST(recovery_outranks)
{
    struct t_identity one = node(true), bare = node(false);
    struct t_entry entry, revocation;
    struct klp_secret k1 = t_fresh(&one), k2 = t_fresh(&one);
    t_rotate(&one);
    t_rotate(&one);
    t_rotate(&one);
    t_rotation(&one, 2, &one.recovery, true, &k1, &k2, &entry);
    t_append(one.log, &entry, KLP_LOG_SUPERSEDED);
    ck_assert_uint_eq(klp_log_count(one.log), 3);
    t_append(one.log, &entry, KLP_LOG_KNOWN);
    /* Only the recovery key names another one. */
    struct klp_event event = t_event(one.log, KLP_EVENT_ROTATION, 3);
    struct klp_secret k3 = t_fresh(&one), k4 = t_fresh(&one), thief = t_fresh(&one);
    event.key = t_public(&k3);
    event.next = t_commit(&k4);
    event.has_recovery = true;
    event.recovery = t_public(&thief);
    t_make(&event, &k2, &entry);
    t_append(one.log, &entry, KOS_E_KEY);
    event.by_recovery = true;
    t_make(&event, &one.recovery, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    t_rotation(&one, 4, &one.recovery, true, &k1, &k2, &entry);
    t_append(one.log, &entry, KOS_E_SIGNATURE);
    t_rotation(&one, 4, &thief, true, &k1, &k2, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    /* It outranks a revocation that the next key signed; one of its own is beyond appeal. */
    event = t_event(one.log, KLP_EVENT_REVOCATION, 5);
    t_make(&event, &k2, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    ck_assert(klp_log_revoked(one.log));
    event = t_event(one.log, KLP_EVENT_REVOCATION, 2);
    event.by_recovery = true;
    t_make(&event, &one.recovery, &revocation);
    t_append(one.log, &revocation, KLP_LOG_SUPERSEDED);
    ck_assert_uint_eq(klp_log_count(one.log), 3);
    t_rotation(&one, 2, &one.recovery, true, &k1, &k2, &entry);
    t_append(one.log, &entry, KOS_E_STALE);
    event.created++;
    t_make(&event, &one.recovery, &entry);
    t_append(one.log, &entry, KOS_E_REVOKED);
    ck_assert(!klp_log_frozen(one.log));
    /* Without one, nothing claims it. A first one may come later, and holds from the next event on. */
    t_rotation(&bare, 1, &one.recovery, true, &k1, &k2, &entry);
    t_append(bare.log, &entry, KOS_E_KEY);
    event = t_event(bare.log, KLP_EVENT_ROTATION, 1);
    event.key = t_public(&k1);
    event.next = t_commit(&k2);
    event.has_recovery = true;
    event.recovery = t_public(&one.recovery);
    t_make(&event, &bare.next, &entry);
    t_append(bare.log, &entry, KLP_LOG_APPENDED);
    t_rotation(&bare, 1, &one.recovery, true, &k3, &k4, &entry);
    t_append(bare.log, &entry, KOS_E_KEY);
    t_rotation(&bare, 2, &one.recovery, true, &k3, &k4, &entry);
    t_append(bare.log, &entry, KLP_LOG_APPENDED);
    klp_log_free(bare.log);
    klp_log_free(one.log);
}
END_TEST

START_TEST(revocation_is_final)
{
    struct t_identity one = node(true);
    struct t_entry entry;
    struct klp_public key;
    struct klp_secret k1 = t_fresh(&one), k2 = t_fresh(&one);
    struct klp_event event = t_event(one.log, KLP_EVENT_REVOCATION, 1);
    event.grace_ms = 5000;
    t_make(&event, &one.next, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    ck_assert(klp_log_revoked(one.log));
    ck_assert_int_eq(klp_log_key(one.log, 1, &key), KOS_E_REVOKED);
    ck_assert_int_eq(klp_log_key(one.log, 0, &key), 0);
    ck_assert_int_eq(klp_log_may_sign(one.log, 1, T0, T0), KOS_E_REVOKED);
    ck_assert_int_eq(klp_log_may_sign(one.log, 0, T0 + 999, T0 + 5999), 0);
    ck_assert_int_eq(klp_log_may_sign(one.log, 0, T0 + 999, T0 + 6000), KOS_E_REVOKED);
    ck_assert_int_eq(klp_log_may_sign(one.log, 0, T0 + 1000, T0 + 1000), KOS_E_REVOKED);
    t_rotation(&one, 2, &one.next, false, &k1, &k2, &entry);
    t_append(one.log, &entry, KOS_E_REVOKED);
    t_rotation(&one, 2, &one.recovery, true, &k1, &k2, &entry);
    t_append(one.log, &entry, KOS_E_REVOKED);
    t_delegation(one.log, 2, &one.current, 1, &entry);
    t_append(one.log, &entry, KOS_E_REVOKED);
    klp_log_free(one.log);
}
END_TEST

START_TEST(grace)
{
    struct t_identity one = node(false);
    struct t_entry entry;
    struct klp_secret k1 = t_fresh(&one), k2 = t_fresh(&one), k3 = t_fresh(&one), k4 = t_fresh(&one);
    t_delegation(one.log, 1, &one.current, 1, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    /* A delegation ends no key. */
    ck_assert_int_eq(klp_log_may_sign(one.log, 0, T0 + 1000000, T0 + 1000000), 0);
    t_rotation(&one, 2, &one.next, false, &k1, &k2, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    int64_t rotated = T0 + 2000, end = rotated + KLP_GRACE_DEFAULT_MS;
    for (uint64_t seq = 0; seq < 2; seq++) {
        ck_assert_int_eq(klp_log_may_sign(one.log, seq, rotated - 1, end - 1), 0);
        ck_assert_int_eq(klp_log_may_sign(one.log, seq, rotated - 1, end), KOS_E_EXPIRED);
        ck_assert_int_eq(klp_log_may_sign(one.log, seq, rotated, rotated), KOS_E_EXPIRED);
    }
    ck_assert_int_eq(klp_log_may_sign(one.log, 2, rotated - 1, end), 0);
    ck_assert_int_eq(klp_log_may_sign(one.log, 3, rotated, rotated), KOS_E_NOTFOUND);
    struct klp_event event = t_event(one.log, KLP_EVENT_ROTATION, 3);
    event.key = t_public(&k3);
    event.next = t_commit(&k4);
    event.compromised = true;
    t_make(&event, &k2, &entry);
    t_append(one.log, &entry, KLP_LOG_APPENDED);
    ck_assert(klp_log_event(one.log, 3)->compromised);
    ck_assert_int_eq(klp_log_event(one.log, 3)->grace_ms, 0);
    ck_assert_int_eq(klp_log_may_sign(one.log, 2, rotated, rotated), KOS_E_EXPIRED);
    /* The older key's end is its own rotation, not the later one. */
    ck_assert_int_eq(klp_log_may_sign(one.log, 0, rotated - 1, end - 1), 0);
    klp_log_free(one.log);
}
END_TEST

struct move {
    struct t_identity source, target, agent;
    struct klp_secret key, next;
    struct klp_acceptance acceptance;
};

static void move_init(struct move *move)
{
    t_incept(&move->source, KLP_KIND_NODE, KLP_ALG_ED25519, 1, false, NULL);
    t_incept(&move->target, KLP_KIND_NODE, KLP_ALG_ED25519, 50, false, NULL);
    t_incept(&move->agent, KLP_KIND_AGENT, KLP_ALG_ED25519, 100, true, move->source.log);
    move->key = t_secret(KLP_ALG_P256, 150);
    move->next = t_secret(KLP_ALG_P256, 151);
    memset(&move->acceptance, 0, sizeof move->acceptance);
    move->acceptance.agent = *klp_log_id(move->agent.log);
    move->acceptance.agent_identity = *klp_log_identity(move->agent.log);
    move->acceptance.host = *klp_log_id(move->target.log);
    move->acceptance.host_identity = *klp_log_identity(move->target.log);
    move->acceptance.seq = 1;
    move->acceptance.prior = klp_log_head(move->agent.log)->digest;
    move->acceptance.created = T0 + 500;
    move->acceptance.key = t_public(&move->key);
    move->acceptance.next = t_commit(&move->next);
    memset(&move->acceptance.bundle, 7, sizeof move->acceptance.bundle);
    uint8_t sealing[32] = { 9 };
    klp_x25519_public(sealing, move->acceptance.sealing_key);
}

static void move_fini(struct move *move)
{
    klp_log_free(move->source.log);
    klp_log_free(move->target.log);
    klp_log_free(move->agent.log);
}

START_TEST(delegation)
{
    struct move move;
    struct klp_id id;
    struct klp_digest identity;
    struct t_entry entry;
    move_init(&move);
    const struct klp_id *agent = klp_log_id(move.agent.log);
    ck_assert(!klp_log_delegates(move.source.log, agent, klp_log_identity(move.agent.log)));
    t_delegate(&move.source, move.agent.log);
    ck_assert(klp_log_delegates(move.source.log, agent, klp_log_identity(move.agent.log)));
    ck_assert(!klp_log_delegates(move.source.log, agent, klp_log_identity(move.target.log)));
    ck_assert(klp_log_delegator(move.agent.log, &id, &identity));
    ck_assert(klp_id_eq(&id, klp_log_id(move.source.log)));
    ck_assert(memcmp(&identity, klp_log_identity(move.source.log), sizeof identity) == 0);
    /* Only nodes delegate. */
    t_delegation(move.agent.log, 1, &move.agent.current, 1, &entry);
    t_append(move.agent.log, &entry, KOS_E_INVALID);
    move_fini(&move);
}
END_TEST

START_TEST(handover)
{
    struct move move;
    struct klp_id id;
    struct klp_digest identity;
    struct klp_public key;
    struct t_entry entry;
    uint8_t text[KLP_ACCEPTANCE_MAX];
    size_t len;
    move_init(&move);
    ck_assert_int_eq(klp_acceptance_make(&move.acceptance, &move.next, text, sizeof text, &len, NULL), KOS_E_KEY);
    ck_assert_int_eq(klp_acceptance_make(&move.acceptance, &move.key, text, 100, &len, NULL), KOS_E_LIMIT);
    ck_assert_int_eq(klp_acceptance_make(&move.acceptance, &move.key, text, sizeof text, &len, NULL), 0);
    struct klp_acceptance parsed;
    ck_assert_int_eq(klp_acceptance_parse(kos_bytes(text, len), &parsed, NULL), 0);
    ck_assert_int_eq(klp_acceptance_verify(&parsed), 0);
    ck_assert(memcmp(parsed.sealing_key, move.acceptance.sealing_key, 32) == 0);
    ck_assert(memcmp(&parsed.bundle, &move.acceptance.bundle, 32) == 0);

    struct klp_event event = t_event(move.agent.log, KLP_EVENT_HANDOVER, 1);
    event.acceptance = kos_bytes(text, len);
    t_make(&event, &move.agent.current, &entry);
    t_append(move.agent.log, &entry, KOS_E_KEY);
    t_make(&event, &move.agent.next, &entry);
    /* The new host's signature is its own: altered, the log does not verify. */
    struct t_entry altered = entry;
    uint8_t *digit = altered.data;
    while (memcmp(digit, "\"signature\":\"0x", 15) != 0)
        digit++;
    digit[20] = digit[20] == '0' ? '1' : '0';
    ck_assert_int_eq(klp_log_append(move.agent.log, t_bytes(&altered), NULL), KOS_E_SIGNATURE);
    t_append(move.agent.log, &entry, KLP_LOG_APPENDED);
    ck_assert(klp_log_delegator(move.agent.log, &id, &identity));
    ck_assert(klp_id_eq(&id, klp_log_id(move.target.log)));
    ck_assert_int_eq(klp_log_key(move.agent.log, 1, &key), 0);
    ck_assert(memcmp(&key, &move.acceptance.key, sizeof key) == 0);
    ck_assert_int_eq(klp_log_may_sign(move.agent.log, 0, T0 + 999, T0 + 2000), 0);
    ck_assert_int_eq(klp_log_may_sign(move.agent.log, 0, T0 + 1000, T0 + 2000), KOS_E_EXPIRED);

    /* The target goes on with the keys it chose; a node's log takes no handover. */
    struct klp_secret k1 = t_fresh(&move.agent), k2 = t_fresh(&move.agent);
    t_rotation(&move.agent, 2, &move.next, false, &k1, &k2, &entry);
    t_append(move.agent.log, &entry, KLP_LOG_APPENDED);
    uint8_t *log_text;
    size_t log_len;
    struct klp_log *copy = klp_log_new();
    ck_assert_int_eq(klp_log_text(move.agent.log, 0, &log_text, &log_len), 0);
    ck_assert_int_eq(klp_log_append_text(copy, kos_bytes(log_text, log_len), NULL), 3);
    free(log_text);
    klp_log_free(copy);
    move_fini(&move);
}
END_TEST

/* A forger who re-signs the event but cannot re-sign the acceptance; an acceptance for another place, agent, log. */
START_TEST(handover_misused)
{
    struct move move;
    struct t_entry entry;
    struct kos_error error;
    uint8_t text[KLP_ACCEPTANCE_MAX];
    size_t len;
    move_init(&move);
    ck_assert_int_eq(klp_acceptance_make(&move.acceptance, &move.key, text, sizeof text, &len, NULL), 0);
    uint8_t *digit = text;
    while (memcmp(digit, "\"signature\":\"0x", 15) != 0)
        digit++;
    digit[20] = digit[20] == '0' ? '1' : '0';
    struct klp_event event = t_event(move.agent.log, KLP_EVENT_HANDOVER, 1);
    event.acceptance = kos_bytes(text, len);
    t_make(&event, &move.agent.next, &entry);
    t_append(move.agent.log, &entry, KOS_E_SIGNATURE);

    struct klp_acceptance wrong[3] = { move.acceptance, move.acceptance, move.acceptance };
    wrong[0].seq = 2;
    wrong[1].prior.b[0] ^= 1;
    wrong[2].agent = *klp_log_id(move.source.log);
    wrong[2].agent_identity = *klp_log_identity(move.source.log);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(klp_acceptance_make(&wrong[i], &move.key, text, sizeof text, &len, NULL), 0);
        event.acceptance = kos_bytes(text, len);
        ck_assert_int_eq(klp_event_make(&event, &move.agent.next, entry.data, sizeof entry.data, &entry.len, &error),
                         KOS_E_INVALID);
    }
    /* The host id must be the head of its digest; another agent with the same id but another digest is refused too. */
    wrong[0] = move.acceptance;
    wrong[0].host.b[0] ^= 1;
    ck_assert_int_eq(klp_acceptance_make(&wrong[0], &move.key, text, sizeof text, &len, NULL), KOS_E_INVALID);
    wrong[0] = move.acceptance;
    wrong[0].agent_identity.b[31] ^= 1;
    ck_assert_int_eq(klp_acceptance_make(&wrong[0], &move.key, text, sizeof text, &len, NULL), 0);
    event.acceptance = kos_bytes(text, len);
    t_make(&event, &move.agent.next, &entry);
    t_append(move.agent.log, &entry, KOS_E_MISADDRESSED);
    /* In a node's log. */
    wrong[0] = move.acceptance;
    wrong[0].agent = *klp_log_id(move.source.log);
    wrong[0].agent_identity = *klp_log_identity(move.source.log);
    wrong[0].prior = klp_log_head(move.source.log)->digest;
    ck_assert_int_eq(klp_acceptance_make(&wrong[0], &move.key, text, sizeof text, &len, NULL), 0);
    event = t_event(move.source.log, KLP_EVENT_HANDOVER, 1);
    event.acceptance = kos_bytes(text, len);
    t_make(&event, &move.source.next, &entry);
    t_append(move.source.log, &entry, KOS_E_INVALID);
    /* A lost target is mended by the recovery key: at the handover's place. */
    ck_assert_int_eq(klp_acceptance_make(&move.acceptance, &move.key, text, sizeof text, &len, NULL), 0);
    event = t_event(move.agent.log, KLP_EVENT_HANDOVER, 1);
    event.acceptance = kos_bytes(text, len);
    t_make(&event, &move.agent.next, &entry);
    t_append(move.agent.log, &entry, KLP_LOG_APPENDED);
    struct klp_secret k1 = t_fresh(&move.agent), k2 = t_fresh(&move.agent);
    t_rotation(&move.agent, 1, &move.agent.recovery, true, &k1, &k2, &entry);
    t_append(move.agent.log, &entry, KLP_LOG_SUPERSEDED);
    move_fini(&move);
}
END_TEST

static const char *const inception_text =
    "{\"body\":{\"created\":1,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}";

static int32_t parse_variant(const char *format, const char *key, const char *extra)
{
    char text[2048];
    struct klp_event event;
    struct kos_error error = { 0 };
    int len = snprintf(text, sizeof text, format, key, 5, extra, 0);
    int32_t result = klp_event_parse(kos_bytes(text, (size_t)len), &event, &error);
    ck_assert(result == 0 || error.text[0]);
    ck_assert_int_eq(result, result == 0 ? 0 : error.code);
    return result;
}

START_TEST(shape)
{
    struct klp_secret secret = t_secret(KLP_ALG_ED25519, 1);
    struct klp_public public = t_public(&secret);
    char key[KLP_KEY_TEXT_MAX], extra[1024];
    klp_public_text(&public, key);
    const char *w1 = "aeaqcaibaeaqcaibaeaqcaibae", *w2 = "aiaqeaqcaibaeaqcaibaeaqcab";
    ck_assert_int_eq(parse_variant(inception_text, key, ""), 0);
    /* Members that this type, or none, has. */
    ck_assert_int_eq(parse_variant(inception_text, key, ",\"zzz\":1"), KOS_E_SYNTAX);
    snprintf(extra, sizeof extra, ",\"witness_threshold\":1,\"witnesses\":[\"%s\"]", w1);
    struct klp_id id;
    ck_assert_int_eq(klp_id_parse(kos_bytes_str(w1), &id), 0);
    ck_assert_int_eq(parse_variant(inception_text, key, extra), 0);
    snprintf(extra, sizeof extra, ",\"witness_threshold\":2,\"witnesses\":[\"%s\"]", w1);
    ck_assert_int_eq(parse_variant(inception_text, key, extra), KOS_E_SYNTAX);
    snprintf(extra, sizeof extra, ",\"witness_threshold\":1,\"witnesses\":[\"%s\",\"%s\"]", w1, w1);
    ck_assert_int_eq(parse_variant(inception_text, key, extra), KOS_E_SYNTAX);
    snprintf(extra, sizeof extra, ",\"witness_threshold\":1,\"witnesses\":[\"%s\",\"%s\"]", w1, w2);
    ck_assert_int_lt(parse_variant(inception_text, key, extra), 0); /* spare bits */
    ck_assert_int_eq(parse_variant(inception_text, key, ",\"witness_threshold\":0,\"witnesses\":[]"), KOS_E_LIMIT);
    ck_assert_int_eq(parse_variant(inception_text, key, ",\"witness_threshold\":1"), KOS_E_SYNTAX);
    ck_assert_int_eq(parse_variant(inception_text, key, ",\"witnesses\":3"), KOS_E_SYNTAX);
    size_t at = (size_t)snprintf(extra, sizeof extra, ",\"witness_threshold\":1,\"witnesses\":[");
    for (int i = 0; i <= KLP_WITNESSES_MAX; i++)
        at += (size_t)snprintf(extra + at, sizeof extra - at, "%s\"aeaqcaibaeaqcaibaeaqcaib%c%c\"", i ? "," : "",
                               'a' + i, 'a' + 4 * (i % 4));
    snprintf(extra + at, sizeof extra - at, "]");
    ck_assert_int_eq(parse_variant(inception_text, key, extra), KOS_E_LIMIT);
    ck_assert_int_eq(parse_variant(inception_text, "z6Mk", ""), KOS_E_KEY);
    ck_assert_int_lt(parse_variant("%s", key, ""), 0);
    ck_assert_int_lt(parse_variant("{\"body\":{},\"signature\":\"0x\"}%.0s", key, ""), 0);
    static const char *const wrong[] = {
        /* seq 1, a doc, an agent without delegator, an unknown type, a member of the wrong type */
        "{\"body\":{\"created\":1,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":1,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":1,\"key\":\"%s\",\"kind\":\"doc\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":1,\"key\":\"%s\",\"kind\":\"agent\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":1,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"Inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":-1,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":\"1\",\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":1.5,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":1,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%063d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":1,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0126d\"}",
        "{\"body\":{\"created\":1,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0X%0128d\"}",
        "{\"body\":{\"created\":1,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"more\":1,\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":1,\"id\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"created\":1,\"key\":\"%s\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
        "{\"body\":{\"compromised\":true,\"created\":1,\"key\":\"%s\",\"kind\":\"node\",\"next\":\"0x%064d\",\"seq\":0,\"type\":\"inception\"%s},\"signature\":\"0x%0128d\"}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(parse_variant(wrong[i], key, "") < 0, "variant %zu is taken", i);
}
END_TEST

/* Members that exclude each other, and commitments that commit to nothing. */
START_TEST(making_refuses)
{
    struct t_identity one = node(false);
    struct t_entry entry;
    struct kos_error error;
    struct klp_secret k1 = t_fresh(&one);
    struct klp_event event = t_event(one.log, KLP_EVENT_ROTATION, 1);
    event.key = t_public(&k1);
    event.next = t_commit(&k1);
    ck_assert_int_eq(klp_event_make(&event, &one.next, entry.data, sizeof entry.data, &entry.len, &error), KOS_E_KEY);
    event.next = t_commit(&one.next);
    ck_assert_int_eq(klp_event_make(&event, &one.next, entry.data, sizeof entry.data, &entry.len, &error), KOS_E_KEY);
    event.next = t_commit(&one.current);
    event.grace_ms = KLP_GRACE_MAX_MS + 1;
    ck_assert_int_eq(klp_event_make(&event, &one.next, entry.data, sizeof entry.data, &entry.len, &error), KOS_E_LIMIT);
    event.grace_ms = -1;
    ck_assert_int_lt(klp_event_make(&event, &one.next, entry.data, sizeof entry.data, &entry.len, &error), 0);
    event.grace_ms = 0;
    for (size_t cap = 0; cap < 700; cap += 7) {
        int32_t result = klp_event_make(&event, &one.next, entry.data, cap, &entry.len, &error);
        ck_assert_int_eq(result, result == 0 ? 0 : KOS_E_LIMIT);
    }
    event.has_recovery = true;
    event.recovery = event.key;
    ck_assert_int_eq(klp_event_make(&event, &one.next, entry.data, sizeof entry.data, &entry.len, &error), KOS_E_KEY);
    event.has_recovery = false;
    event.key.len = 0;
    ck_assert_int_lt(klp_event_make(&event, &one.next, entry.data, sizeof entry.data, &entry.len, &error), 0);
    event.seq = 0;
    ck_assert_int_lt(klp_event_make(&event, &one.next, entry.data, sizeof entry.data, &entry.len, &error), 0);
    event.type = 77;
    ck_assert_int_eq(klp_event_make(&event, &one.next, entry.data, sizeof entry.data, &entry.len, &error),
                     KOS_E_INVALID);
    event = (struct klp_event){
        .type = KLP_EVENT_INCEPTION, .kind = KLP_KIND_NODE, .key = t_public(&k1), .next = t_commit(&one.next)
    };
    ck_assert_int_eq(klp_event_make(&event, &one.current, entry.data, sizeof entry.data, &entry.len, &error),
                     KOS_E_KEY);
    event.kind = KLP_KIND_DOC;
    ck_assert_int_eq(klp_event_make(&event, &k1, entry.data, sizeof entry.data, &entry.len, &error), KOS_E_INVALID);
    klp_log_free(one.log);
}
END_TEST

/* A log cut off at any byte gives an error or, at a line's end, a shorter log; never another one. */
START_TEST(truncated_everywhere)
{
    struct t_identity one = node(true);
    uint8_t *text;
    size_t len;
    t_rotate(&one);
    t_rotate(&one);
    ck_assert_int_eq(klp_log_text(one.log, 0, &text, &len), 0);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1); /* its own block, so that a sanitizer sees a step beyond */
        memcpy(copy, text, cut);
        struct klp_log *log = klp_log_new();
        int32_t result = klp_log_append_text(log, kos_bytes(copy, cut), NULL);
        bool whole = cut == 0 || text[cut - 1] == '\n';
        ck_assert_msg(whole == (result >= 0), "cut at %zu of %zu: %d", cut, len, result);
        ck_assert_uint_lt(klp_log_count(log), 3);
        klp_log_free(log);
        free(copy);
    }
    free(text);
    klp_log_free(one.log);
}
END_TEST

/* No altered byte is taken: each is covered by a signature or refused as text. */
START_TEST(altered_everywhere)
{
    struct t_identity one = node(true);
    struct klp_log *base = klp_log_clone(one.log);
    t_rotate(&one);
    struct kos_bytes entry = klp_log_entry(one.log, 1);
    uint8_t *copy = malloc(entry.len);
    for (size_t i = 0; i < entry.len; i++)
        for (unsigned bit = 0; bit < 8; bit += 3) {
            memcpy(copy, entry.data, entry.len);
            copy[i] ^= (uint8_t)(1u << bit);
            ck_assert_msg(klp_log_append(base, kos_bytes(copy, entry.len), NULL) < 0, "byte %zu altered and taken", i);
        }
    ck_assert_uint_eq(klp_log_count(base), 1);
    ck_assert_int_eq(klp_log_append(base, entry, NULL), KLP_LOG_APPENDED);
    free(copy);
    klp_log_free(base);
    klp_log_free(one.log);
}
END_TEST

START_TEST(swapped_and_replayed)
{
    struct t_identity one = node(false);
    t_rotate(&one);
    t_rotate(&one);
    struct klp_log *log = klp_log_new();
    ck_assert_int_eq(klp_log_append(log, klp_log_entry(one.log, 0), NULL), 0);
    ck_assert_int_eq(klp_log_append(log, klp_log_entry(one.log, 2), NULL), KOS_E_GAP);
    ck_assert_int_eq(klp_log_append(log, klp_log_entry(one.log, 1), NULL), 0);
    ck_assert_int_eq(klp_log_append(log, klp_log_entry(one.log, 0), NULL), KLP_LOG_KNOWN);
    ck_assert_int_eq(klp_log_append(log, klp_log_entry(one.log, 1), NULL), KLP_LOG_KNOWN);
    ck_assert_int_eq(klp_log_append(log, klp_log_entry(one.log, 2), NULL), KLP_LOG_APPENDED);
    klp_log_free(log);
    klp_log_free(one.log);
}
END_TEST

START_TEST(limits)
{
    struct t_identity one = node(false);
    struct t_entry entry;
    static uint8_t big[KLP_EVENT_MAX + 1];
    struct klp_event event;
    memset(big, ' ', sizeof big);
    ck_assert_int_eq(klp_event_parse(kos_bytes(big, sizeof big), &event, NULL), KOS_E_LIMIT);
    for (uint64_t seq = 1; seq < KLP_LOG_EVENTS_MAX; seq++) {
        t_delegation(one.log, seq, &one.current, (uint8_t)seq, &entry);
        t_append(one.log, &entry, KLP_LOG_APPENDED);
    }
    t_delegation(one.log, KLP_LOG_EVENTS_MAX, &one.current, 1, &entry);
    t_append(one.log, &entry, KOS_E_LIMIT);
    ck_assert_uint_eq(klp_log_count(one.log), KLP_LOG_EVENTS_MAX);
    /* The owner can still rotate, in the place of a delegation. */
    struct klp_secret k1 = t_fresh(&one), k2 = t_fresh(&one);
    t_rotation(&one, KLP_LOG_EVENTS_MAX - 1, &one.next, false, &k1, &k2, &entry);
    t_append(one.log, &entry, KLP_LOG_SUPERSEDED);
    klp_log_free(one.log);
}
END_TEST

TESTS("klp/log", inception, empty_log, rotation_mixes_algorithms, gap_prior_and_other_identity, thief_of_current_key,
      superseded_is_stale, duplicity_freezes, duplicity_of_delegations, duplicity_behind_delegations, order_does_not_decide, recovery_outranks,
      revocation_is_final, grace, delegation, handover, handover_misused, shape, making_refuses, truncated_everywhere,
      altered_everywhere, swapped_and_replayed, limits)
