// SPDX-License-Identifier: Apache-2.0

// What happens on each signal, with flags and masks.

#include "objects.h"

// kernel_action is what the system call takes, with what the C library hides.
struct kernel_action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static struct kernel_action before[65];
static volatile int caught, again;

static void plain(int number)
{
    sigset_t now;

    sigprocmask(SIG_BLOCK, NULL, &now);
    caught = sigismember(&now, SIGUSR2) && sigismember(&now, number) ? number : -1;
}

static void once(int number) { again = number; }

static void read_actions(struct kernel_action *into)
{
    for (int n = 1; n <= 64; n++)
        must(syscall(SYS_rt_sigaction, n, NULL, &into[n], 8));
}

static void set_up(void)
{
    struct sigaction action = {.sa_handler = plain, .sa_flags = SA_RESTART};

    sigaddset(&action.sa_mask, SIGUSR2);
    must(sigaction(SIGUSR1, &action, NULL));
    must(sigaction(SIGRTMAX, &action, NULL));
    action.sa_handler = once;
    action.sa_flags = (int)SA_RESETHAND | SA_NODEFER | SA_ONSTACK | SA_NOCLDSTOP;
    must(sigaction(SIGHUP, &action, NULL));
    action.sa_flags = SA_NOCLDWAIT | SA_SIGINFO;
    must(sigaction(SIGCHLD, &action, NULL));
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGRTMIN + 5, SIG_IGN);
    read_actions(before);
}

static void check(void)
{
    struct kernel_action after[65];

    read_actions(after);
    for (int n = 1; n <= 64; n++)
        if (memcmp(&before[n], &after[n], sizeof after[n]) != 0)
            fail("signal %d: handler %p flags %#lx mask %#lx, before %p %#lx %#lx", n, after[n].handler,
                 after[n].flags, (long)after[n].mask, before[n].handler, before[n].flags, (long)before[n].mask);
    must(raise(SIGUSR1));
    same(caught, SIGUSR1);
    must(raise(SIGHUP));
    same(again, SIGHUP);
    must(syscall(SYS_rt_sigaction, SIGHUP, NULL, &after[0], 8));
    that(after[0].handler == SIG_DFL);
    must(raise(SIGTERM));
}
