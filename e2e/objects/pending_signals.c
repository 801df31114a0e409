// SPDX-License-Identifier: Apache-2.0

// Signals that wait, for the process and for one thread, each with what its sender
// said, in their order.

#include "objects.h"

#include <pthread.h>

static pthread_t handle;
static volatile pid_t tid;
static sigset_t all;

// The process that is said to have sent the thread's signals.
enum { SENDER = 12345 };

static void take(int number, int code, int value, pid_t sender)
{
    siginfo_t info;
    sigset_t set;
    struct timespec none = {0, 0};

    memset(&info, 0, sizeof info);
    sigemptyset(&set);
    sigaddset(&set, number);
    // Not by the C library, which passes SI_TKILL off as SI_USER.
    if (TEMP_FAILURE_RETRY(syscall(SYS_rt_sigtimedwait, &set, &info, &none, 8)) < 0)
        fail("no signal %d with value %d is pending", number, value);
    same(info.si_signo, number);
    same(info.si_code, code);
    same(info.si_pid, sender);
    if (code == SI_QUEUE)
        same(info.si_value.sival_int, value);
}

static void *run(void *argument)
{
    tid = gettid();
    wait_until_told();
    take(SIGRTMIN + 1, SI_QUEUE, 100, SENDER);
    take(SIGRTMIN + 1, SI_QUEUE, 101, SENDER);
    take(SIGUSR1, SI_TKILL, 0, getpid());
    return argument;
}

static void queue(pid_t to, int number, int value)
{
    siginfo_t info;

    memset(&info, 0, sizeof info);
    info.si_signo = number;
    info.si_code = SI_QUEUE;
    info.si_pid = SENDER;
    info.si_value.sival_int = value;
    must(syscall(SYS_rt_tgsigqueueinfo, getpid(), to, number, &info));
}

static void set_up(void)
{
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    zero(pthread_sigmask(SIG_SETMASK, &all, NULL));
    zero(pthread_create(&handle, NULL, run, NULL));
    await(tid);
    for (int value = 1; value <= 3; value++)
        must(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = value}));
    must(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 42}));
    queue(tid, SIGRTMIN + 1, 100);
    queue(tid, SIGRTMIN + 1, 101);
    zero(pthread_kill(handle, SIGUSR1));
    must(kill(getpid(), SIGTERM));
}

static void check(void)
{
    sigset_t left;

    for (int value = 1; value <= 3; value++)
        take(SIGRTMIN + 2, SI_QUEUE, value, getpid());
    take(SIGUSR2, SI_QUEUE, 42, getpid());
    take(SIGTERM, SI_USER, 0, getpid());
    zero(pthread_join(handle, NULL));
    must(sigpending(&left));
    for (int n = 1; n <= 64; n++)
        if (n != SIGCONT && sigismember(&left, n))
            fail("signal %d is pending, and nobody has sent it", n);
}
