// SPDX-License-Identifier: Apache-2.0

// A fifo with data, open in two processes.

#include "objects.h"

static int reader, writer;
static pid_t child;

static void other(void)
{
    must(close(reader));
    stand_by();
    same(write(writer, "child", 5), 5);
}

static void set_up(void)
{
    must(mkfifo("fifo", 0600));
    reader = must(open("fifo", O_RDONLY | O_NONBLOCK));
    writer = must(open("fifo", O_WRONLY));
    same(write(writer, "waiting ", 8), 8);
    child = start(other);
}

static void check(void)
{
    char text[20] = {0};
    struct stat here, there;

    finish(child);
    must(fstat(reader, &here));
    must(stat("fifo", &there));
    same(here.st_ino, there.st_ino);
    same(read(reader, text, sizeof text - 1), 13);
    alike(text, "waiting child");
    same(read(reader, text, 1), -1);
    same(errno, EAGAIN);
    must(close(writer));
    same(read(reader, text, 1), 0);
}
