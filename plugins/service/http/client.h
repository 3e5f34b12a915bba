/* SPDX-License-Identifier: Apache-2.0
 * Private to client.c and resolve.c: fetches, and the questions to name servers that they wait for. */
#ifndef KOS_SERVICE_HTTP_CLIENT_H
#define KOS_SERVICE_HTTP_CLIENT_H

#include "http.h"

#include <curl/curl.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdlib.h>

enum { NAME_MAX_BYTES = 256 };

/* A question to evdns. It is answered also after it was cancelled, when the fetch is gone. */
struct lookup {
    struct http_client *client;
    struct fetch *fetch;
    struct evdns_getaddrinfo_request *request;
    struct lookup *prev, *next;
};

struct fetch {
    uint64_t id;
    struct http_client *client;
    struct http_note *note;          /* the request, and in the end the response */
    CURL *easy;                      /* in the multi handle once its addresses are known */
    struct curl_slist *headers, *addresses;
    struct lookup *lookup;
    struct event *timeout;
    char name[NAME_MAX_BYTES], port[8], why[CURL_ERROR_SIZE];
    bool added, denied, too_long, no_memory;
    struct kos_http_header got[HTTP_HEADERS_MAX];
    uint32_t got_count;
    size_t got_bytes, body_len, body_cap;
    uint8_t *body;
    UT_hash_handle hh;
};

struct http_client {
    struct http_net *net;
    CURLM *multi;
    struct evdns_base *dns;          /* made when the first name is to be resolved */
    struct timespec dns_read;        /* resolv.conf as of then */
    struct event *timer;
    struct fetch *fetches;
    struct lookup *lookups;
    uint64_t done, failed;
};

/* Ends f with http_fetch_finish, or goes on with http_fetch_go once f->addresses are set; maybe within the call. */
void http_resolve(struct fetch *f);
void http_fetch_go(struct fetch *f);
void http_fetch_finish(struct fetch *f, int32_t status, const char *why, struct http_parcel *parcel);

#endif
