// SPDX-License-Identifier: Apache-2.0

// spaces is a tree whose processes live in several time namespaces.
//
//   spaces SHAPE DIR
//
// The shapes:
//   child     the root as it was started, a child in a namespace of its own
//   levels    the same, and in it a grandchild in a third one
//   siblings  two children in one namespace each
//   gone      as child, but who made the namespace has ended
//   back      as child, but the root's further children will live where it lives, to
//             which both keep a descriptor
//   later     the root has made a namespace for children that are yet to come: the
//             first one is born when DIR/go appears, after that one more
//
// Every process prints a "clk" line (see package clocklog) into DIR/NAME each 5 ms.
// What wakes it is in turn a timerfd, a POSIX timer and clock_nanosleep, all of them
// with absolute deadlines: in a wrong namespace it would not be woken for hours.

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static const char *dir;
static FILE *out; // Of this process; NULL: not open yet.
static long n;    // Its next record.

static long now(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return ts.tv_sec * 1000000000 + ts.tv_nsec;
}

// unshare_time makes a namespace for the children, so many hours ahead.
static void unshare_time(long hours)
{
    char text[100];
    int size = snprintf(text, sizeof text, "monotonic %ld 0\nboottime %ld 0\n", hours * 3600, 2 * hours * 3600);
    int fd;

    if (unshare(CLONE_NEWTIME))
        err(1, "unshare");
    fd = open("/proc/self/timens_offsets", O_WRONLY);
    if (fd < 0 || write(fd, text, size) != size)
        err(1, "timens_offsets");
    close(fd);
}

static void wait_until(long at, int turn, int fd, timer_t timer, const sigset_t *signals)
{
    struct itimerspec when = {.it_value = {at / 1000000000, at % 1000000000}};
    unsigned long ticks;
    int got;

    switch (turn % 3) {
    case 0:
        timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
        if (read(fd, &ticks, sizeof ticks) != sizeof ticks)
            err(1, "timerfd");
        break;
    case 1:
        timer_settime(timer, TIMER_ABSTIME, &when, NULL);
        if (sigwait(signals, &got))
            err(1, "sigwait");
        break;
    default:
        if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when.it_value, NULL))
            errx(1, "clock_nanosleep was interrupted");
    }
}

// tick prints for ever; with a file to wait for, until that is there.
static void tick(const char *name, const char *go)
{
    char path[1000];
    sigset_t signals;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_t timer;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (fd < 0 || timer_create(CLOCK_MONOTONIC, &event, &timer))
        err(1, "timers");
    if (!out) {
        snprintf(path, sizeof path, "%s/%s", dir, name);
        out = fopen(path, "we");
        if (!out)
            err(1, "%s", path);
        setvbuf(out, NULL, _IOLBF, 0);
    }
    for (;; n++) {
        long first = now(CLOCK_REALTIME), mono = now(CLOCK_MONOTONIC), raw = now(CLOCK_MONOTONIC_RAW);
        long coarse = now(CLOCK_MONOTONIC_COARSE), boot = now(CLOCK_BOOTTIME), last = now(CLOCK_REALTIME);

        fprintf(out, "clk %ld %ld %ld %ld %ld %ld %ld\n", n, first, mono, raw, coarse, boot, last);
        if (go && access(go, F_OK) == 0) {
            n++;
            break;
        }
        wait_until(mono + 5000000, n, fd, timer, &signals);
        long late = now(CLOCK_MONOTONIC) - (mono + 5000000);
        if (late < 0)
            fprintf(out, "early by %ld ns, in turn %ld\n", -late, n % 3);
    }
    timer_delete(timer);
    close(fd);
}

// child forks a process that ticks. With more it first has children of its own, two
// hours further ahead.
static void child(const char *name, int more)
{
    pid_t pid = fork();

    if (pid < 0)
        err(1, "fork");
    if (pid > 0)
        return;
    out = NULL;
    n = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (more) {
        unshare_time(2000);
        child("grandchild", 0);
    }
    tick(name, NULL);
}

int main(int argc, char **argv)
{
    const char *shape = argv[1];
    char go[1000];

    if (argc != 3)
        errx(2, "usage: spaces SHAPE DIR");
    dir = argv[2];
    if (!strcmp(shape, "child")) {
        unshare_time(1000);
        child("child", 0);
    } else if (!strcmp(shape, "levels")) {
        unshare_time(1000);
        child("child", 1);
    } else if (!strcmp(shape, "siblings")) {
        unshare_time(1000);
        child("child", 0);
        unshare_time(3000);
        child("sibling", 0);
    } else if (!strcmp(shape, "gone")) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        pid_t maker = fork();
        if (maker == 0) {
            unshare_time(1000);
            if (fork())
                _exit(0);
            tick("child", NULL);
        }
        waitpid(maker, NULL, 0);
    } else if (!strcmp(shape, "back")) {
        int home = open("/proc/self/ns/time", O_RDONLY);

        unshare_time(1000);
        child("child", 0);
        if (home < 0 || setns(home, 0))
            err(1, "setns");
    } else if (!strcmp(shape, "later")) {
        unshare_time(1000);
        snprintf(go, sizeof go, "%s/go", dir);
        tick("root", go);
        child("child", 0);
        child("sibling", 0);
    } else {
        errx(2, "unknown shape %s", shape);
    }
    tick("root", NULL);
}
