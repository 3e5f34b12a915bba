/* SPDX-License-Identifier: Apache-2.0
 *
 * The varlink client of kosctl: blocking, one call at a time, with a time limit.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <klp/message.h>
#include "control/control.h"
#include "core/buf.h"

struct kos_client {
    int fd;
    char *path;
    struct kos_buf in;
};

int32_t kos_client_open(const char *path, struct kos_client **ret_client, struct kos_error *ret_error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path)
        return kos_fail(ret_error, KOS_E_LIMIT, "the path of the control socket, %s, is longer than %zu bytes", path, sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        if (saved == EACCES || saved == EPERM)
            return kos_fail(ret_error, KOS_E_PERMISSION, "%s may not be opened by this user: run kosctl as the user of that kosd, or join its control group", path);
        return kos_fail(ret_error, KOS_E_UNREACHABLE, "no kosd answers on %s (%s): start it with kosd -i DIR, or name the right instance with -i", path, strerror(saved));
    }
    struct kos_client *client = kos_new(sizeof *client);
    client->fd = fd;
    client->path = kos_strdup(path);
    kos_buf_init(&client->in, KOS_CONTROL_MESSAGE_MAX * 4);
    *ret_client = client;
    return KOS_OK;
}

void kos_client_close(struct kos_client *client)
{
    if (!client)
        return;
    close(client->fd);
    kos_buf_fini(&client->in);
    free(client->path);
    free(client);
}

static uint64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int32_t client_gone(struct kos_client *client, struct kos_error *ret_error)
{
    return kos_fail(ret_error, KOS_E_UNREACHABLE, "kosd closed %s: its log says why", client->path);
}

static int32_t client_write(struct kos_client *client, const char *text, size_t len, struct kos_error *ret_error)
{
    while (len) {
        ssize_t n = send(client->fd, text, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return client_gone(client, ret_error);
        text += n;
        len -= (size_t)n;
    }
    return KOS_OK;
}

/* Until a whole message lies in `in`; *ret_len without the NUL. */
static int32_t client_read(struct kos_client *client, uint64_t until_ms, size_t *ret_len, struct kos_error *ret_error)
{
    size_t seen = 0;
    for (;;) {
        uint8_t *end = client->in.len > seen ? memchr(client->in.data + seen, 0, client->in.len - seen) : NULL;
        if (end) {
            *ret_len = (size_t)(end - client->in.data);
            return KOS_OK;
        }
        seen = client->in.len;
        uint64_t now = clock_ms();
        if (until_ms && now >= until_ms)
            return kos_fail(ret_error, KOS_E_TIMEOUT, "kosd did not answer in time");
        struct pollfd p = { .fd = client->fd, .events = POLLIN };
        int ready = poll(&p, 1, until_ms ? (int)(until_ms - now < INT32_MAX ? until_ms - now : INT32_MAX) : -1);
        if (ready < 0 && errno != EINTR)
            return client_gone(client, ret_error);
        if (ready <= 0)
            continue;
        if (kos_buf_reserve(&client->in, 65536) < 0)
            return kos_fail(ret_error, KOS_E_LIMIT, "an answer of kosd exceeds %d bytes", KOS_CONTROL_MESSAGE_MAX * 4);
        ssize_t n = recv(client->fd, client->in.data + client->in.len, 65536, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return client_gone(client, ret_error);
        client->in.len += (size_t)n;
    }
}

static int32_t reply_error(const char *error, json_t *parameters, const char *method, struct kos_error *ret_error)
{
    const char *dot = strrchr(error, '.');
    if (dot && strcmp(dot, ".Failed") == 0) {
        const char *name = json_string_value(json_object_get(parameters, "error"));
        const char *text = json_string_value(json_object_get(parameters, "text"));
        int32_t code = name ? klp_error_parse(kos_bytes_str(name)) : KOS_E_INTERNAL;
        return kos_fail(ret_error, code, "%s", text ? text : kos_error_text(code));
    }
    if (dot && (strcmp(dot, ".InterfaceNotFound") == 0 || strcmp(dot, ".MethodNotFound") == 0))
        return kos_fail(ret_error, KOS_E_UNSUPPORTED, "this kosd has no %s: is the plugin that brings it loaded? (kosctl plugin list)", method);
    if (dot && strcmp(dot, ".InvalidParameter") == 0) {
        const char *name = json_string_value(json_object_get(parameters, "parameter"));
        return kos_fail(ret_error, KOS_E_INVALID, "%s: the parameter %s is missing or wrong", method, name ? name : "?");
    }
    return kos_fail(ret_error, KOS_E_PROTOCOL, "%s: kosd answered %s", method, error);
}

struct answers {
    bool more;                                   /* whether the caller asks for several */
    bool (*each)(void *arg, json_t *parameters);
    void *arg;
};

static int32_t exchange(struct kos_client *client, const char *method, json_t *parameters, uint64_t timeout_ms,
                        const struct answers *answers, struct kos_error *ret_error)
{
    uint64_t until = timeout_ms ? clock_ms() + timeout_ms : 0;
    json_t *call = json_pack("{s:s, s:o}", "method", method, "parameters", parameters ? parameters : json_object());
    if (call && answers->more)
        json_object_set_new(call, "more", json_true());
    char *text = call ? json_dumps(call, JSON_COMPACT) : NULL;
    json_decref(call);
    if (!text)
        return kos_fail(ret_error, KOS_E_INVALID, "%s: the parameters are not valid UTF-8", method);
    int32_t r = client_write(client, text, strlen(text) + 1, ret_error);
    free(text);
    bool go = r == KOS_OK;
    while (go) {
        size_t len = 0;
        if ((r = client_read(client, until, &len, ret_error)) < 0)
            break;
        json_t *reply = json_loadb((const char *)client->in.data, len, 0, NULL);
        kos_buf_consume(&client->in, len + 1);
        if (!json_is_object(reply)) {
            json_decref(reply);
            return kos_fail(ret_error, KOS_E_PROTOCOL, "%s: kosd's answer is not JSON", method);
        }
        const char *error = json_string_value(json_object_get(reply, "error"));
        json_t *answer = json_object_get(reply, "parameters");
        go = json_is_true(json_object_get(reply, "continues"));
        if (error) {
            r = reply_error(error, answer, method, ret_error);
            go = false;
        } else if (!answers->each(answers->arg, answer)) {
            go = false;
        }
        json_decref(reply);
    }
    return r;
}

int32_t kos_client_stream(struct kos_client *client, const char *method, json_t *parameters, uint64_t timeout_ms,
                          bool (*each)(void *arg, json_t *parameters), void *arg, struct kos_error *ret_error)
{
    struct answers answers = { true, each, arg };
    return exchange(client, method, parameters, timeout_ms, &answers, ret_error);
}

static bool keep_last(void *arg, json_t *parameters)
{
    json_t **last = arg;
    json_decref(*last);
    *last = parameters ? json_incref(parameters) : json_object();
    return true;
}

int32_t kos_client_call(struct kos_client *client, const char *method, json_t *parameters, uint64_t timeout_ms, json_t **ret_reply, struct kos_error *ret_error)
{
    json_t *last = NULL;
    struct answers answers = { false, keep_last, &last };
    int32_t r = exchange(client, method, parameters, timeout_ms, &answers, ret_error);
    if (r < 0) {
        json_decref(last);
        return r;
    }
    *ret_reply = last;
    return KOS_OK;
}
