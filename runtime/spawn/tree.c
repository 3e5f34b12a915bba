/* SPDX-License-Identifier: Apache-2.0
 * Who descends from a process, by /proc. A subreaper's tree is complete: whoever loses its parent becomes its child. */
#include "spawn/spawner.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads a small file of /proc whole, with a NUL behind; -1 when it cannot be opened. */
static ssize_t slurp(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t len = 0;
    ssize_t n;
    while (len + 1 < cap && (n = read(fd, out + len, cap - 1 - len)) > 0)
        len += (size_t)n;
    close(fd);
    out[len] = 0;
    return (ssize_t)len;
}

static bool add(struct tree *tree, pid_t pid, size_t max)
{
    if (tree->count >= max)
        return false;
    if (tree->kill) {
        /* With its whole group, whose members cannot fork their way out of one signal. A descendant's group is of the
         * run: it stands in a session that the run made. Before its children are asked for, so that it makes no
         * more. */
        pid_t group = getpgid(pid);
        kill(group > 1 && group != getpgrp() ? -group : pid, SIGKILL);
    }
    if (tree->count == tree->cap) {
        size_t cap = tree->cap ? tree->cap * 2 : 64;
        pid_t *pids = realloc(tree->pids, cap * sizeof *pids);
        if (!pids)
            return false;
        tree->pids = pids;
        tree->cap = cap;
    }
    tree->pids[tree->count++] = pid;
    return true;
}

/* The children of one thread, "12 13 14 ". Long lists are read in pieces. */
static bool add_children(struct tree *tree, pid_t pid, const char *tid, size_t max)
{
    char path[96], text[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    long value = 0;
    ssize_t n;
    while ((n = read(fd, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                value = value * 10 + (text[i] - '0');
            } else if (value > 0) {
                if (!add(tree, (pid_t)value, max))
                    n = 0;
                value = 0;
            }
        }
    close(fd);
    return true;
}

static bool add_children_of_all_threads(struct tree *tree, pid_t pid, size_t max)
{
    char path[64];
    if (tree->kill) { /* in a hurry: who lost its parent is a child of the root's only thread soon */
        snprintf(path, sizeof path, "%d", (int)pid);
        return add_children(tree, pid, path, max);
    }
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return false;
    bool any = false;
    struct dirent *entry;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
            any |= add_children(tree, pid, entry->d_name, max);
    closedir(dir);
    return any;
}

/* For kernels without CONFIG_PROC_CHILDREN: one pass over all processes for each generation. */
static int32_t read_slowly(struct tree *tree, pid_t root, size_t max)
{
    for (size_t at = 0; at == 0 || at <= tree->count; at++) {
        pid_t parent = at == 0 ? root : tree->pids[at - 1];
        DIR *dir = opendir("/proc");
        if (!dir)
            return KOS_E_UNSUPPORTED;
        struct dirent *entry;
        while ((entry = readdir(dir))) {
            char path[300], text[512], state;
            int ppid;
            snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
            if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || slurp(path, text, sizeof text) <= 0)
                continue;
            /* The name in parentheses may hold anything; what follows its last parenthesis does not. */
            char *close_paren = strrchr(text, ')');
            if (close_paren && sscanf(close_paren + 1, " %c %d", &state, &ppid) == 2 && ppid == parent)
                add(tree, (pid_t)atoi(entry->d_name), max);
        }
        closedir(dir);
    }
    return KOS_OK;
}

int32_t tree_read(struct tree *tree, pid_t root, size_t max)
{
    tree->count = 0;
    if (!add_children_of_all_threads(tree, root, max))
        return read_slowly(tree, root, max);
    for (size_t at = 0; at < tree->count && tree->count < max; at++)
        add_children_of_all_threads(tree, tree->pids[at], max);
    return KOS_OK;
}

void tree_fini(struct tree *tree)
{
    free(tree->pids);
    *tree = (struct tree){ 0 };
}

static uint64_t kib_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

static uint64_t memory_of(pid_t pid)
{
    char path[64], text[8192];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    if (slurp(path, text, sizeof text) > 0)
        return kib_of(text, "\nPss_Anon:") + kib_of(text, "\nPss_Shmem:") + kib_of(text, "\nSwapPss:");
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (slurp(path, text, sizeof text) > 0)
        return kib_of(text, "\nRssAnon:") + kib_of(text, "\nRssShmem:") + kib_of(text, "\nVmSwap:");
    return 0;
}

uint64_t tree_memory(const struct tree *tree, uint64_t enough)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), resident = 0, exact = 0;
    for (size_t i = 0; i < tree->count; i++) {
        char path[64], text[256];
        unsigned long long size, pages;
        snprintf(path, sizeof path, "/proc/%d/statm", (int)tree->pids[i]);
        if (slurp(path, text, sizeof text) > 0 && sscanf(text, "%llu %llu", &size, &pages) == 2)
            resident += pages * page;
    }
    /* Counting exactly makes the kernel walk page tables: only when it could matter. */
    if (resident <= enough)
        return resident;
    for (size_t i = 0; i < tree->count; i++)
        exact += memory_of(tree->pids[i]);
    return exact;
}

void tree_usage(pid_t pid, uint64_t *ret_memory, uint64_t *ret_cpu_ms)
{
    char path[64], text[2048];
    unsigned long long user = 0, system = 0, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    /* proc_pid_stat(5): fields 14 and 15, in clock ticks; the name in parentheses may hold anything. */
    char *after = slurp(path, text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
    if (after)
        sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system);
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    if (slurp(path, text, sizeof text) > 0)
        sscanf(text, "%*u %llu", &pages);
    *ret_memory = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    *ret_cpu_ms = (user + system) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}
