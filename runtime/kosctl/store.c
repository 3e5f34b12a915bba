/* SPDX-License-Identifier: Apache-2.0
 *
 * kosctl store check: whether an instance's store is sound, while no kosd uses it. Looking writes nothing; --repair does
 * what a start does, and makes again what can be made from the rest.
 */
#include <stdlib.h>
#include <unistd.h>

#include "agents/agents.h"
#include "core/buf.h"
#include "core/loop.h"
#include "kosctl/kosctl.h"
#include "mesh/mesh.h"
#include "store/store.h"
#include "trust/trust.h"

enum { FINDINGS_MAX = 1000, TELL_NS = 100000000 };

struct checking {
    struct kosctl *ctl;
    json_t *findings, *notes;
    uint64_t count, damage, repairable; /* all that was found; of those, what nothing mends, what --repair does */
    uint64_t told_ns;
    bool line; /* of progress stands on the terminal */
};

static const char *const mends[] = { "none", "start", "repair", "hand" };

static void wipe_line(struct checking *checking)
{
    if (checking->line)
        fputs("\r\033[K", stderr);
    checking->line = false;
}

static void found(void *arg, const struct kos_store_finding *finding)
{
    struct checking *checking = arg;
    checking->count++;
    checking->damage += finding->mend == KOS_MEND_NONE;
    checking->repairable += finding->mend == KOS_MEND_REPAIR;
    if (json_array_size(checking->findings) < FINDINGS_MAX)
        json_array_append_new(checking->findings, json_pack("{s:s, s:s, s:s}", "place", finding->place, "text", finding->text, "mend", mends[finding->mend]));
}

static void note(void *arg, const char *line)
{
    struct checking *checking = arg;
    json_array_append_new(checking->notes, json_string(line));
}

static void progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct checking *checking = arg;
    uint64_t now = kos_mono_ns(&checking->ctl->plain.env);
    if (now - checking->told_ns < TELL_NS || !isatty(2))
        return;
    checking->told_ns = now;
    checking->line = true;
    fprintf(stderr, "\r\033[K%s: %d%%", what, (int)(total ? done * 100 / total : 0));
    fflush(stderr);
}

static void begin(struct checking *checking, struct kosctl *ctl)
{
    *checking = (struct checking){ .ctl = ctl, .findings = json_array(), .notes = json_array(), .told_ns = kos_mono_ns(&ctl->plain.env) };
}

static void end(struct checking *checking)
{
    json_decref(checking->findings);
    json_decref(checking->notes);
}

/* The rooms' own: what lies in the spaces, and whether it agrees. */
static int32_t check_spaces(struct kosctl *ctl, struct kos_store *store, const struct kos_store_checker *checker, struct kos_error *ret_error)
{
    int32_t r = kos_trust_check(store, checker, ret_error);
    if (r == KOS_OK)
        r = kos_mesh_check(store, checker, ret_error);
    if (r == KOS_OK)
        r = kos_agents_check(&ctl->plain.env, ctl->instance.keys_dir, store, checker, ret_error);
    return r;
}

/* Damage that ends the check is found like the rest; only a check that could not be made is an error. */
static int32_t look(struct kosctl *ctl, struct checking *checking, struct kos_error *ret_error)
{
    struct kos_store_checker checker = { .found = found, .say = note, .progress = progress, .arg = checking };
    struct kos_store *store = NULL;
    struct kos_error error;
    int32_t r = kos_store_check(&ctl->plain.env, ctl->instance.store_dir, &checker, &store, &error);
    if (r == KOS_OK)
        r = check_spaces(ctl, store, &checker, &error);
    kos_store_close(store);
    wipe_line(checking);
    if (r == KOS_E_CORRUPT || r == KOS_E_VERSION) {
        kos_store_found(&checker, KOS_MEND_NONE, ctl->instance.store_dir, "%s", error.text);
        return KOS_OK;
    }
    if (r < 0 && ret_error)
        *ret_error = error;
    return r;
}

/* What kosd does at a start and an end, with the repairs between. */
static int32_t mend(struct kosctl *ctl, struct kos_error *ret_error)
{
    struct kos_loop *loop;
    struct kos_store *store = NULL;
    struct kos_store_checker checker = { 0 };
    int32_t r = kos_loop_new(1, KOS_LOG_STDERR, &loop, ret_error);
    if (r < 0)
        return r;
    kos_loop_set_level(loop, KOS_LOG_ERROR);
    r = kos_store_open(kos_loop_env(loop), ctl->instance.store_dir, NULL, &store, ret_error);
    if (r == KOS_OK) {
        /* That it was repaired is kept; and what is written begins a new segment of the journal, behind a torn end. */
        json_int_t now = (json_int_t)kos_now_ms(kos_loop_env(loop));
        checker.tx = kos_tx_begin(store);
        kos_tx_put(checker.tx, "store", kos_bytes_str("repaired"), kos_bytes(&now, sizeof now));
        r = check_spaces(ctl, store, &checker, ret_error);
        if (r < 0)
            kos_tx_abort(checker.tx);
        else if ((r = kos_tx_commit(checker.tx, NULL, NULL)) < 0)
            kos_fail(ret_error, r, "the repairs cannot be stored: %s", kos_error_text(r));
    }
    kos_store_close(store);
    kos_loop_free(loop);
    return r;
}

static bool same(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "place"), json_object_get(b, "place")) && json_equal(json_object_get(a, "text"), json_object_get(b, "text"));
}

/* Marks what was found before and is not any more. */
static uint64_t mark_repaired(struct checking *before, const struct checking *after)
{
    json_t *was, *is;
    size_t i, j;
    uint64_t repaired = 0;
    json_array_foreach(before->findings, i, was) {
        bool still = false;
        json_array_foreach(after->findings, j, is)
            still |= same(was, is);
        json_object_set_new(was, "repaired", json_boolean(!still));
        repaired += !still;
    }
    return repaired;
}

static void print(struct checking *shown, bool repair, bool sound, uint64_t repaired)
{
    json_t *value;
    size_t i;
    json_array_foreach(shown->notes, i, value) {
        char *line = escaped(json_string_value(value));
        puts(line);
        free(line);
    }
    json_array_foreach(shown->findings, i, value) {
        char *place = escaped(str(value, "place")), *text = escaped(str(value, "text"));
        const char *mends_by = str(value, "mend");
        const char *head = json_is_true(json_object_get(value, "repaired")) ? "repaired" : strcmp(mends_by, "none") == 0 ? "damaged"
                           : strcmp(mends_by, "start") == 0 ? "next start mends" : strcmp(mends_by, "repair") == 0 ? "--repair mends" : "by hand";
        printf("%s: %s: %s\n", head, place, text);
        free(place);
        free(text);
    }
    if (shown->count > json_array_size(shown->findings))
        printf("and %llu more\n", (unsigned long long)(shown->count - json_array_size(shown->findings)));
    if (repair)
        printf("%llu repaired\n", (unsigned long long)repaired);
    puts(sound ? "sound" : "not sound");
}

static int report(struct kosctl *ctl, struct checking *shown, const struct checking *last, bool repair, uint64_t repaired)
{
    bool sound = !last->damage && !last->repairable;
    struct kos_error error;
    if (ctl->json)
        kosctl_print_json(json_pack("{s:b, s:O, s:I, s:O, s:I}", "sound", sound, "findings", shown->findings, "found", (json_int_t)shown->count,
                                    "notes", last->notes, "repaired", (json_int_t)repaired));
    else
        print(shown, repair, sound, repaired);
    if (sound)
        return EXIT_DONE;
    kos_fail(&error, KOS_E_CORRUPT, last->damage ? "%s is damaged: restore it from a copy" : "%s is not sound: kosctl store check --repair mends it",
             ctl->instance.store_dir);
    fflush(stdout);
    fprintf(stderr, "kosctl: %s: %s\n", kos_error_name(error.code), error.text);
    return EXIT_FAILED;
}

int cmd_store_check(struct kosctl *ctl, int argc, char **argv)
{
    static const struct option own[] = { { "repair", no_argument, NULL, 'r' }, { 0 } };
    struct checking before, after;
    struct kos_error error;
    bool repair = false;
    uint64_t repaired = 0;
    for (int c; (c = kosctl_option(ctl, argc, argv, own)) != -1;) {
        if (c == -2)
            return EXIT_DONE;
        if (c != 'r')
            return EXIT_USAGE;
        repair = true;
    }
    if (!kosctl_words(ctl, argc, 0, ""))
        return EXIT_USAGE;
    int32_t r = kosctl_instance(ctl, &error);
    if (r < 0)
        return kosctl_fail(ctl, &error);
    begin(&before, ctl);
    begin(&after, ctl);
    r = look(ctl, &before, &error);
    bool mending = r == KOS_OK && repair && !before.damage;
    if (mending && (r = mend(ctl, &error)) == KOS_OK && (r = look(ctl, &after, &error)) == KOS_OK)
        repaired = mark_repaired(&before, &after);
    int status = r < 0 ? kosctl_fail(ctl, &error) : report(ctl, &before, mending ? &after : &before, repair, repaired);
    end(&before);
    end(&after);
    return status;
}
