// SPDX-License-Identifier: Apache-2.0

// ticker reads its clocks in a loop and keeps what they said, so that a test
// can tell afterwards what a dump and a restore did to them.
//
//   ticker [-i MICROSECONDS] [-s FILE [-w]] [-m MEGABYTES] [-t THREADS]
//          [-p PROCESSES] [-v MAPPINGS] [-f FILES]
//
// Without -s it prints one "clk" line (see package clocklog) every
// MICROSECONDS (1000 by default). With -s it spins without any pause and keeps
// the widest gaps that it saw in FILE, mapped shared: the layout is struct
// board below, and package clocklog reads it. With -w it works for some
// microseconds between two turns, as programs do that are not clocks.
//
// The others make it a larger thing to dump. -m touches that much memory first;
// -t adds threads which check their own clocks ten times a second and print a
// "backward" line when one went back; -p adds child processes that wait, -v
// mappings of two pages of which one is touched, -f open files.

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { REAL, MONO, RAW, COARSE, BOOT, REAL_END, CLOCKS };

static const clockid_t ids[CLOCKS] = {
    CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW,
    CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME,        CLOCK_REALTIME,
};

// board is the shared page. Every field is eight bytes wide and written by the
// ticker alone, except reset.
struct board {
    uint64_t magic;                // "CRTBOARD" once the loop runs.
    _Atomic uint64_t reset;        // Set by the reader, cleared by the ticker.
    _Atomic uint64_t loops;        // Turns of the loop so far.
    int64_t last[CLOCKS];          // The newest reading.
    int64_t least_step[CLOCKS];    // The least step ever; below 0 is backward.
    int64_t widest[CLOCKS];        // The widest step since the reset.
    int64_t before[CLOCKS];        // The readings around the widest REALTIME
    int64_t after[CLOCKS];         // step since the reset.
};

static int64_t now(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "ticker: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct board *map_board(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);

    if (fd < 0 || ftruncate(fd, sizeof(struct board)) < 0)
        die(path);
    struct board *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (b == MAP_FAILED)
        die(path);
    close(fd);
    return b;
}

static void clear_board(struct board *b)
{
    memset(b->widest, 0, sizeof b->widest);
    memset(b->before, 0, sizeof b->before);
    memset(b->after, 0, sizeof b->after);
}

// spin never returns. A freeze can fall between two reads of one turn. Then
// REALTIME, read first, belongs to the time before it and the others to the
// time after, and the widest REALTIME step is the one from that turn to the
// next. So the readings before the outage are those of the turn before both.
static void spin(const char *path, int work)
{
    struct board *b = map_board(path);
    int64_t older[CLOCKS], old[CLOCKS], cur[CLOCKS];
    int64_t outage = 0;

    memset(b, 0, sizeof *b);
    for (int c = 0; c < CLOCKS; c++)
        older[c] = old[c] = now(ids[c]);
    b->magic = 0x4452414f42545243; // "CRTBOARD", little-endian.
    for (;;) {
        if (atomic_load_explicit(&b->reset, memory_order_acquire)) {
            clear_board(b);
            outage = 0;
            memcpy(older, old, sizeof old);
            atomic_store_explicit(&b->reset, 0, memory_order_release);
        }
        for (int c = 0; c < CLOCKS; c++) {
            cur[c] = now(ids[c]);
            int64_t step = cur[c] - old[c];
            if (step < b->least_step[c])
                b->least_step[c] = step;
            if (step > b->widest[c])
                b->widest[c] = step;
            b->last[c] = cur[c];
        }
        if (cur[REAL] - old[REAL] > outage) {
            outage = cur[REAL] - old[REAL];
            memcpy(b->before, older, sizeof older);
            memcpy(b->after, cur, sizeof cur);
        }
        memcpy(older, old, sizeof old);
        memcpy(old, cur, sizeof cur);
        for (volatile int i = 0; i < work; i++)
            ;
        atomic_fetch_add_explicit(&b->loops, 1, memory_order_release);
    }
}

static void print_records(long pause_us)
{
    struct timespec pause = { pause_us / 1000000, pause_us % 1000000 * 1000 };

    for (uint64_t n = 0;; n++) {
        int64_t first = now(CLOCK_REALTIME);
        int64_t mono = now(CLOCK_MONOTONIC);
        int64_t raw = now(CLOCK_MONOTONIC_RAW);
        int64_t coarse = now(CLOCK_MONOTONIC_COARSE);
        int64_t boot = now(CLOCK_BOOTTIME);
        int64_t last = now(CLOCK_REALTIME);
        printf("clk %lu %ld %ld %ld %ld %ld %ld\n", n, first, mono, raw, coarse, boot, last);
        fflush(stdout);
        nanosleep(&pause, NULL);
    }
}

static void *check_thread(void *arg)
{
    struct timespec pause = { 0, 100000000 };
    int64_t old[CLOCKS] = { 0 };

    for (;;) {
        for (int c = MONO; c < REAL_END; c++) {
            int64_t cur = now(ids[c]);
            if (cur < old[c])
                printf("backward thread %ld clock %d by %ld\n", (long)(intptr_t)arg, c, old[c] - cur);
            old[c] = cur;
        }
        nanosleep(&pause, NULL);
    }
    return NULL;
}

// touch fills memory with bytes that do not compress and are no zero pages.
static void touch(size_t megabytes)
{
    size_t size = megabytes << 20;
    uint64_t x = 88172645463325252u;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        die("memory");
    for (size_t i = 0; i + 8 <= size; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(p + i, &x, 8);
    }
}

// fork_children adds processes that wait for ever, and end with this one.
static void fork_children(long n)
{
    pid_t parent = getpid();

    for (long i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        if (pid > 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
        for (;;)
            pause();
    }
}

// map_pages adds mappings that cannot be joined: no two neighbours are alike.
static void map_pages(long n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (long i = 0; i < n; i++) {
        int prot = i % 2 ? PROT_READ | PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC;
        char *p = mmap(NULL, 2 * page, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            die("mapping");
        *p = 1;
    }
}

// open_files opens the program's own file many times over.
static void open_files(long n)
{
    for (long i = 0; i < n; i++)
        if (open("/proc/self/exe", O_RDONLY) < 0)
            die("file");
}

int main(int argc, char **argv)
{
    const char *board = NULL;
    long pause_us = 1000, megabytes = 0, threads = 0;
    long processes = 0, mappings = 0, files = 0;
    int opt, work = 0;

    while ((opt = getopt(argc, argv, "i:s:wm:t:p:v:f:")) != -1) {
        switch (opt) {
        case 'w': work = 10000; break;
        case 'p': processes = atol(optarg); break;
        case 'v': mappings = atol(optarg); break;
        case 'f': files = atol(optarg); break;
        case 'i': pause_us = atol(optarg); break;
        case 's': board = optarg; break;
        case 'm': megabytes = atol(optarg); break;
        case 't': threads = atol(optarg); break;
        default: return 2;
        }
    }
    if (megabytes > 0)
        touch((size_t)megabytes);
    fork_children(processes);
    map_pages(mappings);
    open_files(files);
    for (long t = 0; t < threads; t++) {
        pthread_t id;
        if (pthread_create(&id, NULL, check_thread, (void *)(intptr_t)t) != 0)
            die("thread");
    }
    if (board)
        spin(board, work);
    print_records(pause_us);
}
