/* SPDX-License-Identifier: Apache-2.0
 * How bridge/nats proves itself to a server and has the server prove itself: TLS, nkeys, credentials; and the sentences
 * for what goes wrong with them. */
#include "link.h"

#include <errno.h>
#include <klp/crypto.h>
#include <sodium.h>
#include <stdlib.h>

enum { PEM_MAX = 256 << 10, NKEY_SEED = 18 << 3, NKEY_USER = 20 << 3, NKEY_RAW = 36, NKEY_PUBLIC_RAW = 35 };

/* ---- nkeys: base32 over prefix, key and a CRC-16/XMODEM in little endian ---- */

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const uint8_t *data, size_t len)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc = (uint16_t)(crc ^ data[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

static bool base32_decode(const char *text, size_t len, uint8_t *ret_data, size_t want)
{
    uint32_t bits = 0;
    size_t have = 0, out = 0;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] ? strchr(base32, text[i]) : NULL;
        if (!at)
            return false;
        bits = bits << 5 | (uint32_t)(at - base32);
        have += 5;
        if (have >= 8) {
            if (out == want)
                return false;
            have -= 8;
            ret_data[out++] = (uint8_t)(bits >> have);
        }
    }
    return out == want;
}

int32_t link_nkey_public(const char *seed, char ret_public[60])
{
    uint8_t raw[NKEY_RAW], public_raw[NKEY_PUBLIC_RAW], secret[crypto_sign_SECRETKEYBYTES];
    if (strlen(seed) != 58 || !base32_decode(seed, 58, raw, sizeof raw))
        return KOS_E_KEY;
    uint16_t crc = crc16(raw, NKEY_RAW - 2);
    bool ok = raw[NKEY_RAW - 2] == (crc & 0xff) && raw[NKEY_RAW - 1] == crc >> 8 && (raw[0] & 0xf8) == NKEY_SEED &&
        ((raw[0] & 7) << 5 | raw[1] >> 3) == NKEY_USER;
    if (ok) {
        public_raw[0] = NKEY_USER;
        crypto_sign_seed_keypair(public_raw + 1, secret, raw + 2);
        crc = crc16(public_raw, NKEY_PUBLIC_RAW - 2);
        public_raw[NKEY_PUBLIC_RAW - 2] = (uint8_t)(crc & 0xff);
        public_raw[NKEY_PUBLIC_RAW - 1] = (uint8_t)(crc >> 8);
        for (size_t i = 0; i < 56; i++) /* 35 bytes are 56 characters, whole */
            ret_public[i] = base32[(((uint32_t)public_raw[i * 5 / 8] << 8 |
                                     (i * 5 / 8 + 1 < NKEY_PUBLIC_RAW ? public_raw[i * 5 / 8 + 1] : 0u)) >>
                                    (11 - i * 5 % 8)) & 31];
        ret_public[56] = '\0';
    }
    klp_wipe(raw, sizeof raw);
    klp_wipe(secret, sizeof secret);
    return ok ? KOS_OK : KOS_E_KEY;
}

static natsStatus sign(char **custom, unsigned char **signature, int *len, const char *nonce, void *closure)
{
    (void)custom;
    return nats_Sign(closure, nonce, signature, len);
}

/* ---- credentials: a file with a JWT and a seed, each between lines of dashes ---- */

static char *block_of(const char *text, const char *title)
{
    char begin[64];
    snprintf(begin, sizeof begin, "-----BEGIN %s-----", title);
    const char *at = strstr(text, begin);
    if (!at)
        return NULL;
    at += strlen(begin);
    at += strspn(at, "-\r\n\t ");
    size_t len = strcspn(at, "\r\n\t ");
    char *block = malloc(len + 1);
    if (block) {
        memcpy(block, at, len);
        block[len] = '\0';
    }
    return block;
}

static natsStatus give_jwt(char **jwt, char **custom, void *closure)
{
    const struct link_options *options = closure;
    (void)custom;
    *jwt = block_of(options->credentials, "NATS USER JWT");
    return *jwt ? NATS_OK : NATS_ERR;
}

static natsStatus sign_as_user(char **custom, unsigned char **signature, int *len, const char *nonce, void *closure)
{
    const struct link_options *options = closure;
    char *seed = block_of(options->credentials, "USER NKEY SEED");
    (void)custom;
    natsStatus status = seed ? nats_Sign(seed, nonce, signature, len) : NATS_ERR;
    if (seed)
        klp_wipe(seed, strlen(seed));
    free(seed);
    return status;
}

/* ---- options ---- */

/* PEM text as it stands in the setting, or out of the file that it names. NULL: why is in *ret_error. */
static char *pem_of(const char *setting, const char *value, struct kos_error *ret_error)
{
    if (strstr(value, "-----BEGIN"))
        return strdup(value);
    FILE *file = fopen(value, "re");
    char *text = malloc(PEM_MAX + 1);
    size_t len = file && text ? fread(text, 1, PEM_MAX + 1, file) : 0;
    bool ok = len > 0 && len <= PEM_MAX && memchr(text, '\0', len) == NULL;
    if (ok)
        text[len] = '\0';
    if (!file || !text || ferror(file))
        kos_fail(ret_error, KOS_E_CONFIG, "%s: %s cannot be read: %s%s", setting, value, strerror(errno),
                 errno == EACCES ? "; an isolated plugin reads no files: let the setting be the PEM text itself" : "");
    else if (!ok || !strstr(text, "-----BEGIN")) {
        kos_fail(ret_error, KOS_E_CONFIG, "%s: %s holds no PEM text", setting, value);
        ok = false;
    }
    if (file)
        fclose(file);
    if (!ok) {
        free(text);
        return NULL;
    }
    return text;
}

static int32_t add_tls(const struct link_options *options, natsOptions *made, struct kos_error *ret_error)
{
    natsStatus status = natsOptions_SetSecure(made, true);
    if (status == NATS_OK && *options->ca) {
        char *pem = pem_of("tls_ca", options->ca, ret_error);
        if (!pem)
            return KOS_E_CONFIG;
        status = natsOptions_SetCATrustedCertificates(made, pem);
        free(pem);
        if (status != NATS_OK)
            return kos_fail(ret_error, KOS_E_CONFIG, "tls_ca: %.200s holds no certificate that can be used",
                            strstr(options->ca, "-----BEGIN") ? "the text" : options->ca);
    }
    if (status == NATS_OK && *options->cert) {
        char *pem = pem_of("tls_cert", options->cert, ret_error);
        if (!pem)
            return KOS_E_CONFIG;
        status = natsOptions_SetCertificatesChain(made, pem, options->key ? options->key : "");
        free(pem);
        if (status != NATS_OK)
            return kos_fail(ret_error, KOS_E_CONFIG,
                            "tls_cert and the secret of tls_key are no certificate and its private key in PEM");
    }
    if (status == NATS_OK && *options->name)
        status = natsOptions_SetExpectedHostname(made, options->name);
    return status == NATS_OK ? KOS_OK
                             : kos_fail(ret_error, KOS_E_CONFIG, "TLS cannot be set up: %s", natsStatus_GetText(status));
}

static int32_t add_login(const struct link_options *options, natsOptions *made, struct kos_error *ret_error)
{
    char public_key[60];
    natsStatus status = NATS_OK;
    if (options->seed) {
        if (link_nkey_public(options->seed, public_key) < 0)
            return kos_fail(ret_error, KOS_E_KEY, "the secret of nkey is no seed of a user (58 characters, SU...)");
        status = natsOptions_SetNKey(made, public_key, sign, options->seed);
    } else if (options->credentials) {
        status = natsOptions_SetUserCredentialsCallbacks(made, give_jwt, (void *)(uintptr_t)options, sign_as_user,
                                                         (void *)(uintptr_t)options);
    } else if (*options->user) {
        status = natsOptions_SetUserInfo(made, options->user, options->password ? options->password : "");
    }
    return status == NATS_OK ? KOS_OK
                             : kos_fail(ret_error, KOS_E_CONFIG, "the login cannot be set: %s", natsStatus_GetText(status));
}

int32_t link_options_make(const struct link_options *options, const char *server, natsOptions **ret_options,
                          struct kos_error *ret_error)
{
    natsOptions *made = NULL;
    if (natsOptions_Create(&made) != NATS_OK)
        return kos_fail(ret_error, KOS_E_NOMEM, "there is no memory for a connection");
    int32_t status = natsOptions_SetURL(made, server) == NATS_OK
        ? KOS_OK
        : kos_fail(ret_error, KOS_E_CONFIG, "%.200s is no address of a NATS server", server);
    natsOptions_SetName(made, "kos");
    natsOptions_SetTimeout(made, LINK_TIMEOUT_MS);
    natsOptions_SetAllowReconnect(made, false);
    natsOptions_SetPingInterval(made, 10000);
    natsOptions_SetMaxPingsOut(made, 2);
    natsOptions_SetWriteDeadline(made, LINK_TIMEOUT_MS);
    natsOptions_UseGlobalMessageDelivery(made, true); /* one thread calls back for all subscriptions */
    if (status >= 0 && options->tls)
        status = add_tls(options, made, ret_error);
    if (status >= 0)
        status = add_login(options, made, ret_error);
    if (status < 0) {
        natsOptions_Destroy(made);
        return status;
    }
    *ret_options = made;
    return KOS_OK;
}

/* ---- sentences ---- */

int32_t link_connect_text(const struct link_options *options, const char *server, natsStatus status, const char *detail,
                          char *ret_text, size_t cap)
{
    char public_key[60] = "";
    detail = detail ? detail : "";
    switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
        if (options->seed)
            link_nkey_public(options->seed, public_key);
        snprintf(ret_text, cap, "%.100s refuses this login (authorization violation): %s%s", server,
                 options->seed ? "its users must list the nkey "
                     : options->credentials || *options->user ? "its accounts do not know these credentials"
                                                              : "give nkey, credentials, or user and password",
                 public_key);
        return KOS_E_PERMISSION;
    case NATS_SSL_ERROR:
        snprintf(ret_text, cap, "TLS with %.60s failed: %s%.90s%s (%.90s)", server, *options->ca ? "the PEM of tls_ca, " : "",
                 !*options->ca ? "without tls_ca only the system's authorities are trusted"
                     : strstr(options->ca, "-----BEGIN") ? "a text" : options->ca,
                 *options->ca ? ", must sign its certificate for that name" : "", detail);
        return KOS_E_KEY;
    case NATS_SECURE_CONNECTION_WANTED:
        snprintf(ret_text, cap, "%.100s does not speak TLS; tls = false allows a connection that anybody can read", server);
        return KOS_E_UNSUPPORTED;
    case NATS_SECURE_CONNECTION_REQUIRED:
        snprintf(ret_text, cap, "%.100s demands TLS, and tls = false stands in the policy", server);
        return KOS_E_CONFIG;
    case NATS_NO_SERVER_SUPPORT:
        snprintf(ret_text, cap, "%.100s is too old: kos needs headers and JetStream (2.9 or later)", server);
        return KOS_E_VERSION;
    default:
        snprintf(ret_text, cap, "%.100s cannot be reached: %.120s%s%s", server, natsStatus_GetText(status),
                 *detail ? ": " : "", detail);
        return KOS_E_UNREACHABLE;
    }
}
