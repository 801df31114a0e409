// SPDX-License-Identifier: Apache-2.0

// Both ends of a terminal: the user's in the parent, the program's in a child that
// leads a session and has it as its controlling terminal.

#include "objects.h"

#include <sys/ioctl.h>
#include <termios.h>

static int user;
static char name[100];
static pid_t child;

static void program(void)
{
    struct termios settings;
    struct winsize size;
    char text[20] = {0};
    int end, current;

    must(close(user));
    must(setsid());
    end = must(open(name, O_RDWR));
    must(tcgetattr(end, &settings));
    settings.c_lflag &= ~(ECHO | ICANON);
    must(tcsetattr(end, TCSANOW, &settings));
    must(ioctl(end, TIOCSWINSZ, &(struct winsize){33, 77, 0, 0}));
    stand_by();
    must(tcgetattr(end, &settings));
    same(settings.c_lflag & (ECHO | ICANON), 0);
    must(ioctl(end, TIOCGWINSZ, &size));
    same(size.ws_row, 33);
    same(size.ws_col, 77);
    same(tcgetsid(end), getpid());
    same(tcgetpgrp(end), getpid());
    current = must(open("/dev/tty", O_RDWR));
    same(write(current, "ready", 5), 5);
    same(retry(read(end, text, sizeof text)), 4);
    alike(text, "line");
    must(close(current));
}

static void set_up(void)
{
    user = must(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    must(grantpt(user));
    must(unlockpt(user));
    zero(ptsname_r(user, name, sizeof name));
    child = start(program);
}

static void check(void)
{
    char text[20] = {0}, now[100];

    zero(ptsname_r(user, now, sizeof now));
    alike(now, name);
    same(retry(read(user, text, sizeof text)), 5);
    alike(text, "ready");
    same(write(user, "line", 4), 4);
    finish(child);
    same(read(user, text, 1), -1);
    same(errno, EIO);
}
