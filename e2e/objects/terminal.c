// SPDX-License-Identifier: Apache-2.0

// A terminal of the session that the tree was started from: standard input, and
// two more descriptors of it, with its settings.

#include "objects.h"

#include <sys/ioctl.h>
#include <termios.h>

static int again, output;
static struct stat before;
static pid_t session;

static void set_up(void)
{
    struct termios settings;

    that(isatty(STDIN_FILENO));
    session = getsid(0);
    that(session != getpid());
    must(fstat(STDIN_FILENO, &before));
    again = must(open("/dev/tty", O_RDWR | O_NOCTTY));
    output = must(dup(STDIN_FILENO));
    must(tcgetattr(STDIN_FILENO, &settings));
    settings.c_lflag &= ~(ECHO | ICANON);
    settings.c_cc[VINTR] = 7;
    must(tcsetattr(STDIN_FILENO, TCSANOW, &settings));
    must(ioctl(STDIN_FILENO, TIOCSWINSZ, &(struct winsize){33, 77, 0, 0}));
}

static void check(void)
{
    struct termios settings;
    struct winsize size;
    struct stat after;
    int control;

    that(isatty(STDIN_FILENO) && isatty(output) && isatty(again));
    must(fstat(STDIN_FILENO, &after));
    same(after.st_rdev, before.st_rdev);
    same(getsid(0), session);
    must(tcgetattr(STDIN_FILENO, &settings));
    same(settings.c_lflag & (ECHO | ICANON), 0);
    same(settings.c_cc[VINTR], 7);
    must(ioctl(output, TIOCGWINSZ, &size));
    same(size.ws_row, 33);
    same(size.ws_col, 77);
    control = must(open("/dev/tty", O_RDWR));
    same(tcgetsid(control), session);
    same(write(output, "x", 1), 1);
    same(write(again, "x", 1), 1);
}
