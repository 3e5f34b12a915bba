/* SPDX-License-Identifier: Apache-2.0
 *
 * What nothing that signs, sends and stores can be faster than, on one core of this machine, in the run in which kos is
 * measured. Each prints a line of JSON.
 *
 *   baseline crypto SECONDS                     an Ed25519 signature and a verification of libsodium
 *   baseline tcp SECONDS BYTES                  a round trip between two processes over a bare TCP connection
 *   baseline tls BYTES                          so many bytes through TLS 1.3 (AES-256-GCM) from one process to another
 *   baseline log FILE                           records appended to a preallocated file, one fdatasync a group: a line
 *                                               of stdin, SECONDS BYTES GROUP, for each turn
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"

enum { LOG_BYTES = 32 << 20, SIGNED_BYTES = 42 /* klp-msg/1, zero, SHA-256 */ };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void need(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

/* The median of single ones: what else runs on the machine makes the mean longer, and the median hardly. */
static void crypto(double seconds)
{
    static struct latency signing, verifying;
    uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES], signature[crypto_sign_BYTES],
        data[SIGNED_BYTES] = "klp-msg/1";
    need(sodium_init() >= 0, "libsodium");
    crypto_sign_keypair(public, secret);
    for (uint64_t start = now_ns(), at = start; at - start < (uint64_t)(seconds * 1e9);) {
        crypto_sign_detached(signature, NULL, data, sizeof data, secret);
        uint64_t done = now_ns();
        latency_add(&signing, done - at);
        need(crypto_sign_verify_detached(signature, data, sizeof data, public) == 0, "verify");
        at = now_ns();
        latency_add(&verifying, at - done);
    }
    printf("{\"sign_ns\":%llu,\"verify_ns\":%llu}\n", (unsigned long long)latency_at(&signing, 0.5),
           (unsigned long long)latency_at(&verifying, 0.5));
}

static void whole(int fd, uint8_t *data, size_t len, int writing)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = writing ? write(fd, data + at, len - at) : read(fd, data + at, len - at);
        need(n > 0, "connection");
        at += (size_t)n;
    }
}

static int nodelay(int fd)
{
    int yes = 1;
    need(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0, "socket");
    return fd;
}

static void tcp(double seconds, size_t bytes)
{
    static struct latency latency;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    uint8_t *data = calloc(1, bytes);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    need(data && bind(listening, (struct sockaddr *)&address, len) == 0 && listen(listening, 1) == 0 &&
             getsockname(listening, (struct sockaddr *)&address, &len) == 0, "listen");
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = nodelay(accept(listening, NULL, NULL));
        for (;;) {
            whole(fd, data, bytes, 0);
            whole(fd, data, bytes, 1);
        }
    }
    int fd = nodelay(socket(AF_INET, SOCK_STREAM, 0));
    need(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    for (uint64_t start = now_ns(), at = start; at - start < (uint64_t)(seconds * 1e9);) {
        whole(fd, data, bytes, 1);
        whole(fd, data, bytes, 0);
        uint64_t after = now_ns();
        latency_add(&latency, after - at);
        at = after;
    }
    kill(child, SIGKILL);
    printf("{\"p50_ns\":%llu,\"p99_ns\":%llu,\"count\":%llu}\n", (unsigned long long)latency_at(&latency, 0.5),
           (unsigned long long)latency_at(&latency, 0.99), (unsigned long long)latency.count);
}

/* Written once before it is measured: then an fdatasync has data to write and no sizes or extents. */
static int preallocated(const char *path)
{
    static const uint8_t zeros[1 << 20];
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    need(fd >= 0, path);
    off_t there = lseek(fd, 0, SEEK_END);
    need(there == LOG_BYTES || posix_fallocate(fd, 0, LOG_BYTES) == 0, path);
    for (off_t at = there; at < LOG_BYTES; at += (off_t)sizeof zeros)
        need(pwrite(fd, zeros, sizeof zeros, at) == (ssize_t)sizeof zeros, path);
    need(there == LOG_BYTES || fsync(fd) == 0, path);
    return fd;
}

static void logging(int fd, double seconds, const char *path, size_t bytes, size_t group)
{
    uint8_t *data = calloc(group, bytes);
    uint64_t records = 0, start, took;
    off_t at = 0;
    need(data != NULL, "memory");
    /* The first may wait for what the file system still has to write about the file. */
    need(pwrite(fd, data, bytes * group, at) == (ssize_t)(bytes * group) && fdatasync(fd) == 0, path);
    start = now_ns();
    for (; (took = now_ns() - start) < (uint64_t)(seconds * 1e9); records += group) {
        memset(data, (int)records, bytes * group);
        if (at + (off_t)(bytes * group) > LOG_BYTES)
            at = 0;
        need(pwrite(fd, data, bytes * group, at) == (ssize_t)(bytes * group) && fdatasync(fd) == 0, path);
        at += (off_t)(bytes * group);
    }
    printf("{\"rate\":%.1f,\"syncs\":%.1f}\n", (double)records * 1e9 / (double)took,
           (double)(records / group) * 1e9 / (double)took);
    fflush(stdout);
    free(data);
}

/* One process for all turns: a scheduler is kinder to one that has waited for long. */
static void log_serve(const char *path)
{
    int fd = preallocated(path);
    double seconds;
    size_t bytes, group;
    while (scanf("%lf %zu %zu", &seconds, &bytes, &group) == 3)
        logging(fd, seconds, path, bytes, group);
    close(fd);
}

/* ---- a stream ---- */

enum { TLS_PIECE = 16384, TLS_DAY = 86400 };

static double cpu_of(int who)
{
    struct rusage use;
    getrusage(who, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static SSL *tls_over(int fd, bool server)
{
    SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    need(context && SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384"), "TLS");
    if (server) {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *certificate = X509_new();
        need(key && certificate && X509_gmtime_adj(X509_getm_notBefore(certificate), 0) &&
                 X509_gmtime_adj(X509_getm_notAfter(certificate), TLS_DAY) && X509_set_pubkey(certificate, key) &&
                 X509_sign(certificate, key, EVP_sha256()) && SSL_CTX_use_certificate(context, certificate) &&
                 SSL_CTX_use_PrivateKey(context, key),
             "certificate");
    }
    SSL *tls = SSL_new(context);
    need(tls && SSL_set_fd(tls, fd) && (server ? SSL_accept(tls) : SSL_connect(tls)) == 1, "TLS handshake");
    return tls;
}

static void tls(uint64_t bytes)
{
    static uint8_t piece[TLS_PIECE];
    int pair[2];
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    need(listener >= 0 && bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 1) == 0 &&
             getsockname(listener, (struct sockaddr *)&address, &len) == 0,
         "listen");
    pid_t child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        need((pair[1] = accept(listener, NULL, NULL)) >= 0, "accept");
        SSL *end = tls_over(pair[1], true);
        uint64_t got = 0;
        for (int n; (n = SSL_read(end, piece, sizeof piece)) > 0;)
            got += (uint64_t)n;
        _exit(got != bytes);
    }
    need((pair[0] = socket(AF_INET, SOCK_STREAM, 0)) >= 0 && connect(pair[0], (struct sockaddr *)&address, len) == 0, "connect");
    SSL *end = tls_over(pair[0], false);
    uint64_t began = now_ns();
    for (uint64_t left = bytes; left;) {
        int n = SSL_write(end, piece, left < sizeof piece ? (int)left : (int)sizeof piece);
        need(n > 0, "TLS write");
        left -= (uint64_t)n;
    }
    SSL_shutdown(end);
    shutdown(pair[0], SHUT_WR);
    int status = 0;
    need(waitpid(child, &status, 0) == child && status == 0, "the other end");
    printf("{\"seconds\":%.6f,\"cpu\":%.6f}\n", (double)(now_ns() - began) / 1e9, cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN));
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0;
    if (argc == 3 && strcmp(argv[1], "crypto") == 0)
        crypto(seconds);
    else if (argc == 4 && strcmp(argv[1], "tcp") == 0)
        tcp(seconds, strtoul(argv[3], NULL, 10));
    else if (argc == 3 && strcmp(argv[1], "tls") == 0)
        tls(strtoull(argv[2], NULL, 10));
    else if (argc == 3 && strcmp(argv[1], "log") == 0)
        log_serve(argv[2]);
    else
        return fprintf(stderr, "usage: baseline crypto SECONDS | tcp SECONDS BYTES | tls BYTES | log FILE\n"), 2;
    return 0;
}
