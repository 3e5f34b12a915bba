/* SPDX-License-Identifier: Apache-2.0
 *
 * kosctl task, announce. The answer of a task goes to stdout byte for byte, as it comes; all else to stderr.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <klp/json.h>
#include "core/buf.h"
#include "kosctl/kosctl.h"

enum { INPUT_MAX = 768 * 1024, OUTPUT_KEPT_MAX = 64 << 20 };

/* What came back of a task so far. */
struct following {
    struct kosctl *ctl;
    struct kos_buf output;     /* kept only for --json */
    json_t *last;              /* the event "result" */
    bool progress;             /* a progress line stands on the terminal */
    bool detach;
    struct kos_error error;    /* the output could not be written or kept */
};

static bool utf8(const uint8_t *data, size_t len)
{
    json_t *text = memchr(data, 0, len) ? NULL : json_stringn((const char *)data, len);
    bool valid = text != NULL;
    json_decref(text);
    return valid;
}

/* Text as itself, other bytes as {"base64": ...}. */
static json_t *input_json(const uint8_t *data, size_t len)
{
    if (utf8(data, len))
        return json_stringn((const char *)data, len);
    char *text = kos_new(4 * ((len + 2) / 3) + 1);
    klp_base64(kos_bytes(data, len), text);
    json_t *input = json_pack("{s:s}", "base64", text);
    free(text);
    return input;
}

static int input_file(struct kosctl *ctl, const char *path, json_t *inputs)
{
    struct kos_error error;
    struct kos_buf data;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!file) {
        kos_fail(&error, errno == ENOENT ? KOS_E_NOTFOUND : KOS_E_IO, "the input %s cannot be opened: %s", path, strerror(errno));
        return kosctl_fail(ctl, &error);
    }
    kos_buf_init(&data, INPUT_MAX + 1);
    while (data.len <= INPUT_MAX && !feof(file) && !ferror(file)) {
        size_t room = INPUT_MAX + 1 - data.len < 65536 ? INPUT_MAX + 1 - data.len : 65536;
        if (kos_buf_reserve(&data, room) < 0)
            break;
        data.len += fread(data.data + data.len, 1, room, file);
    }
    bool bad = ferror(file);
    int saved = errno;
    if (file != stdin)
        fclose(file);
    int status = EXIT_DONE;
    if (bad || data.len > INPUT_MAX) {
        if (bad)
            kos_fail(&error, KOS_E_IO, "the input %s cannot be read: %s", path, strerror(saved));
        else
            kos_fail(&error, KOS_E_LIMIT, "the input %s is larger than the %d bytes that a task carries: cut it, or give the agent a way to fetch it", path, INPUT_MAX);
        status = kosctl_fail(ctl, &error);
    } else {
        json_array_append_new(inputs, input_json(data.data, data.len));
    }
    kos_buf_fini(&data);
    return status;
}

static int task_send_options(struct kosctl *ctl, int argc, char **argv, json_t *parameters, bool *ret_detach)
{
    static const struct option own[] = {
        { "input", required_argument, NULL, 'n' }, { "trust", required_argument, NULL, 't' }, { "deadline", required_argument, NULL, 'd' }, { "detach", no_argument, NULL, 'D' }, { 0 },
    };
    json_t *inputs = json_object_get(parameters, "inputs");
    double number;
    int64_t ms;
    int c, status;
    while ((c = kosctl_option(ctl, argc, argv, own)) >= 0)
        switch (c) {
        case 'n':
            if (optarg[0] == '@') {
                if ((status = input_file(ctl, optarg + 1, inputs)) != EXIT_DONE)
                    return status;
            } else {
                json_array_append_new(inputs, input_json((const uint8_t *)optarg, strlen(optarg)));
            }
            break;
        case 't':
            if (!kosctl_number(ctl, "--trust", optarg, 0, 10, &number))
                return EXIT_USAGE;
            json_object_set_new(parameters, "trust", json_real(number));
            break;
        case 'd':
            if (!kosctl_duration(ctl, "--deadline", optarg, &ms))
                return EXIT_USAGE;
            json_object_set_new(parameters, "deadline_ms", json_integer(ms));
            break;
        case 'D': *ret_detach = true; break;
        default: return EXIT_USAGE;
        }
    if (c == -2)
        return EXIT_DONE;
    if (!kosctl_words(ctl, argc, 1, "the agent's address"))
        return EXIT_USAGE;
    json_object_set_new(parameters, "target", json_string(argv[optind]));
    return -1;
}

static void progress_clear(struct following *following)
{
    if (following->progress)
        fputs("\r\033[K", stderr);
    following->progress = false;
}

static void progress_show(struct following *following, json_t *progress)
{
    json_t *fraction = json_object_get(progress, "fraction");
    char *text = escaped(str(progress, "text"));
    if (!isatty(2) || following->ctl->json) {
        free(text);
        return;
    }
    progress_clear(following);
    if (json_is_number(fraction)) {
        double part = json_number_value(fraction);
        int done = (int)(30 * (part < 0 ? 0 : part > 1 ? 1 : part));
        fprintf(stderr, "[%.*s%.*s] %3.0f%% %.60s", done, "##############################", 30 - done, "..............................", 100 * part, text);
    } else {
        fprintf(stderr, "%.100s", text);
    }
    fflush(stderr);
    following->progress = true;
    free(text);
}

/* False when the output cannot go on. */
static bool part_take(struct following *following, json_t *event)
{
    json_t *text = json_object_get(event, "text");
    const char *base64 = json_string_value(json_object_get(event, "base64"));
    uint8_t *decoded = NULL;
    const void *data = json_string_value(text);
    size_t len = json_string_length(text);
    if (base64) {
        decoded = kos_new(strlen(base64) + 1);
        if (klp_unbase64(kos_bytes_str(base64), decoded, strlen(base64), &len) < 0)
            len = 0;
        data = decoded;
    }
    progress_clear(following);
    if (following->ctl->json) {
        if (kos_buf_append(&following->output, kos_bytes(data, len)) < 0)
            kos_fail(&following->error, KOS_E_LIMIT, "the answer is larger than the %d bytes that --json holds: take it without --json", OUTPUT_KEPT_MAX);
    } else if (len && (fwrite(data, 1, len, stdout) != len || fflush(stdout) != 0)) {
        kos_fail(&following->error, KOS_E_IO, "the answer cannot be written: %s", strerror(errno));
    }
    free(decoded);
    return following->error.code == 0;
}

static bool event_take(void *arg, json_t *event)
{
    struct following *following = arg;
    const char *name = str(event, "event");
    if (strcmp(name, "part") == 0)
        return part_take(following, event);
    if (strcmp(name, "progress") == 0)
        progress_show(following, json_object_get(event, "progress"));
    if (strcmp(name, "result") == 0 || (strcmp(name, "sent") == 0 && following->detach)) {
        json_decref(following->last);
        following->last = json_incref(event);
        return strcmp(name, "result") != 0 && !following->detach;
    }
    return true;
}

static int follow(struct kosctl *ctl, const char *method, json_t *parameters, bool detach)
{
    struct following following = { .ctl = ctl, .detach = detach };
    struct kos_error error;
    int status = kosctl_open(ctl);
    if (status != EXIT_DONE)
        return json_decref(parameters), status;
    kos_buf_init(&following.output, OUTPUT_KEPT_MAX);
    int32_t r = kos_client_stream(ctl->client, method, parameters, 0, event_take, &following, &error);
    progress_clear(&following);
    if (r < 0) {
        status = kosctl_fail(ctl, &error);
    } else if (following.error.code) {
        status = kosctl_fail(ctl, &following.error);
    } else if (ctl->json) {
        json_t *document = following.last ? json_incref(following.last) : json_object();
        if (!detach)
            json_object_set_new(document, "output", input_json(following.output.data ? following.output.data : (const uint8_t *)"", following.output.len));
        kosctl_print_json(document);
    } else if (detach) {
        puts(str(following.last, "task"));
    }
    json_decref(following.last);
    kos_buf_fini(&following.output);
    return status;
}

int cmd_task_send(struct kosctl *ctl, int argc, char **argv)
{
    json_t *parameters = json_pack("{s:[]}", "inputs");
    bool detach = false;
    int status = task_send_options(ctl, argc, argv, parameters, &detach);
    if (status >= 0)
        return json_decref(parameters), status;
    if (detach)
        json_object_set_new(parameters, "detach", json_true());
    return follow(ctl, "org.kos.task.Send", parameters, detach);
}

int cmd_task_wait(struct kosctl *ctl, int argc, char **argv)
{
    static const struct option own[] = { { "from", required_argument, NULL, 'f' }, { 0 } };
    json_t *parameters = json_object();
    double from = 0;
    int c;
    while ((c = kosctl_option(ctl, argc, argv, own)) >= 0)
        if (c == '?' || !kosctl_number(ctl, "--from", optarg, 0, (double)KLP_JSON_INT_MAX, &from))
            return json_decref(parameters), EXIT_USAGE;
    if (c == -2 || !kosctl_words(ctl, argc, 1, "the task's id"))
        return json_decref(parameters), c == -2 ? EXIT_DONE : EXIT_USAGE;
    json_object_set_new(parameters, "task", json_string(argv[optind]));
    json_object_set_new(parameters, "from", json_integer((json_int_t)from));
    return follow(ctl, "org.kos.task.Wait", parameters, false);
}

int cmd_task_list(struct kosctl *ctl, int argc, char **argv)
{
    static const char *const headings[] = { "TASK", "WAY", "WITH", "STATE", "AGE", "BYTES", NULL };
    json_t *reply, *task;
    size_t i;
    int status = kosctl_plain(ctl, argc, argv, 0, "");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.task.List", NULL, &reply);
    if (status >= 0)
        return status;
    struct table *table = columns_new(headings);
    int64_t now = kos_now_ms(&ctl->plain.env);
    json_array_foreach(json_object_get(reply, "tasks"), i, task) {
        char age[32], bytes[32];
        const char *state = *str(task, "error") ? str(task, "error") : str(task, "state");
        snprintf(bytes, sizeof bytes, "%lld", (long long)json_integer_value(json_object_get(task, "bytes")));
        since(now - json_integer_value(json_object_get(task, "created")), age);
        table_row(table, str(task, "task"), str(task, "direction"), str(task, "with"), state, age, bytes, NULL);
    }
    table_print(table);
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_task_show(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply;
    int status = kosctl_plain(ctl, argc, argv, 1, "the task's id");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.task.Show", json_pack("{s:s}", "task", argv[optind]), &reply);
    if (status >= 0)
        return status;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(reply, "task"), name, value) {
        char *text = json_is_string(value) ? escaped(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        printf("%-14s %s\n", name, text ? text : "");
        free(text);
    }
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_task_cancel(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply;
    int status = kosctl_plain(ctl, argc, argv, 1, "the task's id");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.task.Cancel", json_pack("{s:s}", "task", argv[optind]), &reply);
    if (status >= 0)
        return status;
    printf("%s: %s\n", str(reply, "task"), str(reply, "state"));
    json_decref(reply);
    return EXIT_DONE;
}

int cmd_announce(struct kosctl *ctl, int argc, char **argv)
{
    json_t *reply;
    int status = kosctl_plain(ctl, argc, argv, 1, "the text");
    if (status < 0)
        status = kosctl_ask(ctl, "org.kos.announce.Send", json_pack("{s:s}", "text", argv[optind]), &reply);
    if (status >= 0)
        return status;
    printf("announced to %lld peers\n", (long long)json_integer_value(json_object_get(reply, "peers")));
    json_decref(reply);
    return EXIT_DONE;
}
