/* SPDX-License-Identifier: Apache-2.0
 * Request targets and prefixes: what cannot be understood in two ways, or is refused. */
#include "http.h"

int http_hex(int c)
{
    int letter = c | 32;
    return c >= '0' && c <= '9' ? c - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* RFC 3986, 2.3: what means the same escaped and plain */
static bool unreserved(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

/* Whether a segment is "." or "..", for a reader who decodes %2F and takes backslashes for slashes, too. */
static bool climbs(const char *path, size_t len)
{
    size_t dots = 0, others = 0;
    for (size_t i = 0; i <= len; i++) {
        int c = i < len ? path[i] : '/';
        if (c == '%') {
            c = 16 * http_hex(path[i + 1]) + http_hex(path[i + 2]);
            i += 2;
        }
        if (c == '/' || c == '\\') {
            if (others == 0 && (dots == 1 || dots == 2))
                return true;
            dots = others = 0;
        } else if (c == '.') {
            dots++;
        } else {
            others++;
        }
    }
    return false;
}

int http_target(const char *raw, char *ret_target, size_t cap)
{
    static const char upper[] = "0123456789ABCDEF";
    size_t len = 0, path_len = 0;
    bool query = false;
    if (*raw != '/')
        return 400;
    for (const char *p = raw; *p; p++) {
        if (len + 4 > cap)
            return 414;
        if (*p <= ' ' || *p >= 0x7f || *p == '#' || (!query && *p == '\\'))
            return 400;
        if (*p == '?' && !query) {
            query = true;
            path_len = len;
        }
        if (*p != '%') {
            ret_target[len++] = *p;
            continue;
        }
        int high = http_hex(p[1]), low = high < 0 ? -1 : http_hex(p[2]), c = 16 * high + low;
        if (high < 0 || low < 0 || c < ' ' || c == 0x7f)
            return 400;
        if (unreserved(c)) {
            ret_target[len++] = (char)c;
        } else {
            ret_target[len++] = '%';
            ret_target[len++] = upper[high];
            ret_target[len++] = upper[low];
        }
        p += 2;
    }
    ret_target[len] = '\0';
    return climbs(ret_target, query ? path_len : len) ? 400 : 0;
}

bool http_prefix_valid(const char *prefix, char *ret_why, size_t cap)
{
    char normal[HTTP_PREFIX_MAX + 4];
    if (strlen(prefix) > HTTP_PREFIX_MAX)
        snprintf(ret_why, cap, "a prefix has at most %d bytes", HTTP_PREFIX_MAX);
    else if (http_target(prefix, normal, sizeof normal) != 0 || strpbrk(prefix, "?\""))
        snprintf(ret_why, cap, "the prefix %.80s is not a path that begins with / and has no dot segments", prefix);
    else if (strcmp(normal, prefix) != 0)
        snprintf(ret_why, cap, "the prefix %.80s is to be written %.80s", prefix, normal);
    else
        return true;
    return false;
}

bool http_prefix_fits(const char *prefix, const char *target)
{
    size_t len = strlen(prefix);
    return strncmp(prefix, target, len) == 0 &&
        (prefix[len - 1] == '/' || target[len] == '\0' || target[len] == '/' || target[len] == '?');
}
