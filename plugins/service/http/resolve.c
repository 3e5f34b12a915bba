/* SPDX-License-Identifier: Apache-2.0
 * Names of fetches, by evdns on the thread's event base. Not by libcurl: its resolver threads cannot be ended, and a
 * stop must not wait for a name server. */
#include "client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>

enum { ADDRESSES_MAX = 8 };

static struct evdns_base *dns_base(struct http_client *client)
{
    struct stat now;
    bool known = stat("/etc/resolv.conf", &now) == 0;
    bool changed = known && memcmp(&now.st_mtim, &client->dns_read, sizeof client->dns_read) != 0;
    if (!client->dns)
        client->dns = evdns_base_new(client->net->base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
                                                            EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    else if (changed) {
        evdns_base_clear_nameservers_and_suspend(client->dns);
        evdns_base_resolv_conf_parse(client->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
        evdns_base_resume(client->dns);
    }
    if (known)
        client->dns_read = now.st_mtim;
    return client->dns;
}

/* "NAME:PORT:ADDRESS,ADDRESS" is how libcurl takes addresses for a name. */
static void pin(struct fetch *f, const struct evutil_addrinfo *found)
{
    char line[NAME_MAX_BYTES + 16 + ADDRESSES_MAX * 50];
    int at = snprintf(line, sizeof line, "%s:%s:", f->name, f->port), count = 0;
    for (const struct evutil_addrinfo *a = found; a && count < ADDRESSES_MAX; a = a->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(a->ai_addr, (socklen_t)a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0 ||
            strlen(text) > 46)
            continue;
        at += snprintf(line + at, sizeof line - (size_t)at, a->ai_family == AF_INET6 ? "%s[%s]" : "%s%s",
                       count++ ? "," : "", text);
    }
    f->addresses = curl_slist_append(NULL, line);
}

static void on_resolved(int result, struct evutil_addrinfo *found, void *arg)
{
    struct lookup *lookup = arg;
    struct fetch *f = lookup->fetch;
    char why[HTTP_WHY];
    DL_DELETE(lookup->client->lookups, lookup);
    free(lookup);
    if (f)
        f->lookup = NULL;
    if (f && result == 0 && found) {
        pin(f, found);
        http_fetch_go(f);
    } else if (f) {
        snprintf(why, sizeof why, "the name %.120s cannot be resolved: %s", f->name, evutil_gai_strerror(result));
        http_fetch_finish(f, KOS_E_UNREACHABLE, why, NULL);
    }
    if (found)
        evutil_freeaddrinfo(found);
}

static void ask(struct fetch *f)
{
    struct evutil_addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct http_client *client = f->client;
    struct lookup *lookup = calloc(1, sizeof *lookup), *l;
    if (!lookup) {
        http_fetch_finish(f, KOS_E_NOMEM, "out of memory", NULL);
        return;
    }
    lookup->client = client;
    lookup->fetch = f;
    f->lookup = lookup;
    DL_APPEND(client->lookups, lookup);
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(client->dns, f->name, f->port, &hints, on_resolved, lookup);
    DL_FOREACH(client->lookups, l) /* it may be over already, and gone */
        if (l == lookup)
            l->request = request;
}

void http_resolve(struct fetch *f)
{
    unsigned char address[sizeof(struct in6_addr)];
    char line[NAME_MAX_BYTES + 64];
    if (*f->name == '[' || evutil_inet_pton(AF_INET, f->name, address) == 1) {
        http_fetch_go(f);
    } else if (strcasecmp(f->name, "localhost") == 0) { /* RFC 6761, 6.3 */
        snprintf(line, sizeof line, "%s:%s:127.0.0.1,[::1]", f->name, f->port);
        f->addresses = curl_slist_append(NULL, line);
        http_fetch_go(f);
    } else if (!dns_base(f->client)) {
        http_fetch_finish(f, KOS_E_UNREACHABLE, "no names can be resolved: /etc/resolv.conf cannot be used", NULL);
    } else {
        ask(f);
    }
}
