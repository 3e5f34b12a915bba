/* SPDX-License-Identifier: Apache-2.0
 * What is put in is found again, the nearest first. */
#include <kos_test.h>
#include <kos/vector.h>

static struct {
    int completed;
    int32_t status;
    uint8_t bytes[4096];
    struct kos_bytes result;
} seen;

static void on_complete(void *arg, uint64_t op, int32_t status, struct kos_bytes result)
{
    (void)arg;
    (void)op;
    CHECK(result.len <= sizeof seen.bytes);
    if (result.len)
        memcpy(seen.bytes, result.data, result.len);
    seen.result = kos_bytes(seen.bytes, result.len);
    seen.status = status;
    seen.completed++;
}

/* The id of the next pair of a result. */
static bool next_is(const char *id)
{
    struct kos_bytes key, value;
    return kos_pair_next(&seen.result, &key, &value) == 1 && kos_bytes_eq(key, kos_bytes_str(id));
}

int main(int argc, char **argv)
{
    const struct kos_plugin *plugin = load(argc > 1 ? argv[1] : "./brute.so");
    const struct kos_vector *v = table(plugin, KOS_VECTOR);
    const struct poll_host_hooks hooks = { .complete = on_complete };
    struct poll_host *host = begin(plugin, NULL, &hooks);
    void *self = poll_host_self(host);
    static const float at[3][2] = { { 0, 0 }, { 3, 4 }, { 1, 0 } };
    const struct kos_space space = { .size = sizeof space, .dimension = 2, .metric = KOS_METRIC_L2 };
    static const char *const ids[3] = { "zero", "far", "near" };
    struct kos_item items[3];
    const struct kos_item *list[3];
    for (size_t i = 0; i < 3; i++) {
        items[i] = (struct kos_item){ .size = sizeof items[i],
                                      .id = kos_bytes_str(ids[i]),
                                      .version = 1,
                                      .vector = at[i],
                                      .metadata = kos_bytes_str(i == 1 ? "{\"lang\":\"de\"}" : "{\"lang\":\"en\"}"),
                                      .digest = { (uint8_t)(i + 1) } };
        list[i] = &items[i];
    }
    v->open(self, 3, 1, "test", &space);
    CHECK(seen.status == KOS_OK);
    v->upsert(self, 5, 1, list, 3);
    CHECK(seen.status == KOS_OK);

    struct kos_query query = { .size = sizeof query, .k = 2, .vector = at[0] };
    v->query(self, 7, 1, &query);
    CHECK(next_is("zero") && next_is("near") && !next_is("far"));
    query.filter = kos_bytes_str("{\"lang\":\"de\"}");
    v->query(self, 9, 1, &query);
    CHECK(next_is("far") && !next_is("near"));

    uint8_t all[2][32] = { { 0 } };
    memset(all[1], 0xff, sizeof all[1]);
    v->scan(self, 11, 1, all[0], all[1], 10);
    CHECK(next_is("zero") && next_is("far") && next_is("near"));
    v->remove(self, 13, 1, kos_bytes_str("far"), 2);
    CHECK(seen.status == KOS_OK);
    v->get(self, 15, 1, kos_bytes_str("far"));
    CHECK(seen.status == KOS_E_NOTFOUND);
    v->drop(self, 17, 1);
    CHECK(seen.status == KOS_OK && seen.completed == 8);
    finish(host);
    return 0;
}
