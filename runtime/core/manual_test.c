/* SPDX-License-Identifier: Apache-2.0
 * The manual environment: time, turns, files that forget, faults. */
#include "core/manual.h"

#include "core/buf.h"
#include "unit.h"

struct trace {
    struct kos_env *env;
    char text[256];
};

static void note(struct trace *trace, const char *what)
{
    strncat(trace->text, what, sizeof trace->text - strlen(trace->text) - 1);
}

struct step {
    struct kos_deferred deferred;
    struct kos_work work;
    struct kos_turn_end end;
    struct trace *trace;
    const char *name;
    struct step *then; /* deferred when this one runs */
};

static void step_deferred(struct kos_deferred *deferred)
{
    struct step *step = (struct step *)((char *)deferred - offsetof(struct step, deferred));
    note(step->trace, step->name);
    if (step->then)
        kos_defer(step->trace->env, &step->then->deferred);
}

static void step_run(struct kos_work *work)
{
    struct step *step = (struct step *)((char *)work - offsetof(struct step, work));
    note(step->trace, "run ");
}

static void step_done(struct kos_work *work)
{
    struct step *step = (struct step *)((char *)work - offsetof(struct step, work));
    note(step->trace, "done ");
}

static void step_end(struct kos_turn_end *end)
{
    struct step *step = (struct step *)((char *)end - offsetof(struct step, end));
    note(step->trace, step->name);
}

static void fired(void *arg)
{
    note(arg, "timer ");
}

START_TEST(turn_order)
{
    struct kos_manual *manual = kos_manual_new(1);
    struct trace trace = { .env = kos_manual_env(manual) };
    struct step b = { .deferred.run = step_deferred, .trace = &trace, .name = "b " };
    struct step a = { .deferred.run = step_deferred, .trace = &trace, .name = "a ", .then = &b };
    struct step w = { .work = { .run = step_run, .done = step_done }, .trace = &trace };
    struct step e30 = { .end = { .run = step_end, .order = 30 }, .trace = &trace, .name = "30 " };
    struct step e10 = { .end = { .run = step_end, .order = 10 }, .trace = &trace, .name = "10 " };
    struct step gone = { .deferred.run = step_deferred, .trace = &trace, .name = "gone " };
    trace.env->ops->turn_end_add(trace.env, &e30.end);
    trace.env->ops->turn_end_add(trace.env, &e10.end);
    kos_defer(trace.env, &a.deferred);
    kos_defer(trace.env, &gone.deferred);
    kos_defer(trace.env, &a.deferred); /* twice is once */
    kos_undefer(trace.env, &gone.deferred);
    kos_work(trace.env, &w.work);
    struct kos_timer *timer = kos_timer_new(trace.env, fired, &trace);
    kos_timer_set(trace.env, timer, 0);
    ck_assert_str_eq(trace.text, "");
    ck_assert(kos_manual_turn(manual));
    ck_assert_str_eq(trace.text, "timer a b run done 10 30 ");
    trace.text[0] = 0;
    trace.env->ops->turn_end_remove(trace.env, &e10.end);
    ck_assert(!kos_manual_turn(manual));
    ck_assert_str_eq(trace.text, "30 ");
    kos_timer_free(trace.env, timer);
    kos_manual_free(manual);
}
END_TEST

struct clocked {
    struct kos_env *env;
    struct kos_timer *timer;
    uint64_t every, fired, at[64];
};

static void tick(void *arg)
{
    struct clocked *clocked = arg;
    clocked->at[clocked->fired++ % 64] = kos_mono_ms(clocked->env);
    if (clocked->every)
        kos_timer_set(clocked->env, clocked->timer, clocked->every);
}

static void free_itself(void *arg)
{
    struct clocked *clocked = arg;
    clocked->fired++;
    kos_timer_free(clocked->env, clocked->timer);
    clocked->timer = NULL;
}

START_TEST(timers)
{
    struct kos_manual *manual = kos_manual_new(2);
    struct kos_env *env = kos_manual_env(manual);
    uint64_t start = kos_mono_ms(env);
    int64_t wall = kos_now_ms(env);
    struct clocked a = { env, NULL, 10, 0, { 0 } }, b = { env, NULL, 0, 0, { 0 } };
    a.timer = kos_timer_new(env, tick, &a);
    b.timer = kos_timer_new(env, free_itself, &b);
    kos_timer_set(env, a.timer, 10);
    kos_timer_set(env, b.timer, 1000);
    kos_timer_set(env, b.timer, 35); /* moves it */
    kos_manual_advance(manual, 34);
    ck_assert_uint_eq(a.fired, 3);
    ck_assert_uint_eq(a.at[2], start + 30);
    ck_assert_uint_eq(b.fired, 0);
    kos_manual_advance(manual, 1);
    ck_assert_uint_eq(b.fired, 1);
    ck_assert_uint_eq(kos_mono_ms(env), start + 35);
    ck_assert_int_eq(kos_now_ms(env), wall + 35);
    kos_timer_stop(env, a.timer);
    kos_manual_set_wall(manual, 5);
    kos_manual_advance(manual, 1000);
    ck_assert_uint_eq(a.fired, 3);
    ck_assert_int_eq(kos_now_ms(env), 1005);
    kos_timer_free(env, a.timer);
    kos_manual_free(manual);
}
END_TEST

START_TEST(many_timers_fire_in_order)
{
    enum { COUNT = 2000 };
    struct kos_manual *manual = kos_manual_new(3);
    struct kos_env *env = kos_manual_env(manual);
    struct clocked *all = kos_new(COUNT * sizeof *all);
    for (size_t i = 0; i < COUNT; i++) {
        uint16_t delay;
        kos_random(env, &delay, sizeof delay);
        all[i].env = env;
        all[i].timer = kos_timer_new(env, tick, &all[i]);
        kos_timer_set(env, all[i].timer, delay);
    }
    for (size_t i = 0; i < COUNT; i += 3)
        kos_timer_stop(env, all[i].timer);
    kos_manual_advance(manual, 65536);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(all[i].fired, i % 3 ? 1 : 0);
        kos_timer_free(env, all[i].timer);
    }
    free(all);
    kos_manual_free(manual);
}
END_TEST

START_TEST(random_repeats)
{
    struct kos_manual *a = kos_manual_new(7), *b = kos_manual_new(7), *c = kos_manual_new(8);
    uint8_t one[1000], two[1000], three[1000];
    kos_random(kos_manual_env(a), one, sizeof one);
    for (size_t i = 0; i < sizeof two; i += 100)
        kos_random(kos_manual_env(b), two + i, 100);
    kos_random(kos_manual_env(c), three, sizeof three);
    ck_assert_mem_eq(one, two, sizeof one);
    ck_assert_mem_ne(one, three, sizeof one);
    kos_manual_free(a);
    kos_manual_free(b);
    kos_manual_free(c);
}
END_TEST

static struct kos_file *open_file(struct kos_env *env, const char *path, int32_t flags)
{
    struct kos_file *file = NULL;
    ck_assert_int_eq(env->ops->file_open(env, path, flags, 0600, &file), KOS_OK);
    return file;
}

START_TEST(power_loss)
{
    struct kos_manual *manual = kos_manual_new(4);
    struct kos_env *env = kos_manual_env(manual);
    const struct kos_env_ops *ops = env->ops;
    ck_assert_int_eq(ops->dir_make(env, "/d", 0700), KOS_OK);
    ck_assert_int_eq(ops->dir_sync(env, "/"), KOS_OK);
    struct kos_file *kept = open_file(env, "/d/kept", KOS_FILE_READ | KOS_FILE_WRITE | KOS_FILE_CREATE);
    struct kos_file *lost = open_file(env, "/d/synced_but_not_its_name", KOS_FILE_WRITE | KOS_FILE_CREATE);
    ck_assert_int_eq(ops->file_write(kept, "first", 5, 4094), KOS_OK);
    ck_assert_int_eq(ops->file_sync(kept), KOS_OK);
    ops->file_remove(env, "/d/synced_but_not_its_name");
    ck_assert_int_eq(ops->dir_sync(env, "/d"), KOS_OK);
    ops->file_close(lost);
    lost = open_file(env, "/d/synced_but_not_its_name", KOS_FILE_WRITE | KOS_FILE_CREATE);
    ck_assert_int_eq(ops->file_write(lost, "x", 1, 0), KOS_OK);
    ck_assert_int_eq(ops->file_sync(lost), KOS_OK);
    ck_assert_int_eq(ops->file_write(kept, "secondtail", 10, 4094), KOS_OK);
    ck_assert_int_eq(ops->file_rename(env, "/d/kept", "/d/renamed"), KOS_OK);
    ck_assert_int_eq(ops->file_lock(kept), KOS_OK);
    kos_manual_power_loss(manual);
    ck_assert_int_eq(ops->file_write(kept, "stale", 5, 0), KOS_E_IO);
    ops->file_close(kept);
    ops->file_close(lost);
    struct kos_file *file = NULL;
    ck_assert_int_eq(ops->file_open(env, "/d/renamed", KOS_FILE_READ, 0, &file), KOS_E_NOTFOUND);
    ck_assert_int_eq(ops->file_open(env, "/d/synced_but_not_its_name", KOS_FILE_READ, 0, &file), KOS_E_NOTFOUND);
    ck_assert_ptr_null(file);
    file = open_file(env, "/d/kept", KOS_FILE_READ);
    char text[32] = { 0 };
    ck_assert_int_eq(ops->file_size(file), 4099);
    ck_assert_int_eq(ops->file_read(file, text, sizeof text, 4094), 5);
    ck_assert_str_eq(text, "first");
    ck_assert_int_eq(ops->file_lock(file), KOS_OK);
    ops->file_close(file);
    kos_manual_free(manual);
}
END_TEST

START_TEST(failed_sync_is_not_healed)
{
    struct kos_manual *manual = kos_manual_new(5);
    struct kos_env *env = kos_manual_env(manual);
    struct kos_file *file = open_file(env, "/f", KOS_FILE_READ | KOS_FILE_WRITE | KOS_FILE_CREATE);
    env->ops->dir_sync(env, "/");
    ck_assert_int_eq(env->ops->file_write(file, "aaaa", 4, 0), KOS_OK);
    ck_assert_int_eq(env->ops->file_sync(file), KOS_OK);
    ck_assert_int_eq(env->ops->file_write(file, "bbbb", 4, 0), KOS_OK);
    kos_manual_fail_file_once(manual, 1, KOS_E_IO);
    ck_assert_int_eq(env->ops->file_sync(file), KOS_E_IO);
    ck_assert_int_eq(env->ops->file_sync(file), KOS_OK);
    kos_manual_power_loss(manual);
    env->ops->file_close(file);
    uint8_t *data;
    size_t len;
    ck_assert_int_eq(kos_file_read_all(env, "/f", 4, &data, &len), KOS_OK);
    ck_assert_str_eq((char *)data, "aaaa");
    free(data);
    kos_manual_free(manual);
}
END_TEST

/* Writes one file over another; whatever operation fails or loses power, one of the two contents is there, whole. */
START_TEST(write_all_is_all_or_nothing)
{
    for (uint64_t nth = 1; nth <= 8; nth++)
        for (int32_t kind = 0; kind < 3; kind++) {
            struct kos_manual *manual = kos_manual_new(nth);
            struct kos_env *env = kos_manual_env(manual);
            ck_assert_int_eq(kos_file_write_all(env, "/f", 0600, kos_bytes_str("old content")), KOS_OK);
            kos_manual_fail_files(manual, nth, kind == 0 ? KOS_E_NOSPACE : KOS_E_IO);
            int32_t rc = kos_file_write_all(env, "/f", 0600, kos_bytes_str("new"));
            kos_manual_fail_files(manual, 0, KOS_OK);
            if (kind == 1)
                kos_manual_power_loss(manual);
            if (kind == 2)
                kos_manual_power_loss_torn(manual);
            uint8_t *data;
            size_t len;
            ck_assert_int_eq(kos_file_read_all(env, "/f", 100, &data, &len), KOS_OK);
            ck_assert(strcmp((char *)data, rc == KOS_OK ? "new" : "old content") == 0 ||
                      (rc < 0 && strcmp((char *)data, "new") == 0));
            free(data);
            kos_manual_free(manual);
        }
}
END_TEST

START_TEST(read_all_limits)
{
    struct kos_manual *manual = kos_manual_new(6);
    struct kos_env *env = kos_manual_env(manual);
    uint8_t *data = NULL;
    size_t len = 99;
    ck_assert_int_eq(kos_file_write_all(env, "/f", 0600, kos_bytes_str("12345")), KOS_OK);
    ck_assert_int_eq(kos_file_read_all(env, "/f", 4, &data, &len), KOS_E_LIMIT);
    ck_assert_int_eq(kos_file_read_all(env, "/g", 4, &data, &len), KOS_E_NOTFOUND);
    ck_assert_ptr_null(data);
    ck_assert_int_eq(kos_file_read_all(env, "/f", 5, &data, &len), KOS_OK);
    ck_assert_uint_eq(len, 5);
    free(data);
    ck_assert_int_eq(kos_file_write_all(env, "/f", 0600, kos_bytes(NULL, 0)), KOS_OK);
    ck_assert_int_eq(kos_file_read_all(env, "/f", 0, &data, &len), KOS_OK);
    ck_assert_uint_eq(len, 0);
    free(data);
    kos_manual_free(manual);
}
END_TEST

static void collect(void *arg, const char *name)
{
    strcat(arg, name);
    strcat(arg, " ");
}

START_TEST(directories)
{
    struct kos_manual *manual = kos_manual_new(6);
    struct kos_env *env = kos_manual_env(manual);
    const struct kos_env_ops *ops = env->ops;
    ck_assert_int_eq(ops->dir_make(env, "/a", 0700), KOS_OK);
    ck_assert_int_eq(ops->dir_make(env, "/a", 0700), KOS_E_EXISTS);
    ck_assert_int_eq(ops->dir_make(env, "/b/c", 0700), KOS_E_NOTFOUND);
    ck_assert_int_eq(ops->dir_make(env, "relative", 0700), KOS_E_INVALID);
    for (const char *name = "zbca"; *name; name++) {
        char path[] = { '/', 'a', '/', *name, 0 };
        ops->file_close(open_file(env, path, KOS_FILE_WRITE | KOS_FILE_CREATE | KOS_FILE_EXCLUSIVE));
    }
    struct kos_file *file;
    ck_assert_int_eq(ops->file_open(env, "/a/z", KOS_FILE_WRITE | KOS_FILE_CREATE | KOS_FILE_EXCLUSIVE, 0600, &file), KOS_E_EXISTS);
    ck_assert_int_eq(ops->file_open(env, "/a", KOS_FILE_READ, 0, &file), KOS_E_INVALID);
    ck_assert_int_eq(ops->file_open(env, "/a/../a/z", KOS_FILE_READ, 0, &file), KOS_E_INVALID);
    char names[64] = "";
    ck_assert_int_eq(ops->dir_list(env, "/a", collect, names), KOS_OK);
    ck_assert_str_eq(names, "a b c z ");
    ck_assert_int_eq(ops->file_remove(env, "/a"), KOS_E_EXISTS);
    ck_assert_int_eq(ops->file_rename(env, "/a/z", "/a/b"), KOS_OK);
    names[0] = 0;
    ck_assert_int_eq(ops->dir_list(env, "/a", collect, names), KOS_OK);
    ck_assert_str_eq(names, "a b c ");
    struct kos_file *one = open_file(env, "/a/a", KOS_FILE_READ), *two = open_file(env, "/a/a", KOS_FILE_READ);
    ck_assert_int_eq(ops->file_lock(one), KOS_OK);
    ck_assert_int_eq(ops->file_lock(two), KOS_E_LOCKED);
    ops->file_close(one);
    ck_assert_int_eq(ops->file_lock(two), KOS_OK);
    ops->file_close(two);
    kos_manual_free(manual);
}
END_TEST

START_TEST(log_cannot_be_forged)
{
    struct kos_manual *manual = kos_manual_new(6);
    struct kos_env *env = kos_manual_env(manual);
    kos_log(env, KOS_LOG_WARNING, "mesh", "peer says %s", "hi\n<3>trust: forged\x1b[2J\xc2\x9b\xe2\x80\xaeZ\xc3\xa9\xff");
    ck_assert_str_eq(kos_manual_logged(manual),
                     "<4>mesh: peer says hi\\n<3>trust: forged\\x1b[2J\\xc2\\x9b\\xe2\\x80\\xaeZ\xc3\xa9\\xff\n");
    env->log_level = KOS_LOG_ERROR;
    kos_log(env, KOS_LOG_WARNING, "mesh", "unheard");
    ck_assert_ptr_null(strstr(kos_manual_logged(manual), "unheard"));
    kos_manual_free(manual);
}
END_TEST

START_TEST(log_limit)
{
    struct kos_manual *manual = kos_manual_new(6);
    struct kos_env *env = kos_manual_env(manual);
    struct kos_log_limit *limit = kos_log_limit_new(env, 60000);
    uint32_t held = 99;
    ck_assert(kos_log_limit_pass(limit, "a", &held));
    ck_assert_uint_eq(held, 0);
    ck_assert(!kos_log_limit_pass(limit, "a", NULL));
    ck_assert(!kos_log_limit_pass(limit, "a", &held));
    ck_assert(kos_log_limit_pass(limit, "b", &held));
    kos_manual_advance(manual, 60000);
    ck_assert(kos_log_limit_pass(limit, "a", &held));
    ck_assert_uint_eq(held, 2);
    for (int i = 0; i < 1024; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        ck_assert(kos_log_limit_pass(limit, key, NULL));
    }
    ck_assert(kos_log_limit_pass(limit, "a", NULL)); /* was the oldest and left */
    ck_assert(!kos_log_limit_pass(limit, "k1023", NULL));
    kos_log_limit_free(limit);
    kos_manual_free(manual);
}
END_TEST

START_TEST(test_stat)
{
    struct kos_manual *manual = kos_manual_new(1);
    struct kos_env *env = kos_manual_env(manual);
    struct kos_file_stat st;
    ck_assert_int_eq(env->ops->file_stat(env, "/d", &st), KOS_E_NOTFOUND);
    ck_assert_int_eq(env->ops->dir_make(env, "/d", 0700), KOS_OK);
    ck_assert_int_eq(kos_file_write_all(env, "/d/f", 0640, kos_bytes("abc", 3)), KOS_OK);
    ck_assert_int_eq(env->ops->file_stat(env, "/d", &st), KOS_OK);
    ck_assert(st.type == KOS_FILE_DIRECTORY && st.mode == 0700 && st.ours);
    ck_assert_int_eq(env->ops->file_stat(env, "/d/f", &st), KOS_OK);
    ck_assert(st.type == KOS_FILE_REGULAR && st.mode == 0640 && st.size == 3);
    kos_manual_free(manual);
}
END_TEST

TESTS("core/manual", turn_order, timers, many_timers_fire_in_order, random_repeats, power_loss, failed_sync_is_not_healed,
      write_all_is_all_or_nothing, read_all_limits, directories, log_cannot_be_forged, log_limit, test_stat)
