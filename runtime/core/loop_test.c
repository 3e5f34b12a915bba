/* SPDX-License-Identifier: Apache-2.0
 * The real loop: turns, timers, descriptors, workers, calls from other threads, the kernel's files. */
#include "core/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/plain.h"
#include "unit.h"

struct world {
    struct kos_loop *loop;
    struct kos_env *env;
    char trace[256];
    struct kos_timer *timer, *other;
    struct kos_watch *watch;
    struct kos_deferred deferred;
    struct kos_work work[64];
    struct kos_turn_end ends[3];
    int left, turns;
    int pipe[2];
    uint64_t started;
    pthread_t ran_on;
};

static struct world *world; /* of the one test that runs in this process */

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void note(const char *what)
{
    strncat(world->trace, what, sizeof world->trace - strlen(world->trace) - 1);
}

static void begin(struct world *w)
{
    world = w;
    *w = (struct world){ 0 };
    ck_assert_int_eq(kos_loop_new(3, KOS_LOG_STDERR, &w->loop, NULL), KOS_OK);
    w->env = kos_loop_env(w->loop);
}

static void stop(void *arg)
{
    (void)arg;
    kos_loop_stop(world->loop);
}

static void note_timer(void *arg)
{
    (void)arg;
    note("timer ");
    kos_defer(world->env, &world->deferred);
    kos_defer(world->env, &world->deferred);
}

static void note_deferred(struct kos_deferred *deferred)
{
    (void)deferred;
    note("deferred ");
    kos_work(world->env, &world->work[0]);
}

static void work_run(struct kos_work *work)
{
    if (work == &world->work[0])
        world->ran_on = pthread_self();
}

static void note_done(struct kos_work *work)
{
    (void)work;
    note("done ");
    kos_loop_stop(world->loop);
}

static void note_end(struct kos_turn_end *end)
{
    if (world->trace[0] && ++world->turns <= 3) /* the first turn that did something */
        note(end->order == 10 ? "10 " : end->order == 20 ? "20 " : "30 ");
}

START_TEST(order_of_a_turn)
{
    struct world w;
    begin(&w);
    static const int32_t orders[] = { 30, 10, 20 };
    for (int i = 0; i < 3; i++) {
        w.ends[i] = (struct kos_turn_end){ .run = note_end, .order = orders[i] };
        w.env->ops->turn_end_add(w.env, &w.ends[i]);
    }
    w.deferred.run = note_deferred;
    w.work[0] = (struct kos_work){ .run = work_run, .done = note_done };
    w.timer = kos_timer_new(w.env, note_timer, NULL);
    kos_timer_set(w.env, w.timer, 1);
    ck_assert_int_eq(kos_loop_run(w.loop), KOS_OK);
    ck_assert_msg(strcmp(w.trace, "timer deferred 10 20 30 done ") == 0 || strcmp(w.trace, "timer deferred done 10 20 30 ") == 0, "%s", w.trace);
    ck_assert(!pthread_equal(w.ran_on, pthread_self()));
    kos_timer_free(w.env, w.timer);
    kos_loop_free(w.loop);
}
END_TEST

static void not_before(void *arg)
{
    (void)arg;
    ck_assert_uint_ge(kos_mono_ns(world->env) - world->started, 20 * 1000000);
    kos_timer_free(world->env, world->timer); /* from its own callback */
    world->timer = NULL;
    kos_loop_stop(world->loop);
}

static void never(void *arg)
{
    (void)arg;
    ck_abort_msg("a stopped timer fired");
}

START_TEST(timer_is_not_early)
{
    struct world w;
    begin(&w);
    w.timer = kos_timer_new(w.env, not_before, NULL);
    w.other = kos_timer_new(w.env, never, NULL);
    w.started = kos_mono_ns(w.env);
    kos_timer_set(w.env, w.timer, 1);
    kos_timer_set(w.env, w.timer, 20); /* moves it */
    kos_timer_set(w.env, w.other, 5);
    kos_timer_stop(w.env, w.other);
    kos_loop_run(w.loop);
    ck_assert_ptr_null(w.timer);
    kos_timer_set(w.env, w.other, UINT64_MAX); /* far, not now */
    kos_timer_free(w.env, w.other);
    kos_loop_free(w.loop);
}
END_TEST

static void readable(void *arg, int32_t events)
{
    (void)arg;
    char c;
    ck_assert_int_eq(events, KOS_READABLE);
    ck_assert_int_eq(read(world->pipe[0], &c, 1), 1);
    if (--world->left == 0) {
        world->env->ops->watch_free(world->watch); /* from its own callback */
        kos_loop_stop(world->loop);
    }
}

START_TEST(watch_is_level_triggered)
{
    struct world w;
    begin(&w);
    ck_assert_int_eq(pipe(w.pipe), 0);
    ck_assert_int_eq(write(w.pipe[1], "xyz", 3), 3);
    w.left = 3;
    w.watch = w.env->ops->watch_new(w.env, w.pipe[0], readable, NULL);
    ck_assert_int_eq(w.env->ops->watch_set(w.watch, KOS_READABLE), KOS_OK);
    ck_assert_int_eq(w.env->ops->watch_set(w.watch, 0), KOS_OK);
    ck_assert_int_eq(w.env->ops->watch_set(w.watch, KOS_READABLE), KOS_OK);
    kos_loop_run(w.loop);
    ck_assert_int_eq(w.left, 0);
    close(w.pipe[0]);
    close(w.pipe[1]);
    kos_loop_free(w.loop);
}
END_TEST

static void one_done(struct kos_work *work)
{
    (void)work;
    if (--world->left == 0)
        kos_loop_stop(world->loop);
}

START_TEST(each_piece_of_work_comes_back_once)
{
    struct world w;
    begin(&w);
    w.left = 64;
    for (int i = 0; i < 64; i++) {
        w.work[i] = (struct kos_work){ .run = work_run, .done = one_done };
        kos_work(w.env, &w.work[i]);
    }
    kos_loop_run(w.loop);
    ck_assert_int_eq(w.left, 0);
    /* those under way when the loop goes come back too, and one can be waited for */
    w.left = 65;
    for (int i = 0; i < 64; i++)
        kos_work(w.env, &w.work[i]);
    kos_work_finish(w.env, &w.work[63]);
    ck_assert_int_eq(w.left, 64);
    kos_loop_free(w.loop);
    ck_assert_int_eq(w.left, 1);
}
END_TEST

static void posted(void *arg)
{
    (void)arg;
    if (--world->left == 0)
        kos_loop_stop(world->loop);
}

static void *poster(void *arg)
{
    for (int i = 0; i < 1000; i++)
        kos_loop_post(arg, posted, NULL);
    return NULL;
}

START_TEST(post_from_threads)
{
    struct world w;
    begin(&w);
    pthread_t threads[3];
    w.left = 3000;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, poster, w.loop), 0);
    kos_loop_run(w.loop);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(w.left, 0);
    kos_loop_post(w.loop, posted, NULL); /* dropped with the loop */
    kos_loop_free(w.loop);
}
END_TEST

static void caught(void *arg, int number)
{
    ck_assert_int_eq(number, SIGUSR1);
    stop(arg);
}

static void send_signal(void *arg)
{
    (void)arg;
    raise(SIGUSR1);
}

START_TEST(signals)
{
    struct world w;
    begin(&w);
    ck_assert_int_eq(kos_loop_signal(w.loop, SIGUSR1, caught, NULL), KOS_OK);
    kos_loop_post(w.loop, send_signal, NULL);
    kos_loop_run(w.loop);
    kos_loop_free(w.loop);
}
END_TEST

START_TEST(bad_arguments)
{
    struct kos_loop *loop = NULL;
    struct kos_error error;
    ck_assert_int_eq(kos_loop_new(0, KOS_LOG_STDERR, &loop, &error), KOS_E_INVALID);
    ck_assert_int_eq(kos_loop_new(65, KOS_LOG_STDERR, &loop, &error), KOS_E_INVALID);
    ck_assert_ptr_null(loop);
}
END_TEST

START_TEST(log_line_for_the_journal)
{
    struct kos_loop *loop;
    int out[2], saved = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe(out), 0);
    dup2(out[1], STDERR_FILENO);
    ck_assert_int_eq(kos_loop_new(1, KOS_LOG_JOURNAL, &loop, NULL), KOS_OK);
    kos_log(kos_loop_env(loop), KOS_LOG_DEBUG, "core", "below the level");
    kos_log(kos_loop_env(loop), KOS_LOG_WARNING, "core", "two\nlines");
    kos_loop_set_level(loop, KOS_LOG_DEBUG);
    kos_log(kos_loop_env(loop), KOS_LOG_DEBUG, "core", "now");
    dup2(saved, STDERR_FILENO);
    char text[256] = { 0 };
    ck_assert_int_gt(read(out[0], text, sizeof text - 1), 0);
    ck_assert_str_eq(text, "<4>core: two\\nlines\n<7>core: now\n");
    kos_loop_free(loop);
    close(out[0]);
    close(out[1]);
    close(saved);
}
END_TEST

START_TEST(kernel_files)
{
    struct world w;
    begin(&w);
    const struct kos_env_ops *ops = w.env->ops;
    char dir[] = "/tmp/kos-loop-test-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    char *path = kos_format("%s/file", dir), *link = kos_format("%s/link", dir), *fifo = kos_format("%s/fifo", dir);
    ck_assert_int_eq(kos_file_write_all(w.env, path, 0600, kos_bytes_str("content")), KOS_OK);
    uint8_t *data;
    size_t len;
    ck_assert_int_eq(kos_file_read_all(w.env, path, 100, &data, &len), KOS_OK);
    ck_assert_str_eq((char *)data, "content");
    free(data);
    ck_assert_int_eq(kos_file_read_all(w.env, path, 6, &data, &len), KOS_E_LIMIT);
    ck_assert_int_eq(kos_file_read_all(w.env, dir, 6, &data, &len), KOS_E_INVALID);
    ck_assert_int_eq(kos_file_read_all(w.env, "/proc/self/stat", 10000, &data, &len), KOS_OK); /* says it has size 0 */
    ck_assert_uint_gt(len, 0);
    free(data);
    ck_assert_int_eq(symlink(path, link), 0);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    struct kos_file *file, *second;
    ck_assert_int_eq(ops->file_open(w.env, link, KOS_FILE_READ, 0, &file), KOS_E_PERMISSION);
    ck_assert_int_eq(ops->file_open(w.env, fifo, KOS_FILE_READ, 0, &file), KOS_E_INVALID);
    ck_assert_int_eq(ops->file_open(w.env, path, KOS_FILE_READ | KOS_FILE_WRITE, 0, &file), KOS_OK);
    ck_assert_int_eq(ops->file_open(w.env, path, KOS_FILE_READ | KOS_FILE_WRITE, 0, &second), KOS_OK);
    ck_assert_int_eq(ops->file_lock(file), KOS_OK);
    ck_assert_int_eq(ops->file_lock(second), KOS_E_LOCKED);
    ck_assert_int_eq(ops->file_allocate(file, 10000), KOS_OK);
    ck_assert_int_eq(ops->file_size(second), 10000);
    ck_assert_int_eq(ops->file_truncate(file, 3), KOS_OK);
    char text[8] = { 0 };
    ck_assert_int_eq(ops->file_read(second, text, sizeof text, 0), 3);
    ck_assert_str_eq(text, "con");
    ops->file_close(file);
    ops->file_close(second);
    ck_assert_int_eq(ops->dir_make(w.env, dir, 0700), KOS_E_EXISTS);
    ck_assert_int_eq(ops->file_remove(w.env, dir), KOS_E_EXISTS);
    ck_assert_int_eq(ops->file_remove(w.env, link), KOS_OK);
    ck_assert_int_eq(ops->file_remove(w.env, fifo), KOS_OK);
    ck_assert_int_eq(ops->file_remove(w.env, path), KOS_OK);
    ck_assert_int_eq(ops->file_remove(w.env, path), KOS_E_NOTFOUND);
    ck_assert_int_eq(ops->file_remove(w.env, dir), KOS_OK);
    free(path);
    free(link);
    free(fifo);
    kos_loop_free(w.loop);
}
END_TEST

START_TEST(buffers_and_secrets)
{
    struct kos_buf buf;
    kos_buf_init(&buf, 10);
    ck_assert_int_eq(kos_buf_append(&buf, kos_bytes_str("12345678")), KOS_OK);
    ck_assert_int_eq(kos_buf_append(&buf, kos_bytes_str("901")), KOS_E_LIMIT);
    ck_assert_int_eq(kos_buf_reserve(&buf, SIZE_MAX), KOS_E_LIMIT);
    ck_assert_int_eq(kos_buf_printf(&buf, "%d", 90), KOS_OK);
    ck_assert(kos_bytes_eq(kos_buf_bytes(&buf), kos_bytes_str("1234567890")));
    kos_buf_consume(&buf, 9);
    ck_assert(kos_bytes_eq(kos_buf_bytes(&buf), kos_bytes_str("0")));
    kos_buf_reset(&buf);
    ck_assert_uint_eq(buf.len, 0);
    kos_buf_fini(&buf);
    uint8_t *secret = kos_secret_new(100);
    ck_assert_ptr_nonnull(secret);
    ck_assert_int_eq(secret[0] | secret[99], 0);
    memset(secret, 7, 100);
    kos_secret_free(secret);
    kos_secret_free(NULL);
}
END_TEST

/* Small pieces come from a stock: none twice, none in a child that was given out here or will be. */
START_TEST(randomness)
{
    enum { PIECES = 4096 };
    static uint8_t pieces[PIECES][16], child[PIECES][16], large[10000];
    struct world w;
    int ends[2], status;
    begin(&w);
    kos_random(w.env, pieces[0], sizeof pieces[0]);
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        for (int i = 0; i < PIECES; i++) {
            kos_random(w.env, child[0], sizeof child[0]);
            if (write(ends[1], child[0], sizeof child[0]) != sizeof child[0])
                _exit(1);
        }
        _exit(0);
    }
    for (size_t got = 0; got < sizeof child;) {
        ssize_t n = read(ends[0], (uint8_t *)child + got, sizeof child - got);
        ck_assert_int_gt(n, 0);
        got += (size_t)n;
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    for (int i = 1; i < PIECES; i++)
        kos_random(w.env, pieces[i], sizeof pieces[i]);
    qsort(pieces, PIECES, 16, by_bytes);
    for (int i = 0; i < PIECES; i++) {
        ck_assert(i == 0 || memcmp(pieces[i], pieces[i - 1], 16) != 0);
        ck_assert_ptr_null(bsearch(child[i], pieces, PIECES, 16, by_bytes));
    }
    kos_random(w.env, large, sizeof large);
    ck_assert(memcmp(large, large + 5000, 5000) != 0);
    close(ends[0]);
    close(ends[1]);
    kos_loop_free(w.loop);
}
END_TEST

/* A process that was killed right after a fork has a child that holds its lock until it execs. */
START_TEST(lock_outlives_its_holder_for_a_moment)
{
    char dir[] = "/tmp/kos-lock-XXXXXX", path[64];
    struct kos_plain plain;
    struct kos_file *file;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/lock", dir);
    kos_plain_init(&plain);
    const struct kos_env_ops *ops = plain.env.ops;
    ck_assert_int_eq(ops->file_open(&plain.env, path, KOS_FILE_WRITE | KOS_FILE_CREATE, 0600, &file), KOS_OK);
    ck_assert_int_eq(ops->file_lock(file), KOS_OK);
    pid_t child = fork();
    if (child == 0) {
        usleep(50000);
        _exit(0);
    }
    ops->file_close(file);
    ck_assert_int_eq(ops->file_open(&plain.env, path, KOS_FILE_WRITE, 0, &file), KOS_OK);
    ck_assert_int_eq(ops->file_lock(file), KOS_OK);
    ops->file_close(file);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    unlink(path);
    rmdir(dir);
}
END_TEST

TESTS("core/loop", order_of_a_turn, timer_is_not_early, watch_is_level_triggered, each_piece_of_work_comes_back_once, post_from_threads,
      signals, bad_arguments, log_line_for_the_journal, kernel_files, buffers_and_secrets, randomness, lock_outlives_its_holder_for_a_moment)
