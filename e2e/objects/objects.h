// SPDX-License-Identifier: Apache-2.0

// What every program of the matrix has in common.
//
// A program defines set_up, which makes the object that it is about, and check,
// which says after the restore whether the object still is what it was. main,
// which is here, runs the one, prints "ready", waits for the test's sign, runs
// the other and prints "ok". The first thing that is wrong is printed instead
// and ends the program, see fail.
//
// The sign is the execute bit of the file behind standard output, which can be
// seen from any root and by any user. Until it comes the program sleeps over and
// over, so that it stands in a system call nearly always; what it does then may
// be cut short by a dump, and no program here minds.

#ifndef OBJECTS_H
#define OBJECTS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void set_up(void);
static void check(void);

// PAGE is the size of a page on x86-64, which is what the images count in.
enum { PAGE = 4096 };

// fail prints what is wrong, in one piece, and ends the process. What begins with
// LACKS says what the machine would need to have the object at all: the test is
// then skipped.
#define LACKS "lacks: "
__attribute__((format(printf, 1, 2), noreturn, unused)) static void fail(const char *format, ...)
{
    char text[1000];
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(text, sizeof text - 1, format, args);
    va_end(args);
    text[length] = '\n';
    if (write(STDOUT_FILENO, text, length + 1) < 0)
        _exit(2);
    _exit(1);
}

// must is the value of a call that reports an error as -1.
#define must(call)                                                            \
    ({                                                                        \
        __typeof__(call) result_ = (call);                                    \
        if ((long)result_ == -1)                                              \
            fail("%s:%d: %s: %s", __FILE__, __LINE__, #call, strerror(errno)); \
        result_;                                                              \
    })

// zero is for the calls that return an error's number, as pthreads' do.
#define zero(call)                                                                \
    do {                                                                          \
        int error_ = (call);                                                      \
        if (error_ != 0)                                                          \
            fail("%s:%d: %s: %s", __FILE__, __LINE__, #call, strerror(error_));   \
    } while (0)

// that fails unless a condition holds.
#define that(condition)                                                  \
    do {                                                                 \
        if (!(condition))                                                \
            fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition);   \
    } while (0)

// same fails unless two numbers are the same.
#define same(got, want)                                                               \
    do {                                                                              \
        long long got_ = (long long)(got), want_ = (long long)(want);                 \
        if (got_ != want_)                                                            \
            fail("%s:%d: %s is %lld (%#llx), not %lld (%#llx)", __FILE__, __LINE__, #got, \
                 got_, got_, want_, want_);                                           \
    } while (0)

// alike fails unless two strings are the same.
#define alike(got, want)                                                             \
    do {                                                                             \
        const char *got_ = (got), *want_ = (want);                                   \
        if (strcmp(got_, want_) != 0)                                                \
            fail("%s:%d: %s is \"%s\", not \"%s\"", __FILE__, __LINE__, #got, got_, want_); \
    } while (0)

// await waits until a condition holds, some seconds at most.
#define await(condition)                                                       \
    do {                                                                       \
        for (int turns_ = 0; !(condition); turns_++) {                         \
            if (turns_ > 5000)                                                 \
                fail("%s:%d: never so: %s", __FILE__, __LINE__, #condition);   \
            nap();                                                             \
        }                                                                      \
    } while (0)

// retry repeats a call that a signal, or a dump, has cut short.
#define retry(call) must(TEMP_FAILURE_RETRY(call))

// nap sleeps a millisecond, or less.
__attribute__((unused)) static void nap(void)
{
    const struct timespec millisecond = {0, 1000000};

    nanosleep(&millisecond, NULL);
}

// told reports whether the test has given its sign.
__attribute__((unused)) static bool told(void)
{
    struct stat st;

    must(fstat(STDOUT_FILENO, &st));
    return st.st_mode & S_IXUSR;
}

__attribute__((unused)) static void wait_until_told(void)
{
    while (!told())
        nap();
}

// The writing end of a pipe to whoever waits in start, in a child.
static int parent = -1;

// start forks a child that runs a function, and returns when the child has
// called ready. A child that returns has found everything right.
__attribute__((unused)) static pid_t start(void (*run)(void))
{
    int ends[2];
    char byte;
    pid_t pid;

    must(pipe(ends));
    pid = must(fork());
    if (pid == 0) {
        must(close(ends[0]));
        if (parent >= 0)
            must(close(parent));
        parent = ends[1];
        run();
        _exit(0);
    }
    must(close(ends[1]));
    if (retry(read(ends[0], &byte, 1)) != 1)
        fail("a child ended before it was ready");
    must(close(ends[0]));
    return pid;
}

// ready lets start return in the parent.
__attribute__((unused)) static void ready(void)
{
    same(write(parent, "", 1), 1);
    must(close(parent));
    parent = -1;
}

// stand_by is what children do when they have set up what is theirs.
__attribute__((unused)) static void stand_by(void)
{
    ready();
    wait_until_told();
}

// idle is a child that only lives.
__attribute__((unused)) static void idle(void)
{
    stand_by();
}

// finish waits for a child and takes its word.
__attribute__((unused)) static void finish(pid_t pid)
{
    int status;

    same(retry(waitpid(pid, &status, 0)), pid);
    if (WIFSIGNALED(status))
        fail("a child was killed by signal %d", WTERMSIG(status));
    if (status != 0)
        _exit(1); // It has said why.
}

// readable reports whether the process may read a byte of its own memory, as the
// protection of its mapping has it.
__attribute__((unused)) static bool readable(const void *address)
{
    char byte;
    struct iovec local = {&byte, 1}, remote = {(void *)address, 1};

    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

// writable is readable for writing. The byte keeps its value.
__attribute__((unused)) static bool writable(void *address)
{
    char byte;
    struct iovec local = {&byte, 1}, remote = {address, 1};

    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 &&
           process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1;
}

// fill writes a pattern that differs from page to page and from seed to seed.
__attribute__((unused)) static void fill(void *area, size_t size, unsigned seed)
{
    uint32_t *words = area;

    for (size_t i = 0; i < size / sizeof *words; i++)
        words[i] = (uint32_t)i * 2654435761u + seed;
}

// filled reports whether an area is as fill left it.
__attribute__((unused)) static bool filled(const void *area, size_t size, unsigned seed)
{
    const uint32_t *words = area;

    for (size_t i = 0; i < size / sizeof *words; i++)
        if (words[i] != (uint32_t)i * 2654435761u + seed)
            return false;
    return true;
}

// blank reports whether an area is all zero.
__attribute__((unused)) static bool blank(const void *area, size_t size)
{
    const char *bytes = area;

    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

// slurp reads a file of /proc, or another small one, as a string.
__attribute__((unused)) static const char *slurp(const char *path)
{
    static char text[1 << 16];
    size_t length = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fail("open %s: %s", path, strerror(errno));
    while ((n = must(read(fd, text + length, sizeof text - 1 - length))) > 0)
        length += n;
    must(close(fd));
    text[length] = 0;
    return text;
}

// link_of reads a symbolic link.
__attribute__((unused)) static const char *link_of(const char *path)
{
    static char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof target - 1);

    if (length < 0)
        fail("readlink %s: %s", path, strerror(errno));
    target[length] = 0;
    return target;
}

// status_field is the value of a line of /proc/PID/status, such as "SigBlk".
__attribute__((unused)) static const char *status_field(pid_t pid, const char *name)
{
    static char value[200];
    char path[64], *line, *rest;

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    for (line = strtok_r((char *)slurp(path), "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            snprintf(value, sizeof value, "%s", line + strlen(name) + 1 + strspn(line + strlen(name) + 1, " \t"));
            return value;
        }
    fail("%s has no %s", path, name);
}

// stat_field is a field of /proc/PID/stat by its number in proc(5), from 3 on.
__attribute__((unused)) static unsigned long long stat_field(pid_t pid, int number)
{
    char path[64], *field, *rest;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    field = strtok_r(strrchr(slurp(path), ')') + 2, " ", &rest);
    for (int i = 3; i < number; i++)
        field = strtok_r(NULL, " ", &rest);
    return number == 3 ? (unsigned char)*field : strtoull(field, NULL, 10);
}

// smaps_field is a value of the mapping that begins at an address, in KiB, or
// its VmFlags as text in words.
__attribute__((unused)) static long smaps_field(const void *address, const char *name, char *words)
{
    char line[1000], begin[32];
    bool inside = false;
    long value = -1;
    FILE *f = fopen("/proc/self/smaps", "r");

    that(f != NULL);
    snprintf(begin, sizeof begin, "%lx-", (unsigned long)address);
    while (value < 0 && fgets(line, sizeof line, f)) {
        if (strncmp(line, begin, strlen(begin)) == 0)
            inside = true;
        else if (inside && strncmp(line, name, strlen(name)) == 0) {
            value = atol(line + strlen(name) + 1);
            if (words)
                strcpy(words, line + strlen(name) + 1);
        }
    }
    fclose(f);
    if (value < 0)
        fail("no mapping with %s begins at %s", name, begin);
    return value;
}

// The arguments of the program.
static char **arguments;

int main(int argc, char **argv)
{
    (void)argc;
    arguments = argv;
    set_up();
    same(write(STDOUT_FILENO, "ready\n", 6), 6);
    wait_until_told();
    check();
    same(write(STDOUT_FILENO, "ok\n", 3), 3);
    return 0;
}

#endif
