/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses (klp(7), "Addresses"): klp://<kind>.<name>[/<path>], and what a person may also type:
 * peer://HOST[:PORT], peer://NAME, agent://NAME.0xHEXPREFIX.
 */
#ifndef KLP_ADDRESS_H
#define KLP_ADDRESS_H

#include <klp/id.h>

enum { KLP_ADDRESS_MAX = 512, KLP_NAME_MAX = 253, KLP_LABEL_MAX = 63, KLP_PORT_DEFAULT = 7450 };

enum klp_address_form {
    KLP_ADDRESS_ID = 1,     /* klp://node.<26 characters>: `kind`, `id` */
    KLP_ADDRESS_NAME = 2,   /* klp://agent.echo.home.kai: `kind`, `name` */
    KLP_ADDRESS_HOST = 3,   /* peer://127.0.0.1:7450, peer://[::1]: `name` = host, `port` */
    KLP_ADDRESS_PEER = 4,   /* peer://home.kai: `kind` node, `name` = a node's name (no port, last label not numeric) */
    KLP_ADDRESS_PREFIX = 5, /* agent://echo.0x9f3a: `kind` agent, `name` = label, `prefix` */
};

struct klp_address {
    int32_t form;
    int32_t kind;                  /* enum klp_kind; 0 for HOST */
    struct klp_id id;              /* ID */
    struct klp_id_prefix prefix;   /* PREFIX */
    uint16_t port;                 /* HOST; KLP_PORT_DEFAULT when none was given */
    char name[KLP_NAME_MAX + 1];   /* lower case */
    char path[KLP_ADDRESS_MAX];    /* with its leading slash, case kept, %-escapes as given; "" when none */
};

/* A peer:// with a port, an IP literal or `localhost` is HOST; with a dotted or plain name and no port it
 * is PEER. KOS_E_SYNTAX with the reason and the offset; KOS_E_LIMIT. */
int32_t klp_address_parse(struct kos_bytes text, struct klp_address *ret_address, struct kos_error *ret_error);
/* The canonical text; kinds and names lower case. Returns its length, or KOS_E_LIMIT. */
int32_t klp_address_format(const struct klp_address *address, char *ret_text, size_t cap);
/* Labels of 1 to 63 of [a-z0-9-] not beginning or ending with '-', at most 253 together; upper case folds. */
int32_t klp_name_parse(struct kos_bytes text, char ret_name[KLP_NAME_MAX + 1]);
int32_t klp_label_check(struct kos_bytes text);

#endif
