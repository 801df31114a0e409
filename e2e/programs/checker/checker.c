// SPDX-License-Identifier: Apache-2.0

// checker is a tree that checks all that a careless dump could spoil.
//
//   checker [PROGRAM ARGUMENT...]
//
// Three processes of five threads each. In every process one thread does arithmetic in
// two ways and compares, one holds values in the floating-point registers, one sleeps
// in many ways and one sends numbers through a pipe to the next process, whose main
// thread looks whether they are all there and in order. A program that is named is a
// fourth process. The root prints "clk" lines (see package clocklog), and a line that
// begins with "wrong" for what any thread finds, or when one stands still. The line
// "interrupted" says that an epoll_wait or a sigtimedwait has ended with EINTR.

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 3, ROLES = 5 };
static const char *const roles[ROLES] = {"arithmetic", "registers", "sleeper", "sender", "receiver"};

// The work that each thread has done, for the root to see.
static _Atomic uint64_t (*done)[ROLES];
static int process;
static int pipes[PROCESSES][2];

static void wrong(const char *format, ...)
{
    char text[400];
    va_list args;
    int size = snprintf(text, sizeof text, "wrong in process %d: ", process);

    va_start(args, format);
    size += vsnprintf(text + size, sizeof text - size - 1, format, args);
    va_end(args);
    text[size++] = '\n';
    if (write(1, text, size) != size)
        _exit(1);
}

static int64_t now(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void pause_a_bit(void)
{
    struct timespec bit = {0, 300000};

    if (nanosleep(&bit, NULL))
        wrong("a pause ended with %s", strerror(errno));
}

static void *arithmetic(void *arg)
{
    uint64_t sum = 0, state = 88172645463325252ull;

    for (;;) {
        // A sum of squares in a loop, and by its formula.
        uint64_t n = 1000 + state % 20000, squares = 0;
        for (uint64_t i = 1; i <= n; i++)
            squares += i * i;
        if (squares != n * (n + 1) * (2 * n + 1) / 6)
            wrong("the squares up to %lu make %lu", n, squares);
        // Calls have results that do not change.
        if (syscall(SYS_gettid) != (long)sum && sum)
            wrong("gettid is %ld, was %ld", syscall(SYS_gettid), (long)sum);
        sum = syscall(SYS_gettid);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        done[process][0]++;
        pause_a_bit();
    }
    return arg;
}

#ifdef __x86_64__
// hold keeps values in all vector registers, the rounding mode and the x87 stack for a
// while in which nothing but a count goes on.
__attribute__((target("avx"))) static void hold_wide(const uint8_t *in, uint8_t *out, long turns)
{
    __asm__ volatile(
        "vmovdqu (%0),%%ymm0\n vmovdqu 32(%0),%%ymm1\n vmovdqu 64(%0),%%ymm2\n vmovdqu 96(%0),%%ymm3\n"
        "vmovdqu 128(%0),%%ymm4\n vmovdqu 160(%0),%%ymm5\n vmovdqu 192(%0),%%ymm6\n vmovdqu 224(%0),%%ymm7\n"
        "1: dec %2\n jnz 1b\n"
        "vmovdqu %%ymm0,(%1)\n vmovdqu %%ymm1,32(%1)\n vmovdqu %%ymm2,64(%1)\n vmovdqu %%ymm3,96(%1)\n"
        "vmovdqu %%ymm4,128(%1)\n vmovdqu %%ymm5,160(%1)\n vmovdqu %%ymm6,192(%1)\n vmovdqu %%ymm7,224(%1)\n"
        "vzeroupper\n"
        : "+r"(in), "+r"(out), "+r"(turns)
        :
        : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
}

static void hold_x87(double *out, long turns)
{
    uint16_t before = 0x0f7f, after; // Rounding to zero.
    uint16_t usual;

    __asm__ volatile("fnstcw %0" : "=m"(usual));
    __asm__ volatile("fldcw %3\n fldpi\n fldl2e\n fld1\n 1: dec %2\n jnz 1b\n fstpl 16(%1)\n fstpl 8(%1)\n fstpl (%1)\n fnstcw %0"
                     : "=m"(after), "+r"(out), "+r"(turns)
                     : "m"(before)
                     : "memory", "cc", "st", "st(1)", "st(2)");
    __asm__ volatile("fldcw %0" : : "m"(usual));
    if (after != before)
        wrong("the x87 control word is %#x, was %#x", after, before);
}
#endif

static void *registers(void *arg)
{
    uint8_t in[256], out[256];
    double want[3] = {0}, got[3] = {0};

    for (unsigned i = 0; i < sizeof in; i++)
        in[i] = 37 * i + process;
#ifdef __x86_64__
    hold_x87(want, 1);
#endif
    for (unsigned turn = 0;; turn++) {
        in[turn % sizeof in]++;
        memset(out, 0, sizeof out);
#ifdef __x86_64__
        if (__builtin_cpu_supports("avx"))
            hold_wide(in, out, 300000);
        else
            memcpy(out, in, sizeof in);
        hold_x87(got, 100000);
#else
        memcpy(out, in, sizeof in);
#endif
        if (memcmp(in, out, sizeof in))
            wrong("the vector registers have changed");
        if (memcmp(want, got, sizeof want))
            wrong("the x87 registers have changed");
        done[process][1]++;
        pause_a_bit();
    }
    return arg;
}

// sleep_once sleeps in one of several ways, and checks that it was long enough.
static void sleep_once(unsigned way, int epoll)
{
    const int64_t span = 3000000;
    struct timespec rest = {0, span};
    struct timeval micros = {0, span / 1000};
    struct epoll_event event;
    sigset_t none;
    clockid_t clock = way == 2 ? CLOCK_BOOTTIME : CLOCK_MONOTONIC;
    int64_t end = now(clock) + span;
    struct timespec at = {end / 1000000000, end % 1000000000};
    int want = 0, error = 0, got = -1;
    uint32_t word = 0;

    sigemptyset(&none);
    sigaddset(&none, SIGUSR2);
    errno = 0;
    switch (way) {
    case 0: got = nanosleep(&rest, NULL); break;
    case 1: got = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL); break;
    case 2: got = clock_nanosleep(CLOCK_BOOTTIME, 0, &rest, NULL); break;
    case 3: got = poll(NULL, 0, span / 1000000); break;
    case 4: got = ppoll(NULL, 0, &rest, NULL); break;
    case 5: got = select(0, NULL, NULL, NULL, &micros); break;
    case 6: got = epoll_wait(epoll, &event, 1, span / 1000000); break;
    case 7: got = sigtimedwait(&none, NULL, &rest), want = -1, error = EAGAIN; break;
    case 8: got = syscall(SYS_futex, &word, FUTEX_WAIT, 0, &rest), want = -1, error = ETIMEDOUT; break;
    case 9: got = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &at, NULL, ~0), want = -1, error = ETIMEDOUT; break;
    }
    // These every stop ends so, if whoever has stopped the thread dies at once.
    if (got == -1 && errno == EINTR && (way == 6 || way == 7)) {
        if (write(1, "interrupted\n", 12) != 12)
            _exit(1);
        return;
    }
    if (got != want || (want && errno != error))
        wrong("sleep %u ended with %d, %s", way, got, strerror(errno));
    if (now(clock) < end)
        wrong("sleep %u ended %ld ns early", way, (long)(end - now(clock)));
}

static void *sleeper(void *arg)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    sigset_t usr2;

    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, NULL);
    for (unsigned turn = 0;; turn++) {
        sleep_once(turn % 10, epoll);
        done[process][2]++;
    }
    return arg;
}

static void *sender(void *arg)
{
    for (uint64_t n = 0;; n++) {
        if (write(pipes[process][1], &n, sizeof n) != sizeof n)
            wrong("a pipe could not be written: %s", strerror(errno));
        done[process][3]++;
        if (n % 100 == 99)
            pause_a_bit();
    }
    return arg;
}

static void receive(void)
{
    int from = pipes[(process + 1) % PROCESSES][0];
    static uint64_t want;
    uint64_t got;

    for (int i = 0; i < 300; i++, want++) {
        if (read(from, &got, sizeof got) != sizeof got)
            wrong("a pipe could not be read: %s", strerror(errno));
        else if (got != want)
            wrong("number %lu came through the pipe, not %lu", got, want);
        want = got;
        done[process][4]++;
    }
}

static void start(void *(*role)(void *))
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, role, NULL))
        err(1, "pthread_create");
}

// look_after says which threads have done nothing in the time of two thousand records,
// which is three seconds and more. No clock says it: they are under test.
static void look_after(void)
{
    static uint64_t last[PROCESSES][ROLES];
    static int records, since;

    if (++records % 2000)
        return;
    for (int p = 0; p < PROCESSES; p++) {
        for (int r = 0; r < ROLES; r++) {
            uint64_t count = done[p][r];
            if (since && count == last[p][r])
                wrong("the %s of process %d stands still", roles[r], p);
            last[p][r] = count;
        }
    }
    since = records;
}

static void print_record(void)
{
    static long n;
    long first = now(CLOCK_REALTIME), mono = now(CLOCK_MONOTONIC), raw = now(CLOCK_MONOTONIC_RAW);
    long coarse = now(CLOCK_MONOTONIC_COARSE), boot = now(CLOCK_BOOTTIME), last = now(CLOCK_REALTIME);

    printf("clk %ld %ld %ld %ld %ld %ld %ld\n", n++, first, mono, raw, coarse, boot, last);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    done = mmap(NULL, sizeof *done * PROCESSES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (done == MAP_FAILED)
        err(1, "mmap");
    for (int p = 0; p < PROCESSES; p++)
        if (pipe(pipes[p]))
            err(1, "pipe");
    if (argc > 1 && fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int p = 0; p < PROCESSES; p++) {
            close(pipes[p][0]);
            close(pipes[p][1]);
        }
        execv(argv[1], argv + 1);
        err(1, "%s", argv[1]);
    }
    for (int p = 1; p < PROCESSES && process == 0; p++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            process = p;
        }
    start(arithmetic);
    start(registers);
    start(sleeper);
    start(sender);
    for (;;) {
        receive();
        if (process == 0) {
            print_record();
            look_after();
        }
    }
}
