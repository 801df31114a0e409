// SPDX-License-Identifier: Apache-2.0

// An alternate signal stack for each thread, and none for one.

#include "objects.h"

#include <pthread.h>

enum { SIZE = 16 * PAGE };

static char stacks[2][SIZE];
static char *volatile hit;
static pthread_t with, without;
static _Atomic int running;

static void caught(int number)
{
    (void)number;
    hit = __builtin_frame_address(0);
}

static void set_stack(int n)
{
    stack_t stack = {.ss_sp = stacks[n], .ss_size = SIZE};

    must(sigaltstack(&stack, NULL));
}

static void check_stack(int n)
{
    stack_t stack;

    must(sigaltstack(NULL, &stack));
    same(stack.ss_flags, 0);
    that(stack.ss_sp == stacks[n]);
    same(stack.ss_size, SIZE);
    hit = NULL;
    zero(pthread_kill(pthread_self(), SIGUSR1));
    that(hit > stacks[n] && hit < stacks[n] + SIZE);
}

static void *run_with(void *argument)
{
    set_stack(1);
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    wait_until_told();
    check_stack(1);
    return argument;
}

static void *run_without(void *argument)
{
    stack_t stack;

    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    wait_until_told();
    must(sigaltstack(NULL, &stack));
    same(stack.ss_flags, SS_DISABLE);
    return argument;
}

static void set_up(void)
{
    struct sigaction action = {.sa_handler = caught, .sa_flags = SA_ONSTACK};

    must(sigaction(SIGUSR1, &action, NULL));
    set_stack(0);
    zero(pthread_create(&with, NULL, run_with, NULL));
    zero(pthread_create(&without, NULL, run_without, NULL));
    await(running == 2);
}

static void check(void)
{
    zero(pthread_join(with, NULL));
    zero(pthread_join(without, NULL));
    check_stack(0);
}
