/* SPDX-License-Identifier: Apache-2.0
 * Which addresses are of this machine or its network, or of no one: those a stranger's URL must not make us ask. */
#include "http.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct block {
    uint8_t prefix[4];
    uint8_t bits;
};

/* IANA IPv4 special-purpose address registry, what is not globally reachable, with multicast */
static const struct block blocks[] = {
    { { 0, 0, 0, 0 }, 8 },      { { 10, 0, 0, 0 }, 8 },      { { 100, 64, 0, 0 }, 10 },  { { 127, 0, 0, 0 }, 8 },
    { { 169, 254, 0, 0 }, 16 }, { { 172, 16, 0, 0 }, 12 },   { { 192, 0, 0, 0 }, 24 },   { { 192, 0, 2, 0 }, 24 },
    { { 192, 88, 99, 0 }, 24 }, { { 192, 168, 0, 0 }, 16 },  { { 198, 18, 0, 0 }, 15 },  { { 198, 51, 100, 0 }, 24 },
    { { 203, 0, 113, 0 }, 24 }, { { 224, 0, 0, 0 }, 4 },     { { 240, 0, 0, 0 }, 4 },
};

static bool inside(const uint8_t *address, const uint8_t *prefix, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(address, prefix, whole) == 0 && (rest == 0 || (address[whole] ^ prefix[whole]) >> (8 - rest) == 0);
}

static bool private4(const uint8_t address[4])
{
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (inside(address, blocks[i].prefix, blocks[i].bits))
            return true;
    return false;
}

static bool private6(const uint8_t a[16])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff }, nat64[12] = { 0, 0x64, 0xff, 0x9b };
    static const uint8_t documentation[4] = { 0x20, 0x01, 0x0d, 0xb8 }, protocols[3] = { 0x20, 0x01, 0 };
    if (memcmp(a, mapped, sizeof mapped) == 0 || memcmp(a, nat64, sizeof nat64) == 0)
        return private4(a + 12);
    if (a[0] == 0x20 && a[1] == 0x02) /* 6to4, RFC 3056 */
        return private4(a + 2);
    /* 2001::/23 holds Teredo, which carries an IPv4 address, and nothing a server is reached at. */
    return (a[0] & 0xe0) != 0x20 || inside(a, documentation, 32) || inside(a, protocols, 23);
}

bool http_address_private(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    switch (address->sa_family) {
    case AF_INET:
        memcpy(&v4, address, sizeof v4);
        return private4((const uint8_t *)&v4.sin_addr);
    case AF_INET6:
        memcpy(&v6, address, sizeof v6);
        return private6(v6.sin6_addr.s6_addr);
    default:
        return true;
    }
}
