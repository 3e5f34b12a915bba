/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP requests as they come over a connection: the guard's verdict does not depend on how the bytes are cut, and a
 * path in its normal form is its own normal form.
 */
#include "fuzz.h"

#include "../../plugins/service/http/http.h"

enum { HEAD_MAX = 2048, BODY_MAX = 1000 };

static void guard(const uint8_t *data, size_t size, size_t piece)
{
    struct http_guard at_once, in_pieces;
    int last = 0;
    http_guard_begin(&at_once, HEAD_MAX, BODY_MAX);
    http_guard_begin(&in_pieces, HEAD_MAX, BODY_MAX);
    int status = http_guard_feed(&at_once, data, size);
    for (size_t i = 0; i < size && !last; i += piece)
        last = http_guard_feed(&in_pieces, data + i, size - i < piece ? size - i : piece);
    FUZZ_CHECK(status == last && (status == 0 || (status >= 400 && status < 600)));
    FUZZ_CHECK(status || (at_once.state == in_pieces.state && at_once.body == in_pieces.body &&
                          at_once.extra == in_pieces.extra));
    FUZZ_CHECK(at_once.head <= HEAD_MAX + 1 && (status || at_once.body <= BODY_MAX) &&
               at_once.headers <= HTTP_HEADERS_MAX + 1);
    if (status)
        FUZZ_CHECK(http_status_text(status));
}

static void target(const char *raw)
{
    char one[HTTP_TARGET_MAX + 1], two[HTTP_TARGET_MAX + 1], why[HTTP_WHY];
    int status = http_target(raw, one, sizeof one);
    FUZZ_CHECK(status == 0 || status == 400 || status == 414);
    if (status == 0) {
        FUZZ_CHECK(one[0] == '/');
        FUZZ_CHECK(http_target(one, two, sizeof two) == 0 && strcmp(one, two) == 0);
        FUZZ_CHECK(!http_prefix_fits("/private", one) || strncmp(one, "/private", 8) == 0);
        /* No dots lead out of what a prefix names. */
        char path[HTTP_TARGET_MAX + 1];
        strcpy(path, one);
        path[strcspn(path, "?")] = 0;
        FUZZ_CHECK(!strstr(path, "/../") && !strstr(path, "/./"));
        if (strlen(path) >= 3)
            FUZZ_CHECK(strcmp(path + strlen(path) - 3, "/..") != 0);
    }
    if (http_prefix_valid(raw, why, sizeof why)) {
        FUZZ_CHECK(strlen(raw) <= HTTP_PREFIX_MAX);
        FUZZ_CHECK(http_target(raw, one, sizeof one) == 0 && strcmp(one, raw) == 0 && http_prefix_fits(raw, raw));
    } else {
        FUZZ_CHECK(why[0]);
    }
    http_token(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    guard(data, size, 1);
    guard(data, size, size > 2 ? 1 + data[size / 2] % 7 : 1);
    char *text = malloc(size + 1);
    FUZZ_CHECK(text);
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    target(text);
    free(text);
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /a?b HTTP/1.1\r\nhOST:a\r\ncontent-LENGTH:\t3 \r\n\r\nabcGET / HTTP/1.1\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX: \xc3\xa4\r\nY:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "/",
        "/private/a",
        "/a/%2e%2E/b?x=%41",
        "/a/../b",
        "/%7euser/a%2fb",
        "/a//b/./c",
        "http://a/b",
        "/a/",
        "/..",
        "/a;x=1/b,c?d#e",
        "*",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put(arg, kos_bytes_str(texts[i]));
}
