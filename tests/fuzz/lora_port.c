/* SPDX-License-Identifier: Apache-2.0
 * The plugin's modem.c over a socket, which has no line settings. */
#include <termios.h>

static int no_settings(int fd, struct termios *tty)
{
    (void)fd;
    *tty = (struct termios){ .c_cflag = CS8 };
    return 0;
}

#define tcgetattr(fd_, tty_) no_settings(fd_, tty_)
#define tcsetattr(fd_, when_, tty_) no_settings(fd_, tty_)
#define tcflush(fd_, which_) (void)(fd_)

#include "../../plugins/transport/lora/modem.c"
