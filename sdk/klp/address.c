/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses: klp:// as it stands in messages, peer:// and agent:// as people type them.
 */
#include <klp/address.h>

#include "codec.h"

#include <arpa/inet.h>

enum { ID_CHARS = KLP_ID_TEXT - 1 };

/* What is being parsed; `at` points into `text`, so that a fault can say where. */
struct cursor {
    struct kos_bytes text;
    struct kos_error *error;
};

static int32_t bad(const struct cursor *c, const uint8_t *at, const char *reason)
{
    bool printable = true;
    for (size_t i = 0; i < c->text.len; i++)
        printable = printable && c->text.data[i] > 0x20 && c->text.data[i] < 0x7f;
    int shown = printable ? (int)c->text.len : 0;
    return kos_fail(c->error, KOS_E_SYNTAX, "the address %.*s%sis malformed at character %zu: %s", shown,
                    shown ? (const char *)c->text.data : "", shown ? " " : "", (size_t)(at - c->text.data) + 1, reason);
}

static bool label_ok(const uint8_t *p, size_t len)
{
    if (len == 0 || len > KLP_LABEL_MAX || p[0] == '-' || p[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!(p[i] >= 'a' && p[i] <= 'z') && !(p[i] >= '0' && p[i] <= '9') && p[i] != '-')
            return false;
    return true;
}

int32_t klp_label_check(struct kos_bytes text)
{
    return label_ok(text.data, text.len) ? 0 : KOS_E_SYNTAX;
}

int32_t klp_name_parse(struct kos_bytes text, char ret_name[KLP_NAME_MAX + 1])
{
    char name[KLP_NAME_MAX + 1];
    if (text.len > KLP_NAME_MAX)
        return KOS_E_LIMIT;
    for (size_t i = 0; i < text.len; i++)
        name[i] = ascii_lower((char)text.data[i]);
    name[text.len] = '\0';
    for (size_t start = 0, i = 0; i <= text.len; i++) {
        if (i < text.len && name[i] != '.')
            continue;
        if (!label_ok((const uint8_t *)name + start, i - start))
            return KOS_E_SYNTAX;
        start = i + 1;
    }
    memcpy(ret_name, name, text.len + 1);
    return 0;
}

/* Consumes `prefix` in any case. */
static bool scheme(struct kos_bytes *text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (text->len < len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (ascii_lower((char)text->data[i]) != prefix[i])
            return false;
    *text = kos_bytes(text->data + len, text->len - len);
    return true;
}

/* Up to but without `stop`; the whole when it does not occur. */
static struct kos_bytes until(struct kos_bytes text, char stop)
{
    const uint8_t *at = text.len ? memchr(text.data, stop, text.len) : NULL;
    return kos_bytes(text.data, at ? (size_t)(at - text.data) : text.len);
}

static int32_t parse_name(const struct cursor *c, struct kos_bytes text, char ret_name[KLP_NAME_MAX + 1])
{
    int32_t err = klp_name_parse(text, ret_name);
    if (err == KOS_E_LIMIT)
        return kos_fail(c->error, KOS_E_LIMIT, "the name in the address has %zu characters, more than %d", text.len,
                        KLP_NAME_MAX);
    if (err < 0)
        return bad(c, text.data, "a name is labels of 1 to 63 letters, digits and inner hyphens, with dots between");
    return 0;
}

static int hex_digit(uint8_t c)
{
    c = (uint8_t)ascii_lower((char)c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986 section 3.3, without segments that only say where others are: one thing, one path. */
static int32_t parse_path(const struct cursor *c, struct kos_bytes path, char *ret_path)
{
    size_t segment = 1;
    for (size_t i = 0; i < path.len; i++) {
        const uint8_t *p = path.data + i;
        if (*p == '%') {
            if (path.len - i < 3 || hex_digit(p[1]) < 0 || hex_digit(p[2]) < 0)
                return bad(c, p, "two hexadecimal digits must follow the percent sign");
            if (p[1] == '0' && p[2] == '0')
                return bad(c, p, "%00 is not allowed in a path");
        } else if (!(hex_digit(*p) >= 0 || (ascii_lower((char)*p) >= 'g' && ascii_lower((char)*p) <= 'z')) &&
                   (*p == 0 || !strchr("-._~!$&'()*+,;=:@/", *p))) {
            return bad(c, p, "this character must be written with a percent sign in a path");
        }
        if (i + 1 < path.len && path.data[i + 1] != '/')
            continue;
        size_t len = i + 1 > segment ? i + 1 - segment : 0;
        if (len && len < 3 && memcmp(path.data + segment, "..", len) == 0)
            return bad(c, path.data + segment, "a path has no '.' or '..' segments");
        segment = i + 2;
    }
    if (path.len)
        memcpy(ret_path, path.data, path.len);
    ret_path[path.len] = '\0';
    return 0;
}

/* True when the whole name is an id, or was meant to be one: 26 characters of base32. */
static bool looks_like_id(const char *name)
{
    return strlen(name) == ID_CHARS && strspn(name, "abcdefghijklmnopqrstuvwxyz234567") == ID_CHARS;
}

static int32_t id_or_name(const struct cursor *c, struct kos_bytes text, int32_t kind, int32_t name_form,
                          struct klp_address *address)
{
    int32_t err = parse_name(c, text, address->name);
    if (err < 0)
        return err;
    address->kind = kind;
    address->form = name_form;
    if (looks_like_id(address->name)) {
        if (klp_id_parse(kos_bytes_str(address->name), &address->id) < 0)
            return bad(c, text.data + text.len - 1, "this is not the last character of any id: a typing error?");
        address->form = KLP_ADDRESS_ID;
        memset(address->name, 0, sizeof address->name);
    }
    return 0;
}

static int32_t parse_klp(const struct cursor *c, struct kos_bytes rest, struct klp_address *address)
{
    struct kos_bytes authority = until(rest, '/');
    struct kos_bytes path = kos_bytes(rest.data + authority.len, rest.len - authority.len);
    struct kos_bytes word = until(authority, '.');
    char lower[8] = "";
    int32_t kind;
    for (size_t i = 0; i < word.len && i < sizeof lower; i++)
        lower[i] = ascii_lower((char)word.data[i]);
    if (word.len > sizeof lower || klp_kind_parse(kos_bytes(lower, word.len), &kind) < 0)
        return bad(c, word.data, "klp:// is followed by node., agent., doc. or policy.");
    if (word.len == authority.len)
        return bad(c, word.data + word.len, "a dot and a name or an id must follow");
    int32_t err = id_or_name(c, kos_bytes(word.data + word.len + 1, authority.len - word.len - 1), kind,
                             KLP_ADDRESS_NAME, address);
    return err < 0 ? err : parse_path(c, path, address->path);
}

static int32_t parse_port(const struct cursor *c, struct kos_bytes text, uint16_t *ret_port)
{
    uint32_t port = 0;
    for (size_t i = 0; i < text.len && i < 6; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return bad(c, text.data + i, "a port is a number");
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (text.len == 0 || text.len > 5 || text.data[0] == '0' || port > 65535)
        return bad(c, text.data, "a port is a number from 1 to 65535");
    *ret_port = (uint16_t)port;
    return 0;
}

/* Resolvers take 127.1, 0x7f.1 and 2130706433 for IPv4 addresses: a name must not end so. */
static bool numeric_end(const char *name)
{
    const char *dot = strrchr(name, '.'), *label = dot ? dot + 1 : name;
    if (strspn(label, "0123456789") == strlen(label))
        return true;
    return label[0] == '0' && label[1] == 'x' && strspn(label + 2, "0123456789abcdef") == strlen(label + 2);
}

static int32_t parse_ipv6(const struct cursor *c, struct kos_bytes rest, struct klp_address *address)
{
    struct kos_bytes inner = until(kos_bytes(rest.data + 1, rest.len - 1), ']');
    char text[INET6_ADDRSTRLEN];
    struct in6_addr in6;
    if (inner.len + 1 == rest.len)
        return bad(c, rest.data + rest.len, "the closing ']' is missing");
    if (inner.len >= sizeof text)
        return bad(c, inner.data, "this is not an IPv6 address");
    memcpy(text, inner.data, inner.len);
    text[inner.len] = '\0';
    if (memchr(text, 0, inner.len) || inet_pton(AF_INET6, text, &in6) != 1)
        return bad(c, inner.data, "this is not an IPv6 address");
    inet_ntop(AF_INET6, &in6, address->name, sizeof address->name);
    rest = kos_bytes(inner.data + inner.len + 1, rest.len - inner.len - 2);
    if (rest.len == 0)
        return 0;
    if (rest.data[0] != ':')
        return bad(c, rest.data, "after ']' comes ':' and a port, or nothing");
    return parse_port(c, kos_bytes(rest.data + 1, rest.len - 1), &address->port);
}

static int32_t parse_peer(const struct cursor *c, struct kos_bytes rest, struct klp_address *address)
{
    struct in_addr in;
    struct kos_bytes host = until(rest, ':');
    address->form = KLP_ADDRESS_HOST;
    address->port = KLP_PORT_DEFAULT;
    if (rest.len && rest.data[0] == '[')
        return parse_ipv6(c, rest, address);
    if (memchr(host.data, '/', host.len))
        return bad(c, memchr(host.data, '/', host.len), "peer:// names a host or a node and has no path");
    int32_t err = parse_name(c, host, address->name);
    if (err < 0)
        return err;
    bool literal = inet_pton(AF_INET, address->name, &in) == 1;
    if (!literal && numeric_end(address->name))
        return bad(c, host.data, "this is neither an IPv4 address nor a name: a name's last label is not a number");
    if (host.len < rest.len)
        return parse_port(c, kos_bytes(host.data + host.len + 1, rest.len - host.len - 1), &address->port);
    if (literal || strcmp(address->name, "localhost") == 0)
        return 0;
    address->port = 0;
    return id_or_name(c, host, KLP_KIND_NODE, KLP_ADDRESS_PEER, address);
}

static int32_t parse_agent(const struct cursor *c, struct kos_bytes rest, struct klp_address *address)
{
    struct kos_bytes label = until(rest, '.');
    if (label.len == rest.len)
        return bad(c, rest.data + rest.len,
                   "agent:// is followed by NAME.0xPREFIX; by name alone an agent is klp://agent.NAME");
    int32_t err = parse_name(c, label, address->name);
    if (err < 0)
        return err;
    struct kos_bytes prefix = kos_bytes(label.data + label.len + 1, rest.len - label.len - 1);
    if (prefix.len < 2 || prefix.data[0] != '0' || klp_id_prefix_parse(prefix, &address->prefix) < 0)
        return bad(c, prefix.data, "after the agent's name come a dot, 0x and 2 to 32 hexadecimal digits of its id");
    address->form = KLP_ADDRESS_PREFIX;
    address->kind = KLP_KIND_AGENT;
    return 0;
}

int32_t klp_address_parse(struct kos_bytes text, struct klp_address *ret_address, struct kos_error *ret_error)
{
    struct klp_address address = { 0 };
    struct cursor c = { text.len ? text : kos_bytes("", 0), ret_error };
    struct kos_bytes rest = c.text;
    int32_t err;
    if (text.len >= KLP_ADDRESS_MAX)
        return kos_fail(ret_error, KOS_E_LIMIT, "the address has %zu characters, more than %d", text.len,
                        KLP_ADDRESS_MAX - 1);
    if (scheme(&rest, "klp://"))
        err = parse_klp(&c, rest, &address);
    else if (scheme(&rest, "peer://"))
        err = parse_peer(&c, rest, &address);
    else if (scheme(&rest, "agent://"))
        err = parse_agent(&c, rest, &address);
    else
        err = bad(&c, c.text.data, "an address begins with klp://, peer:// or agent://");
    if (err < 0)
        return err;
    *ret_address = address;
    return 0;
}

int32_t klp_address_format(const struct klp_address *address, char *ret_text, size_t cap)
{
    char out[KLP_ADDRESS_MAX + KLP_NAME_MAX + 64], id[KLP_ID_TEXT], hex[KLP_ID_HEX];
    const char *kind = klp_kind_name(address->kind);
    int len = -1;
    switch (address->form) {
    case KLP_ADDRESS_ID:
        klp_id_text(&address->id, id);
        if (kind)
            len = snprintf(out, sizeof out, "klp://%s.%s%s", kind, id, address->path);
        break;
    case KLP_ADDRESS_NAME:
        if (kind)
            len = snprintf(out, sizeof out, "klp://%s.%s%s", kind, address->name, address->path);
        break;
    case KLP_ADDRESS_HOST: /* always with its port: without one, a name would be a node's */
        len = snprintf(out, sizeof out, strchr(address->name, ':') ? "peer://[%s]:%u" : "peer://%s:%u", address->name,
                       (unsigned)address->port);
        break;
    case KLP_ADDRESS_PEER:
        len = snprintf(out, sizeof out, "peer://%s", address->name);
        break;
    case KLP_ADDRESS_PREFIX:
        klp_id_hex(&address->prefix.id, hex);
        if (address->prefix.digits <= 2 * KLP_ID_LEN)
            len = snprintf(out, sizeof out, "agent://%s.%.*s", address->name, 2 + address->prefix.digits, hex);
        break;
    default:
        break;
    }
    if (len < 0)
        return KOS_E_INVALID;
    if (len >= KLP_ADDRESS_MAX || (size_t)len >= cap)
        return KOS_E_LIMIT;
    memcpy(ret_text, out, (size_t)len + 1);
    return len;
}
