/* SPDX-License-Identifier: Apache-2.0
 * Modules that a host must refuse; BAD says which. Each is refused for one reason only. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <kos/handler.h>
#include <kos/plugin.h>

#define BAD_MAJOR 1
#define BAD_SYMBOL 2
#define BAD_ABI 3
#define BAD_NULL 4
#define BAD_SIZE 5
#define BAD_TABLE_NULL 6
#define BAD_TABLE_SIZE 7
#define BAD_CRASH 8
#define BAD_HANG 9
#define BAD_UNDEFINED 10
#define BAD_SLY 11
#define BAD_NAME 12
#define BAD_KIND 13
#define BAD_SETTING 14
#define BAD_RIGHT 15
#define BAD_INIT 16
#define BAD_EXIT 17

static char version[32] = "1.0.0";

#if BAD == BAD_UNDEFINED
void nobody_defines_this(void);
#endif

static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
                    struct kos_error *ret_error)
{
    (void)host;
    (void)conf;
    (void)ret_self;
#if BAD == BAD_UNDEFINED
    nobody_defines_this();
#endif
    return kos_fail(ret_error, KOS_E_CONFIG, "the moon is not full");
}

static void life(void *self)
{
    (void)self;
}

static void handle(void *self, uint64_t message, const struct kos_message *m)
{
    (void)self;
    (void)message;
    (void)m;
}

__attribute__((constructor)) static void begin(void)
{
#if BAD == BAD_CRASH
    int *volatile nowhere = (int *)(uintptr_t)8; /* volatile, or compilers see through it */
    *nowhere = 1;
#elif BAD == BAD_HANG
    for (volatile unsigned i = 0;; i++)
        continue;
#elif BAD == BAD_EXIT
    _exit(3);
#elif BAD == BAD_SLY
    /* Says of itself what it was able to do. */
    int fd = socket(AF_INET, SOCK_STREAM, 0), file = open("/tmp/kos-sly", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    snprintf(version, sizeof version, "%s%s%s.", fd >= 0 ? "socket" : "", file >= 0 ? "file" : "",
             pid > 0 ? "fork" : "");
    if (fd >= 0)
        close(fd);
    if (file >= 0) {
        close(file);
        unlink("/tmp/kos-sly");
    }
#endif
}

static const char *const types[] = { "BAD", NULL };
static const struct kos_handler handler = {
    .size = BAD == BAD_TABLE_SIZE ? 12 : sizeof handler,
    .types = types,
    .handle = BAD == BAD_TABLE_NULL ? NULL : handle,
};
static const struct kos_feature *const features[] = {
    &(const struct kos_feature){ sizeof(struct kos_feature), BAD == BAD_KIND ? "org.example.nothing/1" : KOS_HANDLER,
                                 &handler },
    NULL,
};
static const struct kos_setting *const settings[] = {
    &(const struct kos_setting){ .size = BAD == BAD_SETTING ? 8 : sizeof(struct kos_setting),
                                 .type = KOS_SETTING_INT,
                                 .name = "number",
                                 .fallback = "1",
                                 .min = 1,
                                 .max = 9,
                                 .summary = "a number" },
    NULL,
};
static const struct kos_right *const rights[] = {
    &(const struct kos_right){ sizeof(struct kos_right), "send", "to say nothing" },
#if BAD == BAD_RIGHT
    &(const struct kos_right){ sizeof(struct kos_right), "everything", "to do as it likes" },
#endif
    NULL,
};

#if BAD == BAD_MAJOR
#define kos_plugin_v1 kos_plugin_v2
extern KOS_EXPORT const struct kos_plugin kos_plugin_v2;
#elif BAD == BAD_SYMBOL
#define kos_plugin_v1 kos_plugin_of_mine
extern const struct kos_plugin kos_plugin_of_mine;
#endif
KOS_EXPORT const struct kos_plugin kos_plugin_v1 = {
    .size = BAD == BAD_SIZE ? 40 : sizeof(struct kos_plugin),
    .abi = BAD == BAD_ABI ? 2 << 16 : KOS_ABI,
    .id = "org.kos.test.bad",
    .name = BAD == BAD_NAME ? "Not a name" : "bad",
    .version = version,
    .summary = "is refused",
    .settings = settings,
    .rights = rights,
    .features = features,
    .init = BAD == BAD_NULL ? NULL : init,
    .start = life,
    .stop = life,
    .fini = life,
};
