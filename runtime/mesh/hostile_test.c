/* SPDX-License-Identifier: Apache-2.0
 * A peer that is who it says and still lies: forged, altered, repeated, stale and mis-addressed messages, receipts that
 * nobody gave, frames out of place, more than its credit. Each is refused, counted, logged once, and costs others
 * nothing. */
#include "mesh/mesh_testing.h"
#include "unit.h"

#include <stdlib.h>

static struct net net;
static struct net_node *a, *b;

static void linked(void)
{
    net_init(&net);
    a = net_add(&net, "laptop");
    b = net_add(&net, "home");
    net_trust(b, a, 8);
    ck_assert_int_eq(net_connect(a, b), KOS_OK);
}

/* A message of a's to b, as it should be; tests then spoil it. */
static struct klp_message proper(void)
{
    struct klp_message message = { .type = "TASK_REQUEST",
                                   .source = kos_bytes_str("klp://node.laptop"),
                                   .target = kos_bytes_str("klp://node.home"),
                                   .source_id = a->id,
                                   .target_id = b->id };
    message.created = kos_now_ms(a->env);
    message.expires = message.created + 60000;
    message.payload = (struct klp_json){ KLP_JSON_OBJECT, kos_bytes_str("{}") };
    kos_random(a->env, message.id.b, sizeof message.id.b);
    return message;
}

static size_t item_of(const struct klp_message *message, const struct net_node *signer, uint8_t item[8192])
{
    size_t len;
    struct kos_error error;
    ck_assert_msg(klp_message_make(message, item + 2 + KLP_SIGNATURE_LEN, 8192 - 2 - KLP_SIGNATURE_LEN, &len, &error) >=
                      0,
                  "%s", error.text);
    item[0] = 0;
    item[1] = KLP_SIGNATURE_LEN;
    ck_assert_int_eq(klp_sign(kos_identity_secret(kos_keys_node(signer->keys)), KLP_TAG_MESSAGE,
                              kos_bytes(item + 2 + KLP_SIGNATURE_LEN, len), item + 2),
                     KOS_OK);
    return 2 + KLP_SIGNATURE_LEN + len;
}

static void inject(struct net_node *from, uint8_t type, struct kos_bytes bytes)
{
    struct mesh_session *session = net_session(from, from == b ? a : b);
    ck_assert_ptr_nonnull(session);
    mesh_session_queue_copy(session, type, KLP_CLASS_INTERACTIVE, bytes);
    net_settle(&net);
}

static void send_item(const struct klp_message *message, const struct net_node *signer)
{
    uint8_t item[8192];
    inject(a, KLP_FRAME_MESSAGE, kos_bytes(item, item_of(message, signer, item)));
}

/* Refused with this name, counted once, nothing handed to a handler, the session unharmed. */
static void refused(int32_t code)
{
    ck_assert_msg(net_refused(b, code) == 1, "%s was counted %llu times", kos_error_name(code),
                  (unsigned long long)net_refused(b, code));
    ck_assert_uint_eq(b->seen_count, 0);
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_uint_eq(net_send(a, b, "TASK_REQUEST", 1, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    net_fini(&net);
}

START_TEST(proper_is_taken)
{
    linked();
    struct klp_message message = proper();
    send_item(&message, a);
    ck_assert_uint_eq(b->seen_count, 1);
    net_fini(&net);
}
END_TEST

START_TEST(signed_by_another)
{
    linked();
    struct klp_message message = proper();
    send_item(&message, b);
    refused(KOS_E_SIGNATURE);
}
END_TEST

START_TEST(altered_after_signing)
{
    uint8_t item[8192];
    linked();
    struct klp_message message = proper();
    size_t len = item_of(&message, a, item);
    uint8_t *type = memmem(item, len, "TASK_REQUEST", 12);
    ck_assert_ptr_nonnull(type);
    type[11] = 'S';
    inject(a, KLP_FRAME_MESSAGE, kos_bytes(item, len));
    refused(KOS_E_SIGNATURE);
}
END_TEST

START_TEST(from_somebody_else)
{
    linked();
    struct net_node *c = net_add(&net, "third");
    net_trust(b, c, 9);
    ck_assert_int_eq(net_connect(c, b), KOS_OK); /* so that b knows its log */
    struct klp_message message = proper();
    message.source_id = c->id;
    send_item(&message, c); /* well signed by c, but a's to bring it is not */
    refused(KOS_E_DENIED);
}
END_TEST

START_TEST(from_nobody_known)
{
    linked();
    struct klp_message message = proper();
    message.source_id.b[0] ^= 1;
    send_item(&message, a);
    refused(KOS_E_UNKNOWN_ID);
}
END_TEST

START_TEST(by_an_event_that_is_not)
{
    linked();
    struct klp_message message = proper();
    message.event = 7;
    send_item(&message, a);
    refused(KOS_E_NOTFOUND);
}
END_TEST

START_TEST(for_another_node)
{
    linked();
    struct klp_message message = proper();
    message.target_id = a->id;
    send_item(&message, a);
    refused(KOS_E_MISADDRESSED);
}
END_TEST

START_TEST(for_another_name)
{
    linked();
    struct klp_message message = proper();
    message.target = kos_bytes_str("klp://agent.echo.elsewhere");
    send_item(&message, a);
    refused(KOS_E_MISADDRESSED);
}
END_TEST

START_TEST(for_an_agent_that_is_not)
{
    linked();
    struct klp_message message = proper();
    message.target = kos_bytes_str("klp://agent.echo.home");
    send_item(&message, a);
    refused(KOS_E_NOTFOUND);
}
END_TEST

START_TEST(expired_and_from_the_future)
{
    linked();
    struct klp_message message = proper();
    message.created -= 100000;
    message.expires = message.created + 10;
    send_item(&message, a);
    struct klp_message early = proper();
    early.created += KLP_CLOCK_SKEW_MAX_MS + 1000;
    early.expires = early.created + 1000;
    send_item(&early, a);
    ck_assert_uint_eq(net_refused(b, KOS_E_FUTURE), 1);
    refused(KOS_E_EXPIRED);
}
END_TEST

START_TEST(repeated)
{
    uint8_t item[8192];
    linked();
    struct klp_message message = proper();
    size_t len = item_of(&message, a, item);
    for (int i = 0; i < 5; i++)
        inject(a, KLP_FRAME_MESSAGE, kos_bytes(item, len));
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_uint_eq(b->mesh->counters.repeats, 4);
    /* Also at once, before the first is on disk; and after a restart. */
    struct mesh_session *session = net_session(a, b);
    message = proper();
    len = item_of(&message, a, item);
    for (int i = 0; i < 5; i++)
        mesh_session_queue_copy(session, KLP_FRAME_MESSAGE, KLP_CLASS_INTERACTIVE, kos_bytes(item, len));
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 2);
    net_crash(b);
    net_start(b);
    net_run(&net, 3000);
    inject(a, KLP_FRAME_MESSAGE, kos_bytes(item, len));
    ck_assert_uint_eq(b->seen_count, 2);
    ck_assert_uint_eq(b->mesh->counters.repeats, 1);
    net_fini(&net);
}
END_TEST

START_TEST(repeated_with_another_body)
{
    linked();
    struct klp_message message = proper();
    send_item(&message, a);
    message.payload.text = kos_bytes_str("{\"other\":1}");
    send_item(&message, a);
    ck_assert_uint_eq(b->seen_count, 1);
    net_fini(&net);
}
END_TEST

START_TEST(clock_set_back_opens_no_replay)
{
    uint8_t item[8192];
    linked();
    struct klp_message message = proper();
    size_t len = item_of(&message, a, item);
    inject(a, KLP_FRAME_MESSAGE, kos_bytes(item, len));
    ck_assert_uint_eq(b->seen_count, 1);
    net_run(&net, 70000);
    ck_assert_uint_eq(kos_store_count(b->store, "dedupe"), 0); /* expired, so forgotten */
    net_stop(b);
    kos_manual_set_wall(b->manual, kos_now_ms(b->env) - 60000);
    net_start(b);
    net_run(&net, 8000);
    inject(a, KLP_FRAME_MESSAGE, kos_bytes(item, len));
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_uint_eq(net_refused(b, KOS_E_EXPIRED), 1);
    net_fini(&net);
}
END_TEST

START_TEST(batch_of_two_sources)
{
    linked();
    struct klp_message one = proper(), two = proper();
    two.source_id.b[3] ^= 1;
    uint8_t bodies[2][4096];
    size_t lens[2];
    struct klp_digest digests[2];
    struct kos_buf item;
    uint8_t signature[KLP_SIGNATURE_LEN];
    kos_buf_init(&item, 1 << 20);
    ck_assert_int_eq(klp_message_make(&one, bodies[0], 4096, &lens[0], NULL), KOS_OK);
    ck_assert_int_eq(klp_message_make(&two, bodies[1], 4096, &lens[1], NULL), KOS_OK);
    for (int i = 0; i < 2; i++)
        klp_sha256(kos_bytes(bodies[i], lens[i]), &digests[i]);
    ck_assert_int_eq(klp_batch_sign(kos_identity_secret(kos_keys_node(a->keys)), digests, 2, signature), KOS_OK);
    pack_raw(&item, signature, sizeof signature);
    pack_uint(&item, 2, 2);
    for (int i = 0; i < 2; i++)
        pack_bytes(&item, kos_bytes(bodies[i], lens[i]));
    inject(a, KLP_FRAME_BATCH, kos_buf_bytes(&item));
    ck_assert_uint_eq(b->seen_count, 0);
    ck_assert_uint_ge(net_refused(b, KOS_E_PROTOCOL), 1);
    /* The same twice in one batch is one message. */
    kos_buf_reset(&item);
    digests[1] = digests[0];
    ck_assert_int_eq(klp_batch_sign(kos_identity_secret(kos_keys_node(a->keys)), digests, 2, signature), KOS_OK);
    pack_raw(&item, signature, sizeof signature);
    pack_uint(&item, 2, 2);
    for (int i = 0; i < 2; i++)
        pack_bytes(&item, kos_bytes(bodies[0], lens[0]));
    inject(a, KLP_FRAME_BATCH, kos_buf_bytes(&item));
    ck_assert_uint_eq(b->seen_count, 1);
    ck_assert_uint_eq(b->mesh->counters.repeats, 1);
    kos_buf_fini(&item);
    net_fini(&net);
}
END_TEST

START_TEST(nonsense_for_a_message)
{
    static const char *const nonsense[] = { "", "x", "\001", "\377\377", "\000\100", "{}" };
    linked();
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        inject(a, KLP_FRAME_MESSAGE, kos_bytes(nonsense[i], i == 4 ? 2 : strlen(nonsense[i])));
        inject(a, KLP_FRAME_BATCH, kos_bytes(nonsense[i], i == 4 ? 2 : strlen(nonsense[i])));
        inject(a, KLP_FRAME_RECEIPTS, kos_bytes(nonsense[i], i == 4 ? 2 : strlen(nonsense[i])));
        inject(a, KLP_FRAME_STATEMENT, kos_bytes(nonsense[i], i == 4 ? 2 : strlen(nonsense[i])));
    }
    ck_assert_uint_eq(b->seen_count, 0);
    ck_assert_ptr_nonnull(net_session(a, b));
    ck_assert_uint_eq(b->mesh->counters.receipts_bad, 6);
    net_fini(&net);
}
END_TEST

START_TEST(refusals_are_logged_once_a_minute)
{
    linked();
    for (int i = 0; i < 50; i++) {
        struct klp_message message = proper();
        send_item(&message, b);
    }
    const char *log = kos_manual_logged(b->manual), *at = log;
    int lines = 0;
    while ((at = strstr(at, "bad_signature")) != NULL)
        lines++, at++;
    ck_assert_int_eq(lines, 1);
    ck_assert_uint_eq(net_refused(b, KOS_E_SIGNATURE), 50);
    net_fini(&net);
}
END_TEST

/* ---- receipts ---- */

static void receipts(struct net_node *from, const struct klp_id *node, const struct net_node *signer,
                     const struct klp_receipt *receipt)
{
    uint8_t item[4096];
    size_t len;
    ck_assert_int_eq(klp_receipts_make(node, 0, kos_now_ms(from->env), receipt, 1, item + KLP_SIGNATURE_LEN,
                                       sizeof item - KLP_SIGNATURE_LEN, &len),
                     KOS_OK);
    ck_assert_int_eq(klp_sign(kos_identity_secret(kos_keys_node(signer->keys)), KLP_TAG_RECEIPT,
                              kos_bytes(item + KLP_SIGNATURE_LEN, len), item),
                     KOS_OK);
    inject(from, KLP_FRAME_RECEIPTS, kos_bytes(item, KLP_SIGNATURE_LEN + len));
}

START_TEST(forged_receipts_end_nothing)
{
    struct klp_receipt receipt = { .error = KOS_OK };
    linked();
    struct net_node *c = net_add(&net, "third");
    ck_assert_int_eq(net_connect(a, c), KOS_OK);
    net_stop(c);
    ck_assert_int_eq(net_send(a, c, "TASK_REQUEST", 5, KLP_CLASS_INTERACTIVE, receipt.id.b), KOS_OK);
    net_settle(&net);
    receipt.digest = a->mesh->entries->digest;
    receipts(b, &b->id, b, &receipt); /* b's word about what was for c */
    receipts(b, &c->id, b, &receipt); /* as if c had said it */
    receipts(b, &b->id, a, &receipt); /* signed by another key */
    ck_assert_uint_eq(a->ended_count, 0);
    ck_assert_uint_eq(a->mesh->counters.receipts_bad, 3);
    net_start(c);
    net_run(&net, 3000);
    ck_assert_uint_eq(a->ended_count, 1);
    net_fini(&net);
}
END_TEST

START_TEST(receipt_for_another_body)
{
    struct klp_receipt receipt = { .error = KOS_E_DENIED };
    linked();
    b->defers = 1;
    net.hold = true;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 5, KLP_CLASS_INTERACTIVE, receipt.id.b), KOS_OK);
    net_settle(&net);
    mesh_outbox_receipt(a->mesh, &b->id, &receipt);
    ck_assert_uint_eq(a->ended_count, 0);
    ck_assert_uint_eq(a->mesh->counters.receipts_bad, 1);
    net.hold = false;
    net_run(&net, 1000);
    ck_assert_uint_eq(a->ended_count, 1);
    ck_assert_int_eq(a->ended[0].status, KOS_OK);
    net_fini(&net);
}
END_TEST

/* ---- frames ---- */

static void raw_record(struct net_node *from, const void *plain, size_t len)
{
    struct mesh_session *session = net_session(from, from == b ? a : b);
    uint8_t sealed[4096];
    ck_assert_int_eq(klp_record_seal(session->send, kos_bytes(plain, len), sealed), KOS_OK);
    mesh_link_send(session->link, kos_bytes(sealed, len + KLP_RECORD_OVERHEAD));
    net_settle(&net);
}

static void ends_the_session(const void *plain, size_t len)
{
    linked();
    uint64_t link = net_session(b, a)->link->id;
    raw_record(a, plain, len);
    ck_assert_ptr_null(mesh_link_find(b->mesh, link));
    net_run(&net, 3000);
    ck_assert_ptr_nonnull(net_session(a, b)); /* and it comes back */
    net_fini(&net);
}

START_TEST(frames_out_of_place)
{
    static const char hello[] = "\005\000\000\002{}", credit[] = "\003\000\000\002\000\000",
                      klass[] = "\001\003\000\000", cut[] = "\011\001\000\010xx", length[] = "\011";
    ends_the_session(hello, 6);
    ends_the_session(credit, 6);
    ends_the_session(klass, 4);
    ends_the_session(cut, 6);
    ends_the_session(length, 1);
}
END_TEST

START_TEST(unknown_frames_are_skipped)
{
    static const char unknown[] = "\177\001\000\003abc\176\002\000\000";
    linked();
    raw_record(a, unknown, sizeof unknown - 1);
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 5, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->seen_count, 1);
    net_fini(&net);
}
END_TEST

START_TEST(more_than_its_credit)
{
    linked();
    struct mesh_session *session = net_session(a, b);
    uint64_t link = net_session(b, a)->link->id;
    session->out_allowed[KLP_CLASS_BULK] += 100 << 20;
    for (int i = 0; i < 5; i++) {
        uint8_t *data = kos_new(KLP_ITEM_MAX);
        mesh_session_queue(session, KLP_FRAME_MESSAGE, KLP_CLASS_BULK, data, KLP_ITEM_MAX);
    }
    /* Each of them is refused as it comes, and credit with it; what is over at any time ends the link. */
    net_session(b, a)->in_granted[KLP_CLASS_BULK] = 100000;
    net_settle(&net);
    ck_assert_ptr_null(mesh_link_find(b->mesh, link));
    net_fini(&net);
}
END_TEST

START_TEST(stolen_session_bytes_do_not_open)
{
    linked();
    net.corrupt_at = net.carried + 40;
    ck_assert_int_eq(net_send(a, b, "TASK_REQUEST", 100, KLP_CLASS_INTERACTIVE, NULL), KOS_OK);
    net_settle(&net);
    ck_assert_uint_eq(b->mesh->counters.records_bad, 1);
    ck_assert_uint_eq(b->seen_count, 0);
    net_run(&net, 3000);
    ck_assert_uint_eq(b->seen_count, 1);
    net_fini(&net);
}
END_TEST

START_TEST(log_of_a_stranger_is_not_taken)
{
    linked();
    struct net_node *c = net_add(&net, "third");
    uint8_t *text;
    size_t len;
    ck_assert_int_eq(klp_log_text(kos_identity_log(kos_keys_node(c->keys)), 0, &text, &len), KOS_OK);
    uint64_t link = net_session(b, a)->link->id;
    inject(a, KLP_FRAME_LOG, kos_bytes(text, len));
    ck_assert_ptr_null(kos_trust_log(b->trust, &c->id));
    ck_assert_ptr_null(mesh_link_find(b->mesh, link));
    free(text);
    net_fini(&net);
}
END_TEST

TESTS("mesh/hostile", proper_is_taken, signed_by_another, altered_after_signing, from_somebody_else, from_nobody_known,
      by_an_event_that_is_not, for_another_node, for_another_name, for_an_agent_that_is_not,
      expired_and_from_the_future, repeated, repeated_with_another_body, clock_set_back_opens_no_replay,
      batch_of_two_sources, nonsense_for_a_message, refusals_are_logged_once_a_minute, forged_receipts_end_nothing,
      receipt_for_another_body, frames_out_of_place, unknown_frames_are_skipped, more_than_its_credit,
      stolen_session_bytes_do_not_open, log_of_a_stranger_is_not_taken)
