/* SPDX-License-Identifier: Apache-2.0
 *
 * Quotas, counted. Each limit of the policy has one bucket for each node it is applied to: an agent counts as its node,
 * so making agents makes no room. Minutes are token buckets in memory, full after a minute of silence; days are UTC
 * days, written to the store every few seconds, so a restart gives nothing back. The table is bounded: a bucket that is
 * full again can go, and when none can, the newcomer is refused.
 */
#include "trust/trust_private.h"

#include <math.h>
#include <stdlib.h>

#include "core/buf.h"

enum { MINUTE_MS = 60000, DAY_MS = 86400000, FLUSH_MS = 5000, BUCKET_KEY = KLP_ID_LEN + 8 };

struct trust_bucket {
    UT_hash_handle hh;
    uint8_t key[BUCKET_KEY];    /* the node that is counted, then the limit's pattern */
    double messages, bytes;     /* what is left of a minute's worth */
    bool filled[2];             /* whether those were ever used; a fresh one is full */
    uint64_t at_ms;             /* when that was so, on the monotonic clock */
    uint64_t day, day_bytes;    /* UTC day, and what it took so far */
    bool day_known, dirty;
    uint64_t tasks;
};

static void account_of(const struct kos_policy_request *r, const struct policy_group *group, uint8_t key[BUCKET_KEY])
{
    static const struct klp_id none;
    memcpy(key, klp_id_eq(&r->host, &none) ? r->peer.b : r->host.b, KLP_ID_LEN);
    trust_put_u64(key + KLP_ID_LEN, group->key);
}

/* A clock set back gives no second day. */
static uint64_t today(struct kos_trust *trust, const struct trust_bucket *bucket)
{
    int64_t now = kos_now_ms(trust->env);
    uint64_t day = now > 0 ? (uint64_t)now / DAY_MS : 0;
    return bucket && bucket->day_known && bucket->day > day ? bucket->day : day;
}

static void write_bucket(struct kos_tx *tx, struct trust_bucket *bucket)
{
    uint8_t value[16];
    trust_put_u64(value, bucket->day);
    trust_put_u64(value + 8, bucket->day_bytes);
    kos_tx_put(tx, "quota", kos_bytes(bucket->key, sizeof bucket->key), kos_bytes(value, sizeof value));
    bucket->dirty = false;
}

struct old_days {
    struct kos_tx *tx;
    uint64_t day;
};

static bool delete_old(void *arg, struct kos_bytes key, struct kos_bytes value)
{
    struct old_days *old = arg;
    if (value.len != 16 || trust_get_u64(value.data) < old->day)
        kos_tx_delete(old->tx, "quota", key);
    return true;
}

/* Not awaited: what a crash forgets is at most the last few seconds' counting. */
static void flush(void *arg)
{
    struct kos_trust *trust = arg;
    struct old_days old = { .tx = kos_tx_begin(trust->store), .day = today(trust, NULL) };
    struct trust_bucket *bucket, *next;
    trust->flush_set = false;
    if (old.day != trust->cleaned_day)
        kos_store_scan(trust->store, "quota", kos_bytes(NULL, 0), kos_bytes(NULL, 0), delete_old, &old);
    trust->cleaned_day = old.day;
    HASH_ITER(hh, trust->buckets, bucket, next)
        if (bucket->dirty)
            write_bucket(old.tx, bucket);
    if (kos_tx_commit(old.tx, NULL, NULL) < 0 && kos_log_limit_pass(trust->said, "quota", NULL))
        kos_log(trust->env, KOS_LOG_WARNING, "trust", "the day's quotas cannot be stored");
}

void trust_quota_fini(struct kos_trust *trust)
{
    struct trust_bucket *bucket, *next;
    if (trust->flush_set)
        flush(trust);
    kos_timer_free(trust->env, trust->flush);
    HASH_ITER(hh, trust->buckets, bucket, next) {
        HASH_DEL(trust->buckets, bucket);
        free(bucket);
    }
}

static bool load_day(struct kos_trust *trust, struct trust_bucket *bucket)
{
    uint8_t *value;
    size_t len;
    int32_t rc = trust_read(trust, "quota", kos_bytes(bucket->key, sizeof bucket->key), &value, &len);
    if (rc < 0 && rc != KOS_E_NOTFOUND)
        return false;
    bucket->day_known = true;
    bucket->day = today(trust, NULL);
    if (rc < 0)
        return true;
    if (len == 16 && trust_get_u64(value) >= bucket->day) {
        bucket->day = trust_get_u64(value);
        bucket->day_bytes = trust_get_u64(value + 8);
    }
    free(value);
    return true;
}

/* The oldest goes if it says nothing: a minute without use fills it again, and its day is in the store. */
static bool make_room(struct kos_trust *trust)
{
    struct trust_bucket *oldest = trust->buckets;
    if (HASH_COUNT(trust->buckets) < TRUST_BUCKETS_MAX)
        return true;
    if (kos_mono_ms(trust->env) - oldest->at_ms < MINUTE_MS || oldest->dirty || oldest->tasks)
        return false;
    HASH_DEL(trust->buckets, oldest);
    free(oldest);
    return true;
}

/* The bucket, filled up to now; NULL when there is no room for another, or its day cannot be read. */
static struct trust_bucket *bucket_of(struct kos_trust *trust, const struct kos_policy_request *r,
                                      const struct policy_group *group)
{
    uint8_t key[BUCKET_KEY];
    struct trust_bucket *bucket;
    uint64_t now = kos_mono_ms(trust->env);
    account_of(r, group, key);
    HASH_FIND(hh, trust->buckets, key, sizeof key, bucket);
    if (bucket) {
        HASH_DEL(trust->buckets, bucket); /* to the young end */
    } else {
        if (!make_room(trust))
            return NULL;
        bucket = kos_new(sizeof *bucket);
        memcpy(bucket->key, key, sizeof key);
        bucket->at_ms = now;
    }
    HASH_ADD(hh, trust->buckets, key, sizeof bucket->key, bucket);
    double part = (double)(now - bucket->at_ms) / MINUTE_MS, *const levels[2] = { &bucket->messages, &bucket->bytes };
    for (int w = 0; w < 2; w++) {
        double most = group->from[w] ? (double)group->from[w]->values[w] : 0;
        double level = bucket->filled[w] ? *levels[w] + part * most : most;
        *levels[w] = level > most ? most : level;
        bucket->filled[w] = group->from[w] != NULL;
    }
    bucket->at_ms = now;
    if (group->from[LIMIT_DAY] && !bucket->day_known && !load_day(trust, bucket))
        return NULL;
    if (bucket->day_known && today(trust, bucket) != bucket->day) {
        bucket->day = today(trust, bucket);
        bucket->day_bytes = 0;
    }
    return bucket;
}

static const char *unit_of(int which)
{
    static const char *const units[LIMIT_COUNT] = { "messages a minute", "bytes a minute", "bytes a day", "tasks at once" };
    return units[which];
}

static int32_t refuse(const struct kos_policy_request *r, const struct policy_limit *limit, int which, uint64_t wait_ms,
                      struct kos_policy_decision *d)
{
    char peer[160], when[64] = "when one of them has ended";
    policy_peer_text(r, peer, sizeof peer);
    *d = (struct kos_policy_decision){ .code = KOS_E_QUOTA, .retry_ms = wait_ms };
    policy_limit_text(limit, which, d->rule);
    if (which != LIMIT_TASKS)
        snprintf(when, sizeof when, "in %llu s", (unsigned long long)((wait_ms + 999) / 1000));
    snprintf(d->text, sizeof d->text, "%s has used up its quota of %llu %s (%s): it can try again %s", peer,
             (unsigned long long)limit->values[which], unit_of(which), d->rule, when);
    snprintf(d->peer_text, sizeof d->peer_text, "the quota of %llu %s is used up here; try again %s",
             (unsigned long long)limit->values[which], unit_of(which), when);
    return d->code;
}

static int32_t refuse_crowd(const struct kos_policy_request *r, struct kos_policy_decision *d)
{
    char peer[160];
    policy_peer_text(r, peer, sizeof peer);
    *d = (struct kos_policy_decision){ .code = KOS_E_QUOTA, .retry_ms = MINUTE_MS };
    snprintf(d->rule, sizeof d->rule, "built-in: quotas of %d peers and limits a minute", TRUST_BUCKETS_MAX);
    snprintf(d->text, sizeof d->text,
             "%s is one of more than %d whose quotas are counted this minute: it can try again later", peer,
             TRUST_BUCKETS_MAX);
    snprintf(d->peer_text, sizeof d->peer_text, "too many peers at once; try again in a minute");
    return d->code;
}

/* How long until the bucket holds `need`; 0: it does. What it can never hold, policy_decide refused before. */
static uint64_t wait_for(double level, double need, uint64_t most)
{
    return level >= need ? 0 : (uint64_t)ceil((need - level) * MINUTE_MS / (double)most);
}

static int32_t check(struct kos_trust *trust, const struct kos_policy_request *r, const struct policy_group *group,
                     struct kos_policy_decision *d)
{
    const struct policy_limit *const *from = group->from;
    struct trust_bucket *bucket = bucket_of(trust, r, group);
    uint64_t wait;
    if (!bucket && trust->unread < 0) {
        trust_refuse_unread(trust, d);
        return d->code;
    }
    if (!bucket)
        return refuse_crowd(r, d);
    if (from[LIMIT_MESSAGES] && !r->part &&
        (wait = wait_for(bucket->messages, 1, from[LIMIT_MESSAGES]->values[LIMIT_MESSAGES])))
        return refuse(r, from[LIMIT_MESSAGES], LIMIT_MESSAGES, wait, d);
    if (from[LIMIT_BYTES] &&
        (wait = wait_for(bucket->bytes, (double)r->size_bytes, from[LIMIT_BYTES]->values[LIMIT_BYTES])))
        return refuse(r, from[LIMIT_BYTES], LIMIT_BYTES, wait, d);
    if (from[LIMIT_DAY] && bucket->day_bytes + r->size_bytes > from[LIMIT_DAY]->values[LIMIT_DAY]) {
        int64_t now = kos_now_ms(trust->env), next = (int64_t)(bucket->day + 1) * DAY_MS;
        return refuse(r, from[LIMIT_DAY], LIMIT_DAY, next > now ? (uint64_t)(next - now) : 0, d);
    }
    return KOS_OK;
}

static void charge(struct kos_trust *trust, const struct kos_policy_request *r, const struct policy_group *group)
{
    struct trust_bucket *bucket = bucket_of(trust, r, group);
    if (!bucket)
        return;
    bucket->messages -= r->part ? 0 : 1;
    bucket->bytes -= (double)r->size_bytes;
    if (!group->from[LIMIT_DAY])
        return;
    bucket->day_bytes += r->size_bytes;
    bucket->dirty = true;
    if (!trust->flush)
        trust->flush = kos_timer_new(trust->env, flush, trust);
    if (!trust->flush_set)
        kos_timer_set(trust->env, trust->flush, FLUSH_MS);
    trust->flush_set = true;
}

static bool counts(const struct policy_group *group)
{
    return group->from[LIMIT_MESSAGES] || group->from[LIMIT_BYTES] || group->from[LIMIT_DAY];
}

/* All limits that apply are asked before any is charged: what one refuses costs nothing at the others. */
int32_t kos_trust_quota_take(struct kos_trust *trust, const struct kos_policy_request *request,
                             struct kos_policy_decision *ret_decision)
{
    const struct kos_policy *policy = trust->policy;
    if (kos_keys_find(trust->keys, &request->peer))
        return KOS_OK;
    trust->unread = KOS_OK;
    for (size_t i = 0; i < policy->group_count; i++) {
        const struct policy_group *group = &policy->groups[i];
        int32_t rc =
            counts(group) && policy_group_applies(group, request) ? check(trust, request, group, ret_decision) : 0;
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < policy->group_count; i++)
        if (counts(&policy->groups[i]) && policy_group_applies(&policy->groups[i], request))
            charge(trust, request, &policy->groups[i]);
    return KOS_OK;
}

/* Tasks are counted for each node whatever the policy says at the time, so that a policy loaded meanwhile finds the
 * right number. No pattern has key 0 but by a chance of 2^-64, which would cost nothing. */
static const struct policy_group all_tasks;

int32_t kos_trust_tasks_take(struct kos_trust *trust, const struct kos_policy_request *request,
                             struct kos_policy_decision *ret_decision)
{
    const struct policy_limit *rules[LIMIT_COUNT];
    if (kos_keys_find(trust->keys, &request->peer))
        return KOS_OK;
    policy_limits_of(trust->policy, request, rules);
    const struct policy_limit *limit = rules[LIMIT_TASKS];
    struct trust_bucket *bucket = bucket_of(trust, request, &all_tasks);
    if (!bucket)
        return limit ? refuse_crowd(request, ret_decision) : KOS_OK;
    if (limit && bucket->tasks >= limit->values[LIMIT_TASKS])
        return refuse(request, limit, LIMIT_TASKS, 0, ret_decision);
    bucket->tasks++;
    return KOS_OK;
}

void kos_trust_tasks_give(struct kos_trust *trust, const struct kos_policy_request *request)
{
    uint8_t key[BUCKET_KEY];
    struct trust_bucket *bucket;
    account_of(request, &all_tasks, key);
    HASH_FIND(hh, trust->buckets, key, sizeof key, bucket);
    if (bucket && bucket->tasks)
        bucket->tasks--;
}
