/* SPDX-License-Identifier: Apache-2.0
 * The LoRa transport: links on a shared medium, credit, budget, ends, settings. */
#include "lora_testing.h"

START_TEST(test_two_nodes)
{
    struct seen_link *a, *b;
    uint8_t data[495];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    sim_begin((const char *const[]){ "--speed", "20", NULL });
    all_on_air(2, NULL);
    ck_assert_str_eq(nodes[0].address, "lora://0x0100");
    a = dial(&nodes[0], 4, 1);
    ck_assert_uint_eq(a->info.flags, KOS_LINK_SHARED);
    ck_assert_uint_eq(a->info.mtu_bytes, 495);
    ck_assert_uint_eq(a->info.cost, 10000);
    ck_assert_uint_eq(a->info.bits_per_second, 21875);
    ck_assert_uint_eq(a->info.airtime_ms_per_hour, 0);
    ck_assert_uint_eq(a->window, 990);
    ck_assert_uint_eq(a->info.short_local, 0x100);
    ck_assert_uint_eq(a->info.short_remote, 0x101);
    ck_assert_str_eq(a->local, "lora://0x0100");
    ck_assert_int_eq((int)sim_number(-1, "frames"), 0); /* dialling says nothing */
    ck_assert(say(&nodes[0], a, data, sizeof data));
    ck_assert(say(&nodes[0], a, data, 1));
    UNTIL((b = accepted(&nodes[1], 0)));
    for (int i = 0; i < 100; i++)
        run();
    ck_assert_int_eq(b->received, 0); /* no credit, no bytes */
    grant(&nodes[1], b, 495);
    UNTIL(b->received == 1);
    ck_assert_uint_eq(b->last_len, sizeof data);
    ck_assert_mem_eq(b->last, data, sizeof data);
    UNTIL(a->credit == a->window);
    grant(&nodes[1], b, 100000);
    UNTIL(b->received == 2);
    /* and back, on the same pair of links */
    ck_assert(say(&nodes[1], b, "hello\xc0\xdb", 7));
    grant(&nodes[0], a, 100000);
    UNTIL(a->received == 1);
    ck_assert_uint_eq(a->last_len, 7);
    ck_assert_mem_eq(a->last, "hello\xc0\xdb", 7);
    ck_assert_uint_eq(nodes[0].count, 1);
    status(&nodes[0]);
    ck_assert_ptr_nonnull(strstr(nodes[0].reply, "\"state\":\"online\",\"firmware\":\"1.74\""));
    ck_assert_ptr_nonnull(strstr(nodes[0].reply, "\"rssi\":-"));
    ck_assert_int_eq((int)sim_number(1, "bad_commands"), 0);
    finish();
}
END_TEST

/* The plugin's airtime and the simulator's are two programs' opinions of the same formula. */
START_TEST(test_airtime_agrees)
{
    static const char *const spreading[] = { "spreading=7", "spreading=9", "spreading=12" };
    for (size_t s = 0; s < 3; s++) {
        sim_begin((const char *const[]){ "--speed", "200", NULL });
        all_on_air(1, (const char *const[]){ spreading[s], "bandwidth=125000", "jitter=1", NULL });
        struct seen_link *a = dial(&nodes[0], 4, 1);
        uint8_t data[495] = { 0 };
        int sent = 0;
        for (size_t len = 1; len <= 495; len += 38, sent++) {
            UNTIL(a->credit == a->window);
            ck_assert(say(&nodes[0], a, data, len));
        }
        UNTIL(a->credit == a->window);
        double theirs = sim_number(0, "airtime_ms"), ours = status_number(&nodes[0], "airtime_ms");
        ck_assert_int_eq((int)sim_number(0, "sent"), sent);
        ck_assert_msg(ours >= theirs - 0.5 && ours <= theirs + 1.5, "ours %f, theirs %f", ours, theirs);
        finish();
    }
}
END_TEST

/* Four nodes, each to each: everyone hears what is for them and nothing else. */
START_TEST(test_several_nodes)
{
    struct seen_link *l[3][3] = { { 0 } };
    uint8_t text[40];
    sim_begin((const char *const[]){ "--speed", "10", "--delay", "20", NULL });
    all_on_air(3, NULL);
    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++)
            if (from != to) {
                l[from][to] = dial(&nodes[from], 10 + 2 * (uint64_t)to, to);
                grant(&nodes[from], l[from][to], 1000000);
            }
    for (int round = 0; round < 3; round++)
        for (int from = 0; from < 3; from++)
            for (int to = 0; to < 3; to++)
                if (from != to) {
                    memset(text, 16 * from + to, sizeof text);
                    int before = l[to][from]->received;
                    /* The medium may lose it, and then it is said again: as above in the mesh. */
                    for (int again = 0; l[to][from]->received == before; again++) {
                        ck_assert_int_lt(again, 20);
                        UNTIL(l[from][to]->credit >= sizeof text);
                        ck_assert(say(&nodes[from], l[from][to], text, sizeof text));
                        UNTIL(l[from][to]->credit == l[from][to]->window || l[to][from]->received > before);
                        for (int i = 0; i < 100 && l[to][from]->received == before; i++)
                            run();
                    }
                    ck_assert_uint_eq(l[to][from]->last_len, sizeof text);
                    ck_assert_uint_eq(l[to][from]->last[0], 16 * (unsigned)from + (unsigned)to);
                }
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(nodes[i].count, 2);
        ck_assert_double_ge(status_number(&nodes[i], "foreign"), 6);
    }
    finish();
}
END_TEST

/* Both dial: a link on which this node has not said a word gives way to its own; one on which it has does not. */
START_TEST(test_crossed_dials)
{
    struct seen_link *a, *b, *again;
    sim_begin((const char *const[]){ "--speed", "20", NULL });
    all_on_air(2, NULL);
    a = dial(&nodes[0], 4, 1);
    say(&nodes[0], a, "old", 3);
    UNTIL((b = accepted(&nodes[1], 0)));
    again = dial(&nodes[1], 6, 0);
    ck_assert(again->ups == 1 && again->downs == 0);
    UNTIL(b->downs);
    ck_assert_str_eq(b->text, "this node dials lora://0x0100 itself");
    grant(&nodes[1], again, 100);
    say(&nodes[0], a, "new", 3);
    UNTIL(again->received == 1);
    ck_assert_mem_eq(again->last, "new", 3);
    CALL(&nodes[1], link_close(self(&nodes[1]), 6, 0));
    UNTIL(again->downs);
    say(&nodes[0], a, "more", 4);
    UNTIL((b = accepted(&nodes[1], 0)));
    say(&nodes[1], b, "yes", 3);
    UNTIL(b->credit == b->window);
    again = dial(&nodes[1], 8, 0);
    ck_assert_int_eq(again->status, KOS_E_EXISTS);
    ck_assert_int_eq(b->downs, 0);
    finish();
}
END_TEST

/* All three talk at once and as much as they may: no two of them in step for ever, whatever the medium does. */
START_TEST(test_crowd)
{
    struct seen_link *l[3][3] = { { 0 } };
    uint8_t data[200] = { 1 };
    sim_begin((const char *const[]){ "--speed", "10", "--loss", "0.1", "--no-csma", NULL });
    all_on_air(3, NULL);
    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++)
            if (from != to) {
                l[from][to] = dial(&nodes[from], 10 + 2 * (uint64_t)to, to);
                grant(&nodes[from], l[from][to], 100000000);
            }
    int heard = 0;
    for (int n = 0; heard < 6; n++) {
        ck_assert_msg(n < TURNS, "not everyone is heard by everyone");
        heard = 0;
        for (int from = 0; from < 3; from++)
            for (int to = 0; to < 3; to++)
                if (from != to) {
                    say(&nodes[from], l[from][to], data, sizeof data);
                    heard += l[to][from]->received >= 5;
                }
        run();
    }
    finish();
}
END_TEST

START_TEST(test_unlimited_by_others)
{
    /* More strangers than links: the table is bounded, and a silent one makes room. */
    sim_begin((const char *const[]){ "--speed", "100", "--no-csma", NULL });
    on_air(0, (const char *const[]){ "links=2", "idle_timeout=1s", NULL });
    for (int i = 1; i < 4; i++)
        on_air(i, NULL);
    for (int i = 0; i < 4; i++)
        UNTIL(nodes[i].endpoint_ups);
    for (int i = 1; i < 4; i++) {
        struct seen_link *a = dial(&nodes[i], 4, 0);
        for (int n = 0; n < 3000 && !accepted(&nodes[0], i) && !nodes[0].log[0]; n++) {
            if (a->credit == a->window)
                say(&nodes[i], a, "x", 1);
            run();
        }
    }
    ck_assert_uint_eq(nodes[0].count, 2);
    ck_assert_str_eq(nodes[0].log, "a frame of lora://0x0103 is refused: all 2 links are in use (setting links)");
    UNTIL(nodes[0].links[0].downs && nodes[0].links[1].downs);
    ck_assert_int_eq(nodes[0].links[0].status, KOS_E_TIMEOUT);
    ck_assert_str_eq(nodes[0].links[0].text, "nothing was heard or sent for 1 s (setting idle_timeout)");
    struct seen_link *a = seen(&nodes[3], 4);
    for (int n = 0; !accepted(&nodes[0], 3); n++) {
        ck_assert_int_lt(n, TURNS);
        if (a->credit == a->window)
            say(&nodes[3], a, "x", 1);
        run();
    }
    finish();
}
END_TEST

/* A budget used up is credit that does not come, said once; it comes when the window has moved on. */
START_TEST(test_budget_used_up)
{
    uint8_t data[200] = { 0 };
    sim_begin((const char *const[]){ "--speed", "20", "--duty", "11", NULL });
    /* 330 ms in 3 s; a frame of 205 bytes is 104 ms */
    all_on_air(1, (const char *const[]){ "duty_cycle=11", "budget_window=3s", "mtu=300", "jitter=1", NULL });
    struct seen_link *a = dial(&nodes[0], 4, 1);
    ck_assert_uint_eq(a->info.airtime_ms_per_hour, 396000);
    ck_assert_uint_eq(a->window, 590);
    int sent = 0;
    while (!nodes[0].log[0]) {
        sent += say(&nodes[0], a, data, sizeof data);
        run();
    }
    ck_assert_ptr_nonnull(strstr(nodes[0].log, "the airtime that none any allows is used up (0.3 s in the last 3 s)"));
    ck_assert_int_ge(sent, 3);
    ck_assert_int_le(sent, 5);
    ck_assert_int_eq(nodes[0].events, 1);
    ck_assert_double_eq(status_number(&nodes[0], "limit_ms"), 330);
    ck_assert_double_le(status_number(&nodes[0], "used_ms"), 330);
    ck_assert_double_gt(status_number(&nodes[0], "next_frame_ms"), 0);
    ck_assert_int_eq((int)sim_number(0, "sent"), 3);
    UNTIL(sim_number(0, "sent") > 3);
    ck_assert_int_eq((int)sim_number(0, "violations"), 0);
    ck_assert_int_eq(nodes[0].events, 1);
    finish();
}
END_TEST

/* A host that shows what the plugin keeps. */
static struct {
    struct kos_host table;
    void (*put)(const struct kos_host *host, uint64_t tx, struct kos_bytes key, struct kos_bytes value);
    uint8_t value[1024];
    size_t len;
    int puts;
} spy;

static void spy_put(const struct kos_host *host, uint64_t tx, struct kos_bytes key, struct kos_bytes value)
{
    ck_assert(kos_bytes_eq(key, kos_bytes_str("airtime")));
    ck_assert_uint_le(value.len, sizeof spy.value);
    memcpy(spy.value, value.data, value.len);
    spy.len = value.len;
    spy.puts++;
    spy.put(host, tx, key, value);
}

static void begin_with_kept(const void *value, size_t len)
{
    struct kos_error error = { 0 };
    ck_assert_msg(
        try_settings(0, (const char *const[]){ "region=eu868", "bandwidth=125000", "jitter=1", NULL }, &error), "%s",
        error.text);
    const struct kos_host *host = poll_host_table(nodes[0].host);
    host->tx_begin(host, 1);
    host->tx_put(host, 1, kos_bytes_str("airtime"), kos_bytes(value, len));
    host->tx_commit(host, 1, 999);
    struct lora *l = self(&nodes[0]);
    spy.table = *host;
    spy.put = host->tx_put;
    spy.table.tx_put = spy_put;
    l->host = &spy.table;
    poll_host_start(nodes[0].host);
    CALL(&nodes[0], listen(self(&nodes[0]), 2, "lora://0x100"));
    UNTIL(nodes[0].endpoint_ups);
}

/* What was used counts after a restart too; what is kept and makes no sense does not stop anything. */
START_TEST(test_budget_is_kept)
{
    uint8_t data[400] = { 0 };
    memset(&spy, 0, sizeof spy);
    sim_begin((const char *const[]){ "--speed", "100", NULL });
    begin_with_kept("?", 1);
    ck_assert_ptr_nonnull(strstr(nodes[0].log, "what was kept is damaged"));
    struct seen_link *a = dial(&nodes[0], 4, 1);
    while (!nodes[0].log[0] || !strstr(nodes[0].log, "is used up")) {
        say(&nodes[0], a, data, sizeof data);
        run();
    }
    double used = status_number(&nodes[0], "used_ms");
    ck_assert_double_gt(used, 35000);
    ck_assert_double_le(used, 36000);
    ck_assert_int_gt(spy.puts, 10);
    ck_assert(poll_host_stop(nodes[0].host));
    poll_host_free(nodes[0].host, NULL);
    uint8_t kept[1024];
    size_t len = spy.len;
    memcpy(kept, spy.value, len);
    begin_with_kept(kept, len);
    double again = status_number(&nodes[0], "used_ms");
    ck_assert_msg(again > used - 1000 && again <= used + 1, "%f kept of %f", again, used);
    a = dial(&nodes[0], 4, 1);
    say(&nodes[0], a, data, sizeof data);
    UNTIL(strstr(nodes[0].log, "is used up"));
    ck_assert_int_eq((int)sim_number(0, "violations"), 0);
    ck_assert(poll_host_stop(nodes[0].host));
    poll_host_free(nodes[0].host, NULL);
    /* Two hours later it is forgotten. */
    uint64_t wall = (uint64_t)spy.table.now_ms(&spy.table) - 7200000;
    for (int i = 0; i < 8; i++)
        kept[i] = (uint8_t)(wall >> (8 * i));
    begin_with_kept(kept, len);
    ck_assert_double_eq(status_number(&nodes[0], "used_ms"), 0);
    finish();
}
END_TEST

/* Frames of the air itself, without a radio: whatever is not for us or not ours is counted and forgotten. */
START_TEST(test_hostile_frames)
{
    static const char *const bad[] = { "",
                                       "\x10",
                                       "\x10\x01\x00\x01\x01",
                                       "\x20\x01\x00\x01\x01x",
                                       "\x11\x01\x00\x01\x01x",
                                       "\x10\xff\xff\x01\x01x",
                                       "\x10\x01\x00\xff\xffx",
                                       "\x10\x01\x00\x01\x00x" };
    static const size_t lens[] = { 0, 1, 5, 6, 6, 6, 6, 6 };
    sim_begin(NULL);
    all_on_air(1, NULL);
    struct lora *l = self(&nodes[0]);
    uint8_t noise[KISS_DATA_MAX];
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
        lora_received(l, kos_bytes(bad[i], lens[i]));
    ck_assert_uint_eq(l->foreign, 8);
    lora_received(l, kos_bytes("\x10\x01\x00\x00\x00x", 6));
    lora_received(l, kos_bytes("\x10\x01\x01\x01\x02x", 6));
    ck_assert_uint_eq(l->foreign, 10);
    ck_assert_ptr_null(l->links_by_id);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t r = i * 2654435761u;
        for (size_t n = 0; n < sizeof noise; n++)
            noise[n] = (uint8_t)((r = r * 1664525u + 1013904223u) >> 24);
        noise[0] = 0x10;
        noise[1] = 1;
        noise[2] = 0;
        lora_received(l, kos_bytes(noise, r % (sizeof noise + 1)));
    }
    ck_assert_uint_eq(HASH_CNT(by_id, l->links_by_id), 64);
    for (int i = 0; i < 50; i++)
        run();
    ck_assert_uint_eq(nodes[0].count, 64);
    finish();
}
END_TEST

START_TEST(test_addresses)
{
    static const char *const bad[] = {
        "",           "lora:",       "lora://0",  "lora://0x0", "lora://0xffff", "lora://0x12345", "lora://0x12g",
        "tcp://0x12", "lora://0x 1", "lora://-1", "0x12"
    };
    sim_begin(NULL);
    begin(0, (const char *const[]){ "address=0x0aBc", NULL });
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct seen_link *l = seen(&nodes[0], 10 + 2 * i);
        CALL(&nodes[0], dial(self(&nodes[0]), l->id, bad[i]));
        UNTIL(l->downs);
        ck_assert_int_eq(l->status, KOS_E_INVALID);
        nodes[0].endpoint_downs = 0;
        CALL(&nodes[0], listen(self(&nodes[0]), 2, bad[i]));
        UNTIL(nodes[0].endpoint_downs);
        ck_assert_int_eq(nodes[0].endpoint_status, KOS_E_INVALID);
    }
    nodes[0].endpoint_downs = 0;
    CALL(&nodes[0], listen(self(&nodes[0]), 2, "lora://"));
    CALL(&nodes[0], listen(self(&nodes[0]), 4, "lora://0xabc"));
    UNTIL(nodes[0].endpoint_ups && nodes[0].endpoint_downs);
    ck_assert_str_eq(nodes[0].address, "lora://0x0abc");
    ck_assert_int_eq(nodes[0].endpoint_status, KOS_E_ADDRESS_USED);
    struct seen_link *own = seen(&nodes[0], 100), *one = seen(&nodes[0], 102), *two = seen(&nodes[0], 104);
    CALL(&nodes[0], dial(self(&nodes[0]), 100, "lora://0xabc"));
    CALL(&nodes[0], dial(self(&nodes[0]), 102, "lora://0xabd"));
    CALL(&nodes[0], dial(self(&nodes[0]), 104, "lora://0xABD"));
    UNTIL(own->downs && one->ups && two->downs);
    ck_assert_int_eq(own->status, KOS_E_INVALID);
    ck_assert_int_eq(two->status, KOS_E_EXISTS);
    finish();
}
END_TEST

/* Every end at every point: with flush what was sent leaves, without it does not; all of it once. */
START_TEST(test_ends)
{
    sim_begin((const char *const[]){ "--speed", "20", NULL });
    on_air(0, NULL);
    CALL(&nodes[0], dial(self(&nodes[0]), 4, "lora://0x101"));
    CALL(&nodes[0], link_close(self(&nodes[0]), 4, 1));
    struct seen_link *early = seen(&nodes[0], 4);
    UNTIL(early->downs);
    ck_assert_int_eq(early->status, KOS_E_CANCELLED);
    on_air(1, NULL);
    UNTIL(nodes[0].endpoint_ups && nodes[1].endpoint_ups);
    struct seen_link *a = dial(&nodes[0], 6, 1);
    CALL(&nodes[0], endpoint_close(self(&nodes[0]), 2));
    CALL(&nodes[0], endpoint_close(self(&nodes[0]), 2));
    UNTIL(nodes[0].endpoint_downs);
    ck_assert_int_eq(nodes[0].endpoint_status, KOS_OK);
    ck_assert_int_eq(a->downs, 0); /* its links stay */
    say(&nodes[0], a, "last words", 10);
    CALL(&nodes[0], link_close(self(&nodes[0]), 6, 1));
    UNTIL(a->downs);
    ck_assert_int_eq(a->status, KOS_OK);
    ck_assert_int_eq((int)sim_number(0, "sent"), 1);
    struct seen_link *b;
    UNTIL((b = accepted(&nodes[1], 0)));
    grant(&nodes[1], b, 100);
    UNTIL(b->received == 1);
    /* Nothing of it is left, so the modem is given back. */
    UNTIL(!sim_number(0, "received") && status_number(&nodes[0], "waiting") == 0 &&
          strstr(nodes[0].reply, "\"state\":\"closed\""));
    finish();
}
END_TEST

START_TEST(test_broken_window)
{
    uint8_t data[600] = { 0 };
    sim_begin((const char *const[]){ "--speed", "20", NULL });
    all_on_air(1, NULL);
    struct seen_link *a = dial(&nodes[0], 4, 1), *b = dial(&nodes[0], 6, 2);
    CALL(&nodes[0], send(self(&nodes[0]), 4, &(struct kos_bytes){ data, 496 }, 1));
    for (int i = 0; i < 3; i++)
        CALL(&nodes[0], send(self(&nodes[0]), 6, &(struct kos_bytes){ data, 495 }, 1));
    UNTIL(a->downs && b->downs);
    ck_assert_int_eq(a->status, KOS_E_INVALID);
    ck_assert_int_eq(b->status, KOS_E_LIMIT);
    finish();
}
END_TEST

START_TEST(test_stop_anywhere)
{
    for (int turns = 0; turns < 60; turns += 1 + turns / 8) {
        sim_begin((const char *const[]){ "--speed", "20", NULL });
        begin(0, (const char *const[]){ "address=0x100", NULL });
        CALL(&nodes[0], listen(self(&nodes[0]), 2, "lora://"));
        CALL(&nodes[0], dial(self(&nodes[0]), 4, "lora://0x101"));
        struct seen_link *a = seen(&nodes[0], 4);
        for (int i = 0; i < turns; i++) {
            poll_host_run(nodes[0].host, 1);
            if (a->ups)
                say(&nodes[0], a, "x", 1);
        }
        const struct kos_control *c = kos_plugin_v1.features[1]->table;
        c->call(self(&nodes[0]), 10, "Status", kos_bytes("{}", 2), 0);
        struct node *n = &nodes[0];
        ck_assert(poll_host_stop(n->host));
        ck_assert_int_eq(n->replies, 1);
        ck_assert_int_eq(n->endpoint_downs, 1);
        finish();
    }
}
END_TEST

START_TEST(test_settings)
{
    static const struct {
        const char *const settings[5];
        const char *sentence;
    } bad[] = {
        { { "bandwidth=100000" }, "bandwidth = 100000: a modem has 7800" },
        { { "device=modem" }, "a modem's port is named /dev/NAME" },
        { { "address=0xffff" }, "a short address is 0x0001 to 0xfffe" },
        { { "region=eu868", "bandwidth=125000", "frequency=868650000" },
          "eu868 has no band for 125000 Hz wide signals" },
        { { "region=eu868", "bandwidth=125000", "frequency=868300000", "power=20" }, "eu868 g1 allows 14 dBm" },
        { { "region=eu868", "bandwidth=125000", "frequency=868300000", "duty_cycle=2" },
          "duty_cycle = 2 is above the 1 % that eu868 g1 allows" },
        { { "region=us915", "bandwidth=125000", "frequency=915000000", "spreading=12" },
          "us915 915 allows 0.40 s at a time" },
        { { "duty_cycle=1", "budget_window=1s", "spreading=12" }, "lower spreading or raise bandwidth, or budget_window" },
    };
    struct kos_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert(!try_settings(0, bad[i].settings, &error));
        ck_assert_int_eq(error.code, KOS_E_CONFIG);
        ck_assert_msg(strstr(error.text, bad[i].sentence) != NULL, "%s", error.text);
    }
    ck_assert(try_settings(0, (const char *const[]){ "region=us915", "bandwidth=125000", "frequency=915000000", NULL },
                           &error));
    struct lora *l = self(&nodes[0]);
    ck_assert_uint_lt(l->mtu, 500);
    ck_assert_uint_le(lora_frame_airtime_us(&l->radio, l->mtu), 400000);
    ck_assert_uint_gt(lora_frame_airtime_us(&l->radio, l->mtu + 1), 400000);
    ck_assert_uint_eq(l->airtime_ms_per_hour, 72000);
    ck_assert_ptr_nonnull(strstr(nodes[0].log, "us915 915 allows 0.40 s at a time"));
    poll_host_free(nodes[0].host, NULL);
    ck_assert(try_settings(0, (const char *const[]){ "region=eu868", "bandwidth=125000", NULL }, &error));
    l = self(&nodes[0]);
    ck_assert_uint_eq(l->airtime_ms_per_hour, 36000);
    ck_assert_uint_eq(l->hour.limit_us, 36000000);
    ck_assert_uint_eq(l->limit_long, 100);
    poll_host_free(nodes[0].host, NULL);
    nodes[0].host = NULL;
}
END_TEST

TESTS("transport/lora", test_two_nodes, test_airtime_agrees, test_several_nodes, test_crossed_dials, test_crowd,
      test_unlimited_by_others, test_budget_used_up, test_budget_is_kept, test_hostile_frames, test_addresses,
      test_ends, test_broken_window, test_stop_anywhere, test_settings)
