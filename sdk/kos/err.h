/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors of kos: a negative number for the program, a stable name for scripts and the wire,
 * a sentence for the person.
 *
 * Every function of the SDK, of libklp and of the runtime that can fail returns int32_t: 0 or a
 * positive result on success, one of these codes on failure. Numbers and names never change and
 * are never reused; new ones are appended. The name is what travels in signed error answers, what
 * `kosctl` prints before its sentence, and what --json carries in "error". Since 1.0.
 */
#ifndef KOS_ERR_H
#define KOS_ERR_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

/* X(constant, number, name, may trying the same again help, what it says when nothing better is known) */
#define KOS_ERROR_LIST(X)                                                                          \
    X(INVALID,      -1,  "invalid_argument",   0, "an argument is outside what is allowed")        \
    X(NOMEM,        -2,  "out_of_memory",      1, "there is not enough memory")                    \
    X(LIMIT,        -3,  "limit_exceeded",     0, "a limit was exceeded")                          \
    X(IO,           -4,  "io_error",           1, "reading or writing failed")                     \
    X(NOSPACE,      -5,  "disk_full",          1, "the disk is full")                              \
    X(NOTFOUND,     -6,  "not_found",          0, "there is no such thing")                        \
    X(EXISTS,       -7,  "already_exists",     0, "it exists already")                             \
    X(DENIED,       -8,  "policy_denied",      0, "the policy does not allow it")                  \
    X(TRUST,        -9,  "trust_too_low",      0, "the trust score is below what is asked")        \
    X(QUOTA,        -10, "quota_exceeded",     1, "a quota is used up")                            \
    X(BUSY,         -11, "busy",               1, "a queue is full")                               \
    X(TIMEOUT,      -12, "deadline_passed",    1, "the deadline passed")                           \
    X(CANCELLED,    -13, "cancelled",          0, "it was cancelled")                              \
    X(CLOSED,       -14, "closed",             1, "the other end is gone")                         \
    X(UNREACHABLE,  -15, "unreachable",        1, "no way leads there now")                        \
    X(PROTOCOL,     -16, "protocol_error",     0, "the peer broke the protocol")                   \
    X(CANONICAL,    -17, "not_canonical",      0, "the bytes are not canonical JSON (RFC 8785)")   \
    X(SYNTAX,       -18, "syntax_error",       0, "the text is malformed")                         \
    X(SIGNATURE,    -19, "bad_signature",      0, "the signature does not verify")                 \
    X(KEY,          -20, "bad_key",            0, "the key is not acceptable")                     \
    X(DECRYPT,      -21, "decrypt_failed",     0, "the ciphertext does not open")                  \
    X(EXPIRED,      -22, "expired",            0, "it has expired")                                \
    X(REPLAYED,     -23, "replayed",           0, "it was seen before")                            \
    X(STALE,        -24, "stale",              0, "something newer is known")                      \
    X(GAP,          -25, "gap",                1, "something before it is missing")                \
    X(DUPLICITY,    -26, "duplicity",          0, "two different signed records stand at one place") \
    X(REVOKED,      -27, "revoked",            0, "the identity is revoked")                       \
    X(FROZEN,       -28, "frozen",             0, "the identity is frozen after duplicity")        \
    X(UNSUPPORTED,  -29, "unsupported",        0, "this build does not have it")                   \
    X(VERSION,      -30, "version_mismatch",   0, "the versions do not fit")                       \
    X(CONFIG,       -31, "bad_configuration",  0, "the configuration is not acceptable")           \
    X(POLICY,       -32, "bad_policy",         0, "the policy manifest is not acceptable")         \
    X(STATE,        -33, "wrong_state",        0, "it cannot be done in this state")               \
    X(AGENT,        -34, "agent_failed",       0, "the agent failed")                              \
    X(INTERRUPTED,  -35, "outcome_unknown",    0, "it was interrupted; whether it took effect is not known") \
    X(PASSPHRASE,   -36, "wrong_passphrase",   0, "the passphrase does not open the key")          \
    X(LOCKED,       -37, "instance_locked",    0, "another process uses this instance")            \
    X(ADDRESS_USED, -38, "address_in_use",     1, "the address is in use")                         \
    X(MISADDRESSED, -39, "misaddressed",       0, "it is addressed to someone else")               \
    X(UNHANDLED,    -40, "unhandled_type",     0, "no handler takes this type")                    \
    X(PERMISSION,   -41, "permission_denied",  0, "the permissions do not allow it")               \
    X(CORRUPT,      -42, "corrupt",            0, "stored data is damaged")                        \
    X(PLUGIN,       -43, "plugin_failed",      0, "the plugin cannot be used")                     \
    X(SEAL_RETIRED, -44, "seal_retired",       1, "the sealing key is retired")                    \
    X(UNKNOWN_ID,   -45, "unknown_identity",   1, "the identity is not known here")                \
    X(FUTURE,       -46, "from_the_future",    0, "its time lies ahead of the clock")              \
    X(INTERNAL,     -47, "internal_error",     0, "kos broke one of its own rules")

#define KOS_ERROR_ENUM_(constant, number, name, again, text) KOS_E_##constant = (number),
enum kos_error_code { KOS_OK = 0, KOS_ERROR_LIST(KOS_ERROR_ENUM_) };
#undef KOS_ERROR_ENUM_

/* The stable name of a code: "policy_denied". "ok" for 0 and above, "internal_error" for unknown numbers. */
static inline const char *kos_error_name(int32_t code)
{
    switch (code) {
#define KOS_ERROR_CASE_(constant, number, name, again, text) case (number): return name;
        KOS_ERROR_LIST(KOS_ERROR_CASE_)
#undef KOS_ERROR_CASE_
    default: return code >= 0 ? "ok" : "internal_error";
    }
}

/* A sentence without a subject, for want of a better one. */
static inline const char *kos_error_text(int32_t code)
{
    switch (code) {
#define KOS_ERROR_CASE_(constant, number, name, again, text) case (number): return text;
        KOS_ERROR_LIST(KOS_ERROR_CASE_)
#undef KOS_ERROR_CASE_
    default: return code >= 0 ? "done" : "unknown error";
    }
}

/* 1 when trying the very same thing again later can help. */
static inline int kos_error_retry(int32_t code)
{
    switch (code) {
#define KOS_ERROR_CASE_(constant, number, name, again, text) case (number): return again;
        KOS_ERROR_LIST(KOS_ERROR_CASE_)
#undef KOS_ERROR_CASE_
    default: return 0;
    }
}

/* Where a person reads it: the code and one sentence that names the thing, the limit or line, and what to do.
 * A value of the caller's, frozen for major 1; functions that take `struct kos_error *ret_error` accept NULL and write
 * only on failure. */
struct kos_error {
    int32_t code;
    char text[508];
};

/* Writes code and formatted sentence (cut at the size of `text`), returns the code, so that
 * `return kos_fail(ret_error, KOS_E_LIMIT, "...")` reads as one act. */
static inline int32_t kos_vfail(struct kos_error *ret_error, int32_t code, const char *format, va_list args)
{
    if (ret_error) {
        ret_error->code = code;
        vsnprintf(ret_error->text, sizeof ret_error->text, format, args);
    }
    return code;
}

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4), unused))
#endif
static int32_t kos_fail(struct kos_error *ret_error, int32_t code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    kos_vfail(ret_error, code, format, args);
    va_end(args);
    return code;
}

#endif
