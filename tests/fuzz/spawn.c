/* SPDX-License-Identifier: Apache-2.0
 *
 * What the spawner is asked, as it comes in from a kosd that was taken over: the input is laid over a good request, with
 * descriptors of every kind. What is taken to be sound can be used: texts end, paths are absolute, no limit is 0, each
 * descriptor is what its place is for.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spawn/spawner.h"

static bool ends(const char *text, size_t cap)
{
    return memchr(text, 0, cap) != NULL;
}

static void usable(const struct spawn_start *start, const int fds[SPAWN_FDS])
{
    struct stat st;
    const bool agent = start->kind == SPAWN_AGENT, cell = start->kind == SPAWN_CELL;
    FUZZ_CHECK(start->magic == SPAWN_MAGIC && start->size == sizeof *start && (agent || cell || start->kind == SPAWN_LOOK));
    FUZZ_CHECK(ends(start->name, sizeof start->name) && ends(start->directory, sizeof start->directory));
    FUZZ_CHECK(ends(start->command, sizeof start->command) && ends(start->module, sizeof start->module));
    FUZZ_CHECK(agent ? start->directory[0] == '/' : start->command[0] == '/' && start->module[0] == '/');
    size_t at = 0;
    while (start->read[at]) { /* each path and the end of all lie within */
        at += strlen(start->read + at) + 1;
        FUZZ_CHECK(at < sizeof start->read);
    }
    const struct spawn_limits *l = &start->limits;
    FUZZ_CHECK(l->memory_bytes && l->file_bytes && l->open_files && l->processes && l->cpu_seconds);
    FUZZ_CHECK((fds[SPAWN_CELL_FDS] < 0) == !agent);
    for (int i = 0; i < (agent ? SPAWN_FDS : SPAWN_CELL_FDS); i++) {
        bool socket = i == SPAWN_CHANNEL || (cell && i == SPAWN_CELL_SOCKET);
        FUZZ_CHECK(fstat(fds[i], &st) == 0 && (socket ? S_ISSOCK(st.st_mode) : S_ISFIFO(st.st_mode)));
    }
}

static void good(struct spawn_start *start, uint32_t kind)
{
    *start = (struct spawn_start){ .magic = SPAWN_MAGIC, .size = sizeof *start, .kind = kind, .limits = { 1, 1, 1, 1, 1 } };
    snprintf(start->name, sizeof start->name, "name");
    snprintf(start->directory, sizeof start->directory, "/directory");
    snprintf(start->command, sizeof start->command, "/command");
    snprintf(start->module, sizeof start->module, "/module");
}

/* Kind and descriptors, then steps: where, and bytes that are laid there. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input(data, size);
    struct spawn_start *start = malloc(sizeof *start);
    int pipes[2], sockets[2], fds[SPAWN_FDS];
    FUZZ_CHECK(start && pipe2(pipes, O_CLOEXEC) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    const int all[] = { -1, pipes[0], sockets[0], 0 };
    good(start, fuzz_u8(&in) % 5);
    for (int i = 0; i < SPAWN_FDS; i++)
        fds[i] = all[fuzz_u8(&in) % 4];
    while (in.left) {
        size_t at = fuzz_u16(&in) % sizeof *start;
        uint8_t fill = fuzz_u8(&in);
        struct kos_bytes bytes = fuzz_take(&in, fill % 32u);
        if (fill >= 224) /* texts without an end */
            memset((uint8_t *)start + at, 'x', (sizeof *start - at) / (fill - 223u));
        else if (bytes.len)
            memcpy((uint8_t *)start + at, bytes.data, bytes.len < sizeof *start - at ? bytes.len : sizeof *start - at);
    }
    if (spawn_sound(start, fds))
        usable(start, fds);
    close(pipes[0]), close(pipes[1]), close(sockets[0]), close(sockets[1]);
    free(start);
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static const uint8_t seeds[][5] = { { SPAWN_AGENT, 2, 1, 1, 1 }, { SPAWN_CELL, 2, 2, 1, 0 }, { SPAWN_LOOK, 2, 1, 1, 0 }, { SPAWN_CELL, 2, 1, 1, 0 } };
    static const size_t places[] = { offsetof(struct spawn_start, name), offsetof(struct spawn_start, directory), offsetof(struct spawn_start, command),
                                     offsetof(struct spawn_start, module), offsetof(struct spawn_start, read), offsetof(struct spawn_start, limits) };
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        put(arg, kos_bytes(seeds[i], sizeof *seeds));
        for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
            uint8_t seed[16];
            memcpy(seed, seeds[i], 5);
            seed[5] = (uint8_t)(places[k] >> 8);
            seed[6] = (uint8_t)places[k];
            seed[7] = 4;
            memset(seed + 8, 0, 4);
            put(arg, kos_bytes(seed, 12));
            seed[7] = 224;
            put(arg, kos_bytes(seed, 8));
        }
    }
}
