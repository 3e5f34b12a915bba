/* SPDX-License-Identifier: Apache-2.0
 *
 * kos-cell: hosts one plugin for kosd, or says what a module is. Nothing of a module runs before this process has given
 * up what the module must not have.
 */
#include <assert.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cell/cell.h"
#include "confine/confine.h"

static const char usage_text[] =
    "Usage: kos-cell --describe FILE\n"
    "       kos-cell --cell NAME [--allow net|files|exec]...\n"
    "Says what a module is, without giving it any right, as one JSON object: {\"description\": ...} or {\"error\": ...};\n"
    "or hosts a plugin for kosd, which starts it that way with a socket as descriptor 3.\n\n"
    "  -d, --describe FILE   load FILE, print id, version, kinds, settings and rights, and end\n"
    "  -c, --cell NAME       host the plugin that the socket names\n"
    "  -a, --allow RIGHT     what the policy grants of: net, files, exec\n"
    "  -h, --help            this text\n"
    "  -V, --version         the version\n\n"
    "See kosd(8), kos-plugin(7).\n";

#ifdef __SANITIZE_ADDRESS__
/* The leak checker attaches to its own process, which no cell may. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static uint32_t allow_of(const char *word)
{
    return strcmp(word, "net") == 0       ? KOS_CELL_NET
        : strcmp(word, "files") == 0      ? KOS_CELL_FILES
        : strcmp(word, "exec") == 0       ? KOS_CELL_EXEC
                                          : 0;
}

static_assert((int)KOS_CELL_NET == (int)KOS_FILTER_NET && (int)KOS_CELL_FILES == (int)KOS_FILTER_FILES &&
                  (int)KOS_CELL_EXEC == (int)KOS_FILTER_EXEC,
              "rights travel as bits");

/* Read by host/cell.c, which names the call. */
static void denied(int number)
{
    char text[] = "kos-cell: denied 0000000000\n";
    unsigned value = (unsigned)number;
    for (size_t at = sizeof text - 3; value > 0; at--, value /= 10)
        text[at] = (char)('0' + value % 10);
    ssize_t ignored = write(2, text, sizeof text - 1);
    (void)ignored;
}

static int cell(const char *name, uint32_t allow)
{
    char title[16];
    snprintf(title, sizeof title, "kos:%s", name);
    prctl(PR_SET_NAME, title, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    if (fcntl(CELL_CHANNEL_FD, F_GETFL) < 0) {
        fputs("kos-cell: descriptor 3 is not open: kosd starts this program\n", stderr);
        return 2;
    }
    fcntl(CELL_CHANNEL_FD, F_SETFL, fcntl(CELL_CHANNEL_FD, F_GETFL) | O_NONBLOCK);
    fcntl(CELL_CHANNEL_FD, F_SETFD, FD_CLOEXEC);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || kos_filter_apply(allow, denied) < 0) {
        fputs("kos-cell: the kernel does not confine this process (seccomp)\n", stderr);
        return 2;
    }
    return cell_serve();
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "describe", required_argument, NULL, 'd' }, { "cell", required_argument, NULL, 'c' },
        { "allow", required_argument, NULL, 'a' },    { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },        { 0 },
    };
    const char *describe = NULL, *name = NULL;
    uint32_t allow = 0;
    int c, status = -1;
    while (status < 0 && (c = getopt_long(argc, argv, "d:c:a:hV", options, NULL)) != -1)
        switch (c) {
        case 'd': describe = optarg; break;
        case 'c': name = optarg; break;
        case 'a':
            allow |= allow_of(optarg);
            if (!allow_of(optarg))
                status = 2;
            break;
        case 'h': fputs(usage_text, stdout); return 0;
        case 'V': puts("kos-cell " KOS_VERSION); return 0;
        default: status = 2;
        }
    if (status == 2 || optind < argc || !describe == !name) {
        fputs("kos-cell: see kos-cell --help\n", stderr);
        return 2;
    }
    /* Without exit handlers: a module's destructors are none of ours. */
    status = describe ? cell_describe(describe) : cell(name, allow);
    fflush(NULL);
    _exit(status);
}
