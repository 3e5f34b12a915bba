/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a passphrase. Works before any loop exists: kosd asks before it leaves the terminal, kosctl has no loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "conf/passphrase.h"
#include "core/buf.h"

/* One line without its newline. `in` is read byte by byte: what follows the line is not ours. */
static int32_t line_read(int in, const char *where, struct kos_passphrase *passphrase, struct kos_error *ret_error)
{
    char *text = kos_secret_new(KOS_PASSPHRASE_MAX + 1);
    size_t len = 0;
    char c = 0;
    ssize_t n = 0;

    if (!text)
        return kos_fail(ret_error, KOS_E_NOMEM, "no memory can be locked for the passphrase: raise the limit of locked memory (ulimit -l)");
    while (len <= KOS_PASSPHRASE_MAX && ((n = read(in, &c, 1)) == 1 || (n < 0 && errno == EINTR))) {
        if (n == 1 && c == '\n')
            break;
        if (n == 1 && len < KOS_PASSPHRASE_MAX)
            text[len] = c;
        len += n == 1;
    }
    klp_wipe(&c, 1);
    if (n < 0 || len == 0 || len > KOS_PASSPHRASE_MAX) {
        kos_secret_free(text);
        if (n < 0)
            return kos_fail(ret_error, KOS_E_IO, "%s cannot be read: %s", where, strerror(errno));
        return kos_fail(ret_error, KOS_E_INVALID, len ? "the passphrase in %s is longer than 1024 bytes" : "%s holds no passphrase in its first line", where);
    }
    text[len] = 0;
    passphrase->text = text;
    passphrase->len = len;
    return KOS_OK;
}

static int32_t file_read(const char *file, struct kos_passphrase *passphrase, struct kos_error *ret_error)
{
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return kos_fail(ret_error, errno == ENOENT ? KOS_E_NOTFOUND : KOS_E_IO, "the passphrase file %s cannot be opened: %s", file, strerror(errno));
    int32_t r;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077))
        r = kos_fail(ret_error, KOS_E_PERMISSION, "the passphrase file %s may be read by others: chmod 600 %s", file, file);
    else
        r = line_read(fd, file, passphrase, ret_error);
    close(fd);
    return r;
}

static int32_t terminal_ask(const char *ask, struct kos_passphrase *passphrase, struct kos_error *ret_error)
{
    struct termios old, quiet;
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0)
        return KOS_OK;
    dprintf(tty, "%s: ", ask);
    bool raw = tcgetattr(tty, &old) == 0;
    if (raw) {
        quiet = old;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(tty, TCSAFLUSH, &quiet);
    }
    int32_t r = line_read(tty, "what was typed", passphrase, ret_error);
    if (raw)
        tcsetattr(tty, TCSAFLUSH, &old);
    dprintf(tty, "\n");
    close(tty);
    return r;
}

int32_t kos_passphrase_read(const char *file, const char *ask, struct kos_passphrase *ret_passphrase, struct kos_error *ret_error)
{
    struct kos_passphrase passphrase = { 0 };
    int32_t r = KOS_OK;
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");

    if (file && *file) {
        r = file_read(file, &passphrase, ret_error);
    } else {
        if (credentials) {
            char *path = kos_format("%s/kos-passphrase", credentials);
            r = file_read(path, &passphrase, ret_error);
            free(path);
            if (r == KOS_E_NOTFOUND)
                r = KOS_OK;
        }
        if (r == KOS_OK && !passphrase.text && ask)
            r = terminal_ask(ask, &passphrase, ret_error);
    }
    if (r == KOS_OK)
        *ret_passphrase = passphrase;
    return r;
}

void kos_passphrase_fini(struct kos_passphrase *passphrase)
{
    if (passphrase->text)
        kos_secret_free(passphrase->text);
    passphrase->text = NULL;
    passphrase->len = 0;
}

void kos_passphrase_forked(struct kos_passphrase *passphrase)
{
    if (passphrase->text)
        (void)!sodium_mlock(passphrase->text, KOS_PASSPHRASE_MAX + 1);
}
