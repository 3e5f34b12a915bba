/* SPDX-License-Identifier: Apache-2.0
 * Modems that lie, are silent, vanish, start anew, talk nonsense. */
#include "lora_testing.h"

START_TEST(test_a_late_frame_without_ready)
{
    sim_begin((const char *const[]){ "--speed", "20", "--no-ready", NULL });
    all_on_air(2, NULL);
    struct seen_link *a = dial(&nodes[0], 4, 1);
    say(&nodes[0], a, "first", 5);
    UNTIL(a->credit == a->window); /* the modem says nothing of itself, and is asked */
    say(&nodes[0], a, "second", 6);
    UNTIL(a->credit == a->window);
    UNTIL(accepted(&nodes[1], 0));
    finish();
}
END_TEST

struct failure {
    const char *option, *command;
    int32_t code;
    const char *sentence;
};

/* Each of the four modems has its own fault; each plugin says which. */
static void fail_with(const struct failure failures[4])
{
    char commands[4][16];
    const char *options[16];
    size_t count = 0;
    for (int i = 0; i < NODES; i++) {
        snprintf(commands[i], sizeof commands[i], "%d:%s", i, failures[i].command);
        options[count++] = failures[i].option;
        options[count++] = commands[i];
    }
    options[count] = NULL;
    sim_begin(options);
    for (int i = 0; i < NODES; i++)
        on_air(i, NULL);
    for (int i = 0; i < NODES; i++) {
        struct node *n = &nodes[i];
        UNTIL(n->endpoint_downs);
        ck_assert_int_eq(n->endpoint_ups, 0);
        ck_assert_int_eq(n->endpoint_status, failures[i].code);
        ck_assert_msg(strstr(n->endpoint_text, sim.paths[i]) && strstr(n->endpoint_text, failures[i].sentence), "%s",
                      n->endpoint_text);
    }
    finish();
}

START_TEST(test_modems_that_lie)
{
    fail_with((const struct failure[]){
        { "--lie", "01", KOS_E_CONFIG,
          "answered 868300256 when its frequency was set to 868300000: it cannot do that" },
        { "--lie", "02", KOS_E_CONFIG, "answered 499744 when its bandwidth was set to 500000: it cannot do that" },
        { "--lie", "03", KOS_E_CONFIG, "answered 13 when its power was set to 14: it cannot do that" },
        { "--lie", "04", KOS_E_CONFIG, "answered 4 when its spreading factor was set to 7: it cannot do that" } });
    fail_with((const struct failure[]){
        { "--lie", "05", KOS_E_CONFIG, "answered 6 when its coding rate was set to 5: it cannot do that" },
        { "--lie", "0b", KOS_E_CONFIG, "its short-term airtime limit was set to 0: it cannot do that" },
        { "--lie", "0c", KOS_E_CONFIG, "its long-term airtime limit was set to 0: it cannot do that" },
        { "--lie", "06", KOS_E_CONFIG, "answered 2 when its radio state was set to 1: it cannot do that" } });
}
END_TEST

START_TEST(test_modems_that_are_silent)
{
    fail_with((const struct failure[]){
        { "--mute", "01", KOS_E_TIMEOUT, "did not confirm its frequency within 2 s" },
        { "--mute", "02", KOS_E_TIMEOUT, "did not confirm its bandwidth within 2 s" },
        { "--mute", "03", KOS_E_TIMEOUT, "did not confirm its power within 2 s" },
        { "--mute", "04", KOS_E_TIMEOUT, "did not confirm its spreading factor within 2 s" } });
    fail_with((const struct failure[]){
        { "--mute", "05", KOS_E_TIMEOUT, "did not confirm its coding rate within 2 s" },
        { "--mute", "0b", KOS_E_TIMEOUT, "did not confirm its short-term airtime limit within 2 s" },
        { "--mute", "0c", KOS_E_TIMEOUT, "did not confirm its long-term airtime limit within 2 s" },
        { "--mute", "06", KOS_E_TIMEOUT, "did not confirm its radio state within 2 s" } });
}
END_TEST

START_TEST(test_what_is_no_modem)
{
    fail_with((const struct failure[]){
        { "--firmware", "1.51", KOS_E_VERSION, "has firmware 1.51; at least 1.52 is needed: update it" },
        { "--firmware", "0.99", KOS_E_VERSION, "has firmware 0.99; at least 1.52 is needed: update it" },
        { "--mute", "08", KOS_E_TIMEOUT, "it did not answer the detect command within 8 s" },
        { "--mute", "50", KOS_E_TIMEOUT, "it did not tell its firmware version within 8 s" } });
    begin(0, (const char *const[]){ "device=/dev/kos-no-such-device", NULL });
    CALL(&nodes[0], listen(self(&nodes[0]), 2, "lora://0x1"));
    UNTIL(nodes[0].endpoint_downs);
    ck_assert_ptr_nonnull(strstr(nodes[0].endpoint_text, "the modem's port cannot be opened"));
    finish();
    begin(0, (const char *const[]){ "device=/dev/null", NULL });
    CALL(&nodes[0], dial(self(&nodes[0]), 4, "lora://0x1"));
    seen(&nodes[0], 4);
    UNTIL(nodes[0].links[0].downs);
    ck_assert_int_eq(nodes[0].links[0].status, KOS_E_CONFIG); /* it has no address yet */
    CALL(&nodes[0], listen(self(&nodes[0]), 2, "lora://0x2"));
    UNTIL(nodes[0].endpoint_downs);
    ck_assert_ptr_nonnull(strstr(nodes[0].endpoint_text, "/dev/null is not a serial port"));
    finish();
}
END_TEST

/* The modem goes: everything ends with a sentence; when it is there again and the host listens again, it is opened
 * again, after a pause. */
START_TEST(test_modem_vanishes)
{
    char was[64];
    sim_begin((const char *const[]){ "--speed", "20", NULL });
    all_on_air(2, NULL);
    struct seen_link *a = dial(&nodes[0], 4, 1);
    snprintf(was, sizeof was, "%s", sim.paths[0]);
    say(&nodes[0], a, "x", 1);
    sim_tell("unplug 0");
    UNTIL(nodes[0].endpoint_downs && a->downs);
    ck_assert_int_eq(a->status, KOS_E_CLOSED);
    ck_assert_ptr_nonnull(strstr(a->text, "is gone: "));
    ck_assert_str_eq(a->text, nodes[0].endpoint_text);
    /* Dialling within the pause is refused and says so; calls for what is down are ignored. */
    ck_assert(!say(&nodes[0], a, "x", 1));
    CALL(&nodes[0], send(self(&nodes[0]), 4, &(struct kos_bytes){ (const uint8_t *)"x", 1 }, 1));
    CALL(&nodes[0], link_close(self(&nodes[0]), 4, 1));
    CALL(&nodes[0], endpoint_close(self(&nodes[0]), 2));
    nodes[0].endpoint_downs = nodes[0].endpoint_ups = 0;
    CALL(&nodes[0], listen(self(&nodes[0]), 6, "lora://0x100"));
    struct seen_link *early = seen(&nodes[0], 8);
    CALL(&nodes[0], dial(self(&nodes[0]), 8, "lora://0x101"));
    UNTIL(early->downs);
    ck_assert_int_eq(early->status, KOS_E_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(early->text, "failed and is tried again in 1 s"));
    UNTIL(nodes[0].endpoint_downs); /* it is not there */
    ck_assert_ptr_nonnull(strstr(nodes[0].endpoint_text, "the modem's port cannot be opened"));
    sim_tell("plug 0");
    char line[128];
    ck_assert(fgets(line, sizeof line, sim.out) != NULL);
    sim_plugged(line);
    if (strcmp(was, sim.paths[0]) == 0) { /* else another process took the name: nothing to see there */
        nodes[0].endpoint_ups = 0;
        CALL(&nodes[0], listen(self(&nodes[0]), 10, "lora://0x100"));
        UNTIL(nodes[0].endpoint_ups);
    }
    finish();
}
END_TEST

START_TEST(test_modem_resets)
{
    sim_begin((const char *const[]){ "--speed", "20", NULL });
    all_on_air(2, NULL);
    struct seen_link *a = dial(&nodes[0], 4, 1);
    say(&nodes[0], a, "x", 1);
    sim_tell("reset 0");
    UNTIL(nodes[0].endpoint_downs && a->downs);
    ck_assert_ptr_nonnull(strstr(a->text, "started anew (reset or power loss)"));
    nodes[0].endpoint_ups = 0;
    CALL(&nodes[0], listen(self(&nodes[0]), 6, "lora://0x100"));
    UNTIL(nodes[0].endpoint_ups);
    struct seen_link *again = dial(&nodes[0], 8, 1);
    ck_assert_int_eq(again->ups, 1);
    say(&nodes[0], again, "y", 1);
    UNTIL(accepted(&nodes[1], 0));
    finish();
}
END_TEST

/* Noise on the serial line and in the air: no crash, no link, and what follows arrives. */
START_TEST(test_garbage)
{
    sim_begin((const char *const[]){ "--speed", "50", NULL });
    all_on_air(2, NULL);
    struct seen_link *a = dial(&nodes[0], 4, 1);
    grant(&nodes[0], a, 100000);
    for (int i = 0; i < 20; i++) {
        sim_tell("garble 0 200");
        for (int n = 0; n < 5; n++)
            run();
    }
    if (!nodes[0].endpoint_downs) { /* noise may also say "reset" */
        struct seen_link *b;
        for (int n = 0; !(b = accepted(&nodes[1], 0)); n++) {
            ck_assert_int_lt(n, TURNS);
            if (a->credit == a->window)
                say(&nodes[0], a, "after", 5);
            run();
        }
        for (size_t i = 0; i < nodes[0].count; i++)
            ck_assert(nodes[0].links[i].id == 4 || nodes[0].links[i].endpoint == 2);
    }
    finish();
}
END_TEST

TESTS("transport/lora/modem", test_a_late_frame_without_ready, test_modems_that_lie, test_modems_that_are_silent,
      test_what_is_no_modem, test_modem_vanishes, test_modem_resets, test_garbage)
