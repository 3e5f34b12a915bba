/* SPDX-License-Identifier: Apache-2.0
 * org.kos.http: what the server and the client are doing. */
#include "http.h"

const char http_control_description[] =
    "# The HTTP server and client that the plugins of this node share\n"
    "interface org.kos.http\n\n"
    "# A path prefix that a plugin serves, the largest body it takes, and how many requests it was given\n"
    "type Prefix (prefix: string, max_body: int, requests: int)\n\n"
    "type Connections (open: int, max: int, accepted: int)\n\n"
    "# waiting: for an answer of a plugin; refused: answered by the server itself\n"
    "type Requests (waiting: int, max: int, served: int, refused: int, timeouts: int)\n\n"
    "# Bytes of requests that came, of those under way\n"
    "type Memory (held: int, max: int)\n\n"
    "type Fetches (open: int, max: int, parallel: int, per_host: int, done: int, failed: int)\n\n"
    "method Status() -> (addresses: []string, prefixes: []Prefix, connections: Connections, requests: Requests, "
    "memory: Memory, fetches: Fetches)\n\n"
    "error Failed (error: string, text: string, retry: bool)\n";

static void fail(struct http *http, uint64_t call, int32_t status, const char *text)
{
    http->control->reply(http->host, call, status, kos_bytes(NULL, 0), text, 0);
}

void http_control_call(void *self, uint64_t call, const char *method, struct kos_bytes parameters, uint32_t flags)
{
    struct http *http = self;
    (void)parameters;
    (void)flags;
    if (!http->control)
        return;
    if (strcmp(method, "Status") != 0) {
        fail(http, call, KOS_E_NOTFOUND, "org.kos.http has the method Status");
        return;
    }
    struct http_note *note = http->running && !http->stopping ? http_note_new(HTTP_STATUS, call, NULL) : NULL;
    if (note)
        http_send(http, note);
    else
        fail(http, call, KOS_E_STATE, "the HTTP service is not running");
}

void http_control_report(struct http *http, struct http_note *note)
{
    if (note->status < 0)
        fail(http, note->id, note->status, "out of memory");
    else
        http->control->reply(http->host, note->id, KOS_OK, kos_bytes_str(note->text), NULL, 0);
}
