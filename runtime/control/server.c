/* SPDX-License-Identifier: Apache-2.0
 *
 * The varlink server: connections, calls, and the interface org.varlink.service that every varlink tool asks for.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "control/control.h"
#include "core/buf.h"

enum { OUTPUT_MAX = 16 << 20, READ_CHUNK = 65536 };

struct client {
    struct kos_varlink *server;
    int fd;
    struct kos_watch *watch;
    struct kos_buf in, out;
    struct kos_call *call;      /* one at a time, in the order they came */
    struct kos_deferred again;  /* look for the next call */
    bool closing;               /* after what is in `out` */
    struct client *prev, *next;
};

struct kos_call {
    struct client *client;      /* NULL once it left */
    const struct kos_interface *interface;
    bool more, oneway;
    void (*gone)(void *arg);
    void *gone_arg;
};

struct known {
    const struct kos_interface *interface;
    struct known *next;
};

struct kos_varlink {
    struct kos_env *env;
    char *path;
    int fd;
    gid_t gid;
    struct kos_watch *watch;
    struct client *clients;
    uint32_t client_count;
    struct known *known;
};

static const char service_description[] =
    "# What every varlink service answers\n"
    "interface org.varlink.service\n\n"
    "method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)\n"
    "method GetInterfaceDescription(interface: string) -> (description: string)\n\n"
    "error InterfaceNotFound (interface: string)\n"
    "error MethodNotFound (method: string)\n"
    "error MethodNotImplemented (method: string)\n"
    "error InvalidParameter (parameter: string)\n";

static void client_free(struct client *client)
{
    struct kos_varlink *server = client->server;
    struct kos_call *call = client->call;

    if (call) {
        call->client = NULL;
        if (call->gone) {
            call->gone(call->gone_arg);
            free(call);
        }
    }
    kos_undefer(server->env, &client->again);
    server->env->ops->watch_free(client->watch);
    close(client->fd);
    kos_buf_fini(&client->in);
    kos_buf_fini(&client->out);
    DL_DELETE(server->clients, client);
    server->client_count--;
    free(client);
}

static void client_events(struct client *client)
{
    int32_t events = client->out.len ? KOS_WRITABLE : 0;
    /* One whole message may wait behind the open call; more is left in the kernel. */
    if (client->in.len < KOS_CONTROL_MESSAGE_MAX && !client->closing)
        events |= KOS_READABLE;
    client->server->env->ops->watch_set(client->watch, events);
}

/* False when the client is gone. */
static bool client_flush(struct client *client)
{
    while (client->out.len) {
        ssize_t n = send(client->fd, client->out.data, client->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            kos_buf_consume(&client->out, (size_t)n);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        } else {
            client_free(client);
            return false;
        }
    }
    if (client->closing && client->out.len == 0) {
        client_free(client);
        return false;
    }
    client_events(client);
    return true;
}

/* Writes one message; steals it. */
static void client_send(struct client *client, json_t *message)
{
    char *text = json_dumps(message, JSON_COMPACT);
    json_decref(message);
    if (!text || kos_buf_append(&client->out, kos_bytes(text, strlen(text) + 1)) < 0) {
        kos_log(client->server->env, KOS_LOG_WARNING, "control", "a client reads too slowly (%zu bytes wait): cut off", client->out.len);
        client->out.len = 0;
        client->closing = true;
    }
    free(text);
    client_events(client);
}

static void client_error(struct client *client, const char *error, const char *member, const char *value)
{
    client_send(client, json_pack("{s:s, s:{s:s}}", "error", error, "parameters", member, value));
}

static const struct kos_interface *interface_find(struct kos_varlink *server, const char *name, size_t len)
{
    struct known *known;
    LL_FOREACH(server->known, known)
        if (strlen(known->interface->name) == len && memcmp(known->interface->name, name, len) == 0)
            return known->interface;
    return NULL;
}

static void service_info(struct client *client)
{
    json_t *names = json_array();
    struct known *known;
    json_array_append_new(names, json_string("org.varlink.service"));
    LL_FOREACH(client->server->known, known)
        json_array_append_new(names, json_string(known->interface->name));
    client_send(client, json_pack("{s:{s:s, s:s, s:s, s:s, s:o}}", "parameters", "vendor", "kos", "product", "kosd",
                                  "version", KOS_VERSION, "url", "", "interfaces", names));
}

static void service_call(struct client *client, const char *method, json_t *parameters)
{
    if (strcmp(method, "GetInfo") == 0) {
        service_info(client);
    } else if (strcmp(method, "GetInterfaceDescription") == 0) {
        const char *name = json_string_value(json_object_get(parameters, "interface"));
        if (!name) {
            client_error(client, "org.varlink.service.InvalidParameter", "parameter", "interface");
            return;
        }
        const struct kos_interface *interface = interface_find(client->server, name, strlen(name));
        const char *text = strcmp(name, "org.varlink.service") == 0 ? service_description : interface ? interface->description : NULL;
        if (text)
            client_send(client, json_pack("{s:{s:s}}", "parameters", "description", text));
        else
            client_error(client, "org.varlink.service.InterfaceNotFound", "interface", name);
    } else {
        char *whole = kos_format("org.varlink.service.%s", method);
        client_error(client, "org.varlink.service.MethodNotFound", "method", whole);
        free(whole);
    }
}

/* What an interface describes is what it has: one answer for all that it has not. */
static bool method_described(const struct kos_interface *interface, const char *method)
{
    size_t len = strlen(method);
    for (const char *at = interface->description; (at = strstr(at, "\nmethod ")) != NULL;) {
        at += strlen("\nmethod ");
        if (len && strncmp(at, method, len) == 0 && strchr(" (", at[len]))
            return true;
    }
    return false;
}

static void call_start(struct client *client, const struct kos_interface *interface, const char *method, json_t *message, json_t *parameters)
{
    struct kos_call *call = kos_new(sizeof *call);
    call->client = client;
    call->interface = interface;
    call->more = json_is_true(json_object_get(message, "more"));
    call->oneway = json_is_true(json_object_get(message, "oneway"));
    client->call = call;
    interface->call(interface->self, call, method, parameters);
}

static void message_take(struct client *client, const char *text, size_t len)
{
    json_error_t error;
    json_t *message = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    const char *name = json_string_value(json_object_get(message, "method"));
    const char *dot = name ? strrchr(name, '.') : NULL;
    json_t *none = json_object(), *parameters = json_object_get(message, "parameters");

    if (!parameters || json_is_null(parameters))
        parameters = none;
    if (!dot || dot == name || !json_is_object(parameters)) {
        /* varlink knows no answer to what is not a call: say it in the log, and hang up. */
        kos_log(client->server->env, KOS_LOG_WARNING, "control", "a client sent what is not a varlink call%s%s: cut off",
                message ? "" : ": ", message ? "" : error.text);
        client->closing = true;
    } else if (strncmp(name, "org.varlink.service.", 20) == 0) {
        service_call(client, dot + 1, parameters);
    } else {
        const struct kos_interface *interface = interface_find(client->server, name, (size_t)(dot - name));
        if (!interface) {
            char *asked = kos_format("%.*s", (int)(dot - name), name);
            client_error(client, "org.varlink.service.InterfaceNotFound", "interface", asked);
            free(asked);
        } else if (!method_described(interface, dot + 1)) {
            client_error(client, "org.varlink.service.MethodNotFound", "method", name);
        } else {
            call_start(client, interface, dot + 1, message, parameters);
        }
    }
    json_decref(none);
    json_decref(message);
}

/* Takes whole messages out of `in` while no call is open. */
static void client_step(struct kos_deferred *deferred)
{
    struct client *client = (struct client *)((char *)deferred - offsetof(struct client, again));

    while (!client->call && !client->closing && client->in.len) {
        uint8_t *end = memchr(client->in.data, 0, client->in.len);
        if (!end)
            break;
        size_t len = (size_t)(end - client->in.data);
        char *text = kos_memdup(client->in.data, len + 1);
        kos_buf_consume(&client->in, len + 1);
        message_take(client, text, len);
        free(text);
    }
    if (!client->call && client->in.len >= KOS_CONTROL_MESSAGE_MAX) {
        kos_log(client->server->env, KOS_LOG_WARNING, "control", "a client's message exceeds %d bytes: cut off", KOS_CONTROL_MESSAGE_MAX);
        client->closing = true;
    }
    client_flush(client);
}

static void client_ready(void *arg, int32_t events)
{
    struct client *client = arg;
    if ((events & KOS_WRITABLE) && !client_flush(client))
        return;
    if (!(events & KOS_READABLE))
        return;
    size_t room = KOS_CONTROL_MESSAGE_MAX - client->in.len;
    if (kos_buf_reserve(&client->in, room < READ_CHUNK ? room : READ_CHUNK) < 0)
        return;
    ssize_t n = recv(client->fd, client->in.data + client->in.len, room < READ_CHUNK ? room : READ_CHUNK, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (n <= 0) {
        client_free(client);
        return;
    }
    client->in.len += (size_t)n;
    client_events(client);
    kos_defer(client->server->env, &client->again);
}

/* Root, ourselves, and members of the group, primary or supplementary. */
static bool peer_allowed(struct kos_varlink *server, const struct ucred *cred)
{
    if (cred->uid == 0 || cred->uid == geteuid())
        return true;
    if (server->gid == (gid_t)-1)
        return false;
    if (cred->gid == server->gid)
        return true;
    struct passwd *user = getpwuid(cred->uid);
    gid_t groups[256];
    int count = 256;
    if (!user || getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
        return false;
    for (int i = 0; i < count; i++)
        if (groups[i] == server->gid)
            return true;
    return false;
}

static void server_ready(void *arg, int32_t events)
{
    struct kos_varlink *server = arg;
    (void)events;
    int fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || !peer_allowed(server, &cred)) {
        kos_log(server->env, KOS_LOG_WARNING, "control", "refused the control socket to process %ld of user %ld", (long)cred.pid, (long)cred.uid);
        close(fd);
        return;
    }
    if (server->client_count >= KOS_CONTROL_CLIENTS_MAX) {
        kos_log(server->env, KOS_LOG_WARNING, "control", "refused a client: %d are connected already", KOS_CONTROL_CLIENTS_MAX);
        close(fd);
        return;
    }
    struct client *client = kos_new(sizeof *client);
    client->server = server;
    client->fd = fd;
    client->again.run = client_step;
    kos_buf_init(&client->in, KOS_CONTROL_MESSAGE_MAX);
    kos_buf_init(&client->out, OUTPUT_MAX);
    client->watch = server->env->ops->watch_new(server->env, fd, client_ready, client);
    DL_APPEND(server->clients, client);
    server->client_count++;
    client_events(client);
}

/* A socket that nobody listens on is left over from a crash; one that answers belongs to a running kosd. */
static int32_t path_free(const char *path, const struct sockaddr_un *address, struct kos_error *ret_error)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return KOS_OK;
    if (!S_ISSOCK(st.st_mode))
        return kos_fail(ret_error, KOS_E_EXISTS, "%s exists and is not a socket: remove it", path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int connected = probe >= 0 ? connect(probe, (const struct sockaddr *)address, sizeof *address) : -1;
    if (probe >= 0)
        close(probe);
    if (connected == 0)
        return kos_fail(ret_error, KOS_E_LOCKED, "another kosd answers on %s", path);
    unlink(path);
    return KOS_OK;
}

int32_t kos_varlink_new(struct kos_env *env, const char *path, gid_t gid, struct kos_varlink **ret_control, struct kos_error *ret_error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path)
        return kos_fail(ret_error, KOS_E_LIMIT, "the path of the control socket, %s, is longer than the %zu bytes a Unix socket may have: use a shorter instance directory", path, sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    int32_t r = path_free(path, &address, ret_error);
    if (r < 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0177);
    int bound = fd >= 0 ? bind(fd, (struct sockaddr *)&address, sizeof address) : -1;
    int saved = errno;
    umask(old);
    if (bound < 0 || listen(fd, 64) < 0) {
        if (bound == 0)
            saved = errno;
        if (fd >= 0)
            close(fd);
        return kos_fail(ret_error, KOS_E_IO, "the control socket %s cannot be made: %s", path, strerror(saved));
    }
    if (gid != (gid_t)-1 && (chown(path, (uid_t)-1, gid) < 0 || chmod(path, 0660) < 0))
        kos_log(env, KOS_LOG_WARNING, "control", "%s cannot be given to its group: %s", path, strerror(errno));
    struct kos_varlink *server = kos_new(sizeof *server);
    server->env = env;
    server->path = kos_strdup(path);
    server->fd = fd;
    server->gid = gid;
    server->watch = env->ops->watch_new(env, fd, server_ready, server);
    env->ops->watch_set(server->watch, KOS_READABLE);
    *ret_control = server;
    return KOS_OK;
}

void kos_varlink_free(struct kos_varlink *server)
{
    struct known *known, *next;
    struct client *client, *following;
    if (!server)
        return;
    DL_FOREACH_SAFE(server->clients, client, following)
        if (client_flush(client))
            client_free(client);
    LL_FOREACH_SAFE(server->known, known, next)
        free(known);
    server->env->ops->watch_free(server->watch);
    close(server->fd);
    unlink(server->path);
    free(server->path);
    free(server);
}

void kos_varlink_add(struct kos_varlink *server, const struct kos_interface *interface)
{
    struct known *known = kos_new(sizeof *known);
    known->interface = interface;
    LL_APPEND(server->known, known);
}

bool kos_call_more(const struct kos_call *call)
{
    return call->more;
}

static void call_end(struct kos_call *call)
{
    if (call->client) {
        call->client->call = NULL;
        kos_defer(call->client->server->env, &call->client->again);
    }
    free(call);
}

void kos_call_reply(struct kos_call *call, json_t *parameters)
{
    if (call->client && !call->oneway)
        client_send(call->client, json_pack("{s:o}", "parameters", parameters ? parameters : json_object()));
    else
        json_decref(parameters);
    call_end(call);
}

void kos_call_continue(struct kos_call *call, json_t *parameters)
{
    if (call->client && !call->oneway) {
        client_send(call->client, json_pack("{s:b, s:o}", "continues", 1, "parameters", parameters));
        kos_defer(call->client->server->env, &call->client->again);
    } else {
        json_decref(parameters);
    }
}

void kos_call_fail(struct kos_call *call, int32_t code, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (call->client && !call->oneway) {
        char *name = kos_format("%s.Failed", call->interface->name);
        json_t *said = json_string(text);
        client_send(call->client, json_pack("{s:s, s:{s:s, s:o, s:b}}", "error", name, "parameters", "error", kos_error_name(code),
                                            "text", said ? said : json_string(kos_error_text(code)), "retry", kos_error_retry(code)));
        free(name);
    }
    call_end(call);
}

void kos_call_on_hangup(struct kos_call *call, void (*gone)(void *arg), void *arg)
{
    call->gone = gone;
    call->gone_arg = arg;
}
