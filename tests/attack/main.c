/* SPDX-License-Identifier: Apache-2.0
 * The evil peer's command line. */
#include "evil.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/random.h>
#include <unistd.h>

const char *option(const struct evil *evil, const char *name, const char *otherwise)
{
    size_t len = strlen(name);
    for (int i = 0; i < evil->count; i++)
        if (strncmp(evil->options[i], name, len) == 0 && evil->options[i][len] == '=')
            return evil->options[i] + len + 1;
    return otherwise;
}

long number(const struct evil *evil, const char *name, long otherwise)
{
    const char *text = option(evil, name, NULL);
    return text ? strtol(text, NULL, 0) : otherwise;
}

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("evil: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(1);
}

void wait_for_line(void)
{
    char line[64];
    say("wait");
    if (!fgets(line, sizeof line, stdin))
        _exit(0);
}

void random_fill(void *self, void *out, size_t len)
{
    (void)self;
    if (getrandom(out, len, 0) != (ssize_t)len)
        fail("no randomness");
}

static int list(const struct attack *attack)
{
    for (; attack->name; attack++)
        puts(attack->name);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct attack *const all[] = { handshake_attacks, record_attacks, message_attacks, bomb_attacks };
    signal(SIGPIPE, SIG_IGN);
    if (argc < 3) {
        fputs("usage: evil ATTACK HOST:PORT [NAME=VALUE ...]\n", stderr);
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            list(all[i]);
        return 2;
    }
    struct evil evil = { argv[1], argv[2], argc - 3, argv + 3 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (const struct attack *attack = all[i]; attack->name; attack++)
            if (strcmp(attack->name, evil.attack) == 0) {
                /* One attack is one process, and what it holds goes with it: nobody looks for leaks here. */
                int status = attack->run(&evil);
                fflush(NULL);
                _exit(status);
            }
    fail("no attack %s", evil.attack);
}
