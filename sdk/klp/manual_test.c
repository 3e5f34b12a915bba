/* SPDX-License-Identifier: Apache-2.0
 *
 * klp(7) against the code: its examples are what libklp makes and takes, its names are all there.
 */
#include <klp/message.h>
#include <klp/statement.h>

#include <stdio.h>

#include "log_testing.h"

enum { RECORDS_MAX = 8, RECORD_MAX = 4096 };

static char *manual(void)
{
    FILE *file = fopen(KOS_TEST_SRCDIR "/man/klp.7", "r");
    ck_assert_ptr_nonnull(file);
    char *text = calloc(1, 1 << 18);
    size_t len = fread(text, 1, (1 << 18) - 1, file);
    ck_assert_uint_gt(len, 0);
    fclose(file);
    return text;
}

/* The records under EXAMPLES: lines between .Bd and .Ed, joined; braces tell where one ends. */
static size_t records(const char *text, char ret_records[RECORDS_MAX][RECORD_MAX])
{
    const char *line = strstr(text, ".Sh EXAMPLES");
    size_t count = 0, at = 0;
    int depth = 0;
    bool literal = false;
    ck_assert_ptr_nonnull(line);
    while ((line = strchr(line, '\n')) != NULL && strncmp(++line, ".Sh ", 4) != 0) {
        size_t len = strcspn(line, "\n");
        if (line[0] == '.') {
            literal = strncmp(line, ".Bd", 3) == 0;
            continue;
        }
        for (size_t i = 0; literal && i < len; i++) {
            ck_assert_uint_lt(count, RECORDS_MAX);
            ck_assert_uint_lt(at, RECORD_MAX - 1);
            ret_records[count][at++] = line[i];
            depth += line[i] == '{' ? 1 : line[i] == '}' ? -1 : 0;
            if (depth == 0) {
                ret_records[count++][at] = '\0';
                at = 0;
            }
        }
    }
    ck_assert_int_eq(depth, 0);
    return count;
}

static void same_entry(struct klp_log *log, const char *text, int32_t type, uint8_t signer)
{
    struct klp_event event;
    struct kos_error error = { 0 };
    struct klp_secret secret = t_secret(KLP_ALG_ED25519, signer);
    struct t_entry made;
    ck_assert_msg(klp_log_append(log, kos_bytes_str(text), &error) == KLP_LOG_APPENDED, "%s", error.text);
    ck_assert_int_eq(klp_event_parse(kos_bytes_str(text), &event, NULL), 0);
    ck_assert_int_eq(event.type, type);
    t_make(&event, &secret, &made);
    ck_assert(kos_bytes_eq(t_bytes(&made), kos_bytes_str(text)));
}

static void named(const char *manual_text, const struct klp_log *log)
{
    char id[KLP_ID_TEXT], line[KLP_ID_TEXT + 8];
    klp_id_text(klp_log_id(log), id);
    snprintf(line, sizeof line, ".Li %s ", id);
    ck_assert_ptr_nonnull(strstr(manual_text, line));
}

START_TEST(examples)
{
    static char texts[RECORDS_MAX][RECORD_MAX];
    char *text = manual();
    ck_assert_uint_eq(records(text, texts), 6);
    struct klp_log *node = klp_log_new(), *agent = klp_log_new();
    same_entry(node, texts[0], KLP_EVENT_INCEPTION, 1);
    same_entry(node, texts[1], KLP_EVENT_DELEGATION, 1);
    same_entry(node, texts[2], KLP_EVENT_ROTATION, 2);
    same_entry(agent, texts[3], KLP_EVENT_INCEPTION, 3);
    named(text, node);
    named(text, agent);
    ck_assert(klp_log_delegates(node, klp_log_id(agent), klp_log_identity(agent)));

    uint8_t *body, signature[KLP_BATCH_SIGNATURE_MAX];
    size_t len, signature_len;
    struct klp_message message;
    ck_assert_int_eq(klp_message_from_text(kos_bytes_str(texts[4]), &body, &len, signature, &signature_len, NULL), 0);
    ck_assert_int_eq(klp_message_parse(kos_bytes(body, len), &message, NULL), 0);
    ck_assert_int_eq(klp_message_verify(&message, kos_bytes(signature, signature_len), node, message.created), 0);
    free(body);

    struct klp_statement statement;
    ck_assert_int_eq(klp_statement_parse(kos_bytes_str(texts[5]), &statement, NULL), 0);
    ck_assert_int_eq(klp_statement_verify(&statement, node, statement.created), 0);
    klp_log_free(node);
    klp_log_free(agent);
    free(text);
}
END_TEST

static void has_line(const char *text, const char *name, const char *rest)
{
    char line[256];
    snprintf(line, sizeof line, "\n.It %s Ta %s", name, rest);
    ck_assert_msg(strstr(text, line) != NULL, "klp(7) lacks \"%s\"", line + 1);
}

START_TEST(names)
{
    char *text = manual();
#define ERROR_LINE(constant, number, name, again, sentence) has_line(text, name, again ? "*" : "");
    KOS_ERROR_LIST(ERROR_LINE)
    static const char *const tags[] = { KLP_TAG_EVENT, KLP_TAG_ACCEPT, KLP_TAG_STATEMENT, KLP_TAG_MESSAGE,
                                        KLP_TAG_BATCH, KLP_TAG_RECEIPT, KLP_TAG_NOISE, KLP_TAG_AUDIT };
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        has_line(text, tags[i], "");
    free(text);
}
END_TEST

START_TEST(limits)
{
    char *text = manual(), number[64];
    static const struct { const char *name; long long value; } numbers[] = {
        { "depth of JSON", KLP_JSON_DEPTH_MAX }, { "an event", KLP_EVENT_MAX }, { "events of a log", KLP_LOG_EVENTS_MAX },
        { "witnesses", KLP_WITNESSES_MAX }, { "an acceptance", KLP_ACCEPTANCE_MAX },
        { "grace", KLP_GRACE_MAX_MS / 86400000 }, { "a statement", KLP_STATEMENT_MAX }, { "a message", KLP_MESSAGE_MAX },
        { "a message, from created to expires", KLP_MESSAGE_LIFE_MAX_MS / 86400000 },
        { "created ahead of the clock", KLP_CLOCK_SKEW_MAX_MS / 60000 }, { "messages of a batch", KLP_BATCH_MAX },
        { "receipts under one signature", KLP_RECEIPTS_MAX },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(number, sizeof number, "%lld", numbers[i].value);
        has_line(text, numbers[i].name, number);
    }
    free(text);
}
END_TEST

TESTS("klp/manual", examples, names, limits)
