// SPDX-License-Identifier: Apache-2.0


#include "objects.h"

static pid_t root, elder, younger, child;

static void grandchild(void)
{
    pid_t self = getpid(), above = getppid();

    stand_by();
    same(getpid(), self);
    same(getppid(), above);
}

static void middle(void)
{
    pid_t first = start(grandchild), second = start(grandchild);

    stand_by();
    same(getppid(), root);
    finish(second);
    finish(first);
}

static void set_up(void)
{
    root = getpid();
    elder = start(middle);
    younger = start(middle);
    child = start(idle);
}

static void check(void)
{
    same(getpid(), root);
    finish(child);
    finish(elder);
    finish(younger);
    same(wait(NULL), -1);
    same(errno, ECHILD);
}
