// SPDX-License-Identifier: Apache-2.0

// Holder makes mappings of all the kinds that its first argument names, says on
// descriptor 3 that they are there (a byte from each process), and waits.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif

enum { PAGE = 4096, RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };

// area maps memory, with a gap on both sides so that the kernel joins nothing.
static char *area(size_t pages, int prot, int flags, int fd)
{
	char *gap = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	if (gap == MAP_FAILED)
		err(1, "reserve %zu pages", pages);
	munmap(gap, (pages + 2) * PAGE);
	char *m = mmap(gap + PAGE, pages * PAGE, prot, flags | MAP_FIXED_NOREPLACE, fd, 0);
	if (m == MAP_FAILED)
		err(1, "map %zu pages, flags %x", pages, flags);
	return m;
}

// mark writes a page that tells its place.
static void mark(char *m, int page, unsigned seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + page + 1;
	for (int i = 0; i < PAGE / 8; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		((uint64_t *)(m + (size_t)page * PAGE))[i] = x;
	}
}

static void markall(char *m, int pages, unsigned seed)
{
	for (int i = 0; i < pages; i++)
		mark(m, i, seed);
}

static int file(const char *name, int pages, int flags)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char page[PAGE];
	for (int i = 0; i < pages; i++) {
		memset(page, 'a' + i % 26, PAGE);
		if (write(fd, page, PAGE) != PAGE)
			err(1, "write %s", name);
	}
	close(fd);
	if ((fd = open(name, flags)) < 0)
		err(1, "open %s", name);
	return fd;
}

static void advise(char *m, size_t pages, int advice)
{
	if (madvise(m, pages * PAGE, advice))
		err(1, "madvise %d", advice);
}

static void protect(char *m, size_t pages, int prot)
{
	if (mprotect(m, pages * PAGE, prot))
		err(1, "mprotect %d", prot);
}

static volatile char sink;

// deepen lets the stack grow.
static __attribute__((noinline)) void deepen(int pages)
{
	char deep[pages * PAGE];
	memset(deep, pages, sizeof deep);
	sink = deep[5];
}

static void anonymous(void)
{
	char *m = area(16, RW, ANON, -1);
	mark(m, 1, 1), mark(m, 3, 1), mark(m, 4, 1);
	sink = m[6 * PAGE]; // The zero page.
	m = area(4, RW, ANON, -1);
	mark(m, 1, 2), mark(m, 2, 2);
	protect(m, 4, PROT_NONE);
	m = area(4, RW, ANON, -1);
	markall(m, 4, 3);
	protect(m, 4, PROT_READ | PROT_EXEC);
	m = area(6, RW, ANON, -1);
	markall(m, 6, 4);
	protect(m + 2 * PAGE, 2, PROT_READ);
	area(4, PROT_NONE, ANON, -1);
	area(4, RW, ANON, -1);
	m = area(1000, RW, ANON, -1); // Large, with holes.
	for (int i = 0; i < 900; i++)
		if (i % 7 && (i < 100 || i > 200))
			mark(m, i, 9);
	protect(m + 400 * PAGE, 300, PROT_READ);
	m = area(3, PROT_READ | PROT_WRITE | PROT_EXEC, ANON, -1);
	mark(m, 2, 5);
	m = area(65536, RW, ANON | MAP_NORESERVE, -1);
	mark(m, 0, 6), mark(m, 40000, 6), mark(m, 65535, 6);
	area(1 << 28, RW, ANON | MAP_NORESERVE, -1); // 1 TiB with nothing in it.
	m = sbrk(20 * PAGE);
	memset(m, 7, 20 * PAGE);
	deepen(40);
	m = area(64, PROT_NONE, ANON | MAP_NORESERVE, -1);
	munmap(m, 64 * PAGE);
	m = mmap(m + 60 * PAGE, 4 * PAGE, RW, ANON | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
	if (m == MAP_FAILED)
		err(1, "growsdown");
	for (int i = 3; i > -8; i--)
		m[i * PAGE] = i + 20;
}

static void files(void)
{
	int fd = file("rw", 8, O_RDWR), ro = file("ro", 8, O_RDONLY), short_fd = file("short", 3, O_RDWR);
	char *m = area(8, RW, MAP_PRIVATE, fd);
	sink = m[0], mark(m, 2, 11), mark(m, 5, 11);
	m = area(8, RW, MAP_PRIVATE, ro);
	mark(m, 0, 12);
	protect(m, 8, PROT_READ);
	m = area(8, PROT_READ, MAP_PRIVATE, ro);
	m = area(8, PROT_READ | PROT_EXEC, MAP_PRIVATE, ro);
	sink = m[PAGE];
	m = area(8, RW, MAP_SHARED, fd);
	mark(m, 7, 13);
	m = area(8, PROT_READ, MAP_SHARED, ro);
	sink = m[0];
	m = area(8, PROT_NONE, MAP_SHARED, fd);
	m = area(6, RW, MAP_PRIVATE, short_fd); // Three pages behind the end.
	mark(m, 1, 14);
	m = mmap(area(2, PROT_NONE, ANON, -1), 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 4 * PAGE);
	mark(m, 1, 15);
	int gone = file("gone", 4, O_RDWR);
	unlink("gone");
	m = area(4, RW, MAP_PRIVATE, gone);
	mark(m, 1, 16);
	m = area(4, RW, MAP_SHARED, gone);
	mark(m, 3, 17);
	close(fd), close(ro), close(short_fd), close(gone);
}

static void shared(void)
{
	char *m = area(16, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	mark(m, 2, 21), mark(m, 9, 21);
	sink = m[5 * PAGE];
	area(4, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	m = area(8, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	markall(m, 8, 22);
	protect(m, 8, PROT_READ);
	munmap(m, 2 * PAGE); // What is left begins within the object.
	int fd = memfd_create("a memory file", MFD_CLOEXEC);
	if (ftruncate(fd, 8 * PAGE + 100)) // It ends within a page.
		err(1, "ftruncate");
	m = area(9, RW, MAP_SHARED, fd);
	mark(m, 1, 23), mark(m, 4, 23);
	memset(m + 8 * PAGE, 9, 100);
	m = area(8, RW, MAP_PRIVATE, fd);
	mark(m, 3, 24);
	m = area(8, PROT_READ, MAP_SHARED, fd);
	sink = m[0];
	int only = memfd_create("unmapped", MFD_CLOEXEC);
	if (write(only, "contents", 8) != 8)
		err(1, "write");
	int closed = memfd_create("closed", MFD_CLOEXEC);
	if (ftruncate(closed, 4 * PAGE))
		err(1, "ftruncate");
	m = area(4, RW, MAP_SHARED, closed);
	mark(m, 2, 25);
	close(closed);
}

static void marks(void)
{
	static const int advices[] = { MADV_DONTFORK, MADV_DONTDUMP, MADV_SEQUENTIAL, MADV_RANDOM,
		MADV_MERGEABLE, MADV_NOHUGEPAGE, MADV_HUGEPAGE, MADV_WIPEONFORK };
	char *m;
	for (size_t i = 0; i < sizeof advices / sizeof *advices; i++) {
		m = area(4, RW, ANON, -1);
		mark(m, 1, 30 + i);
		advise(m, 4, advices[i]);
	}
	m = area(4, RW, ANON, -1);
	markall(m, 4, 40);
	if (mlock(m, 4 * PAGE))
		err(1, "mlock");
	m = area(4, RW, ANON, -1);
	mark(m, 2, 41);
	if (mlock2(m, 4 * PAGE, MLOCK_ONFAULT))
		err(1, "mlock2");
	m = area(4, RW, ANON, -1);
	mark(m, 0, 42), mlock(m, 4 * PAGE), protect(m, 4, PROT_NONE);
	// Huge pages.
	m = area(2048, RW, ANON, -1);
	char *aligned = (char *)(((uintptr_t)m + (1 << 21)) & -(1 << 21));
	advise(m, 2048, MADV_HUGEPAGE);
	markall(aligned, 512, 43);
	int fd = file("advised", 4, O_RDWR);
	m = area(4, RW, MAP_PRIVATE, fd);
	advise(m, 4, MADV_DONTDUMP), mark(m, 2, 44), mlock(m, 4 * PAGE);
	close(fd);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_DUMPABLE, 1);
}

static void guards(void)
{
	char *m = area(12, RW, ANON, -1);
	markall(m, 12, 51);
	advise(m + 2 * PAGE, 1, MADV_GUARD_INSTALL);
	advise(m + 5 * PAGE, 3, MADV_GUARD_INSTALL);
	m = area(4, RW, ANON, -1);
	advise(m, 1, MADV_GUARD_INSTALL);
	mark(m, 2, 52);
	protect(m, 4, PROT_READ);
}

static void droppable(void)
{
	char *m = area(4, RW, MAP_DROPPABLE | MAP_ANONYMOUS, -1);
	mark(m, 1, 61);
	int fd = open("/dev/zero", O_RDWR);
	m = area(4, RW, MAP_PRIVATE, fd);
	mark(m, 2, 62);
	close(fd);
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		err(1, "PR_SET_THP_DISABLE");
}

// Policies of mappings, and locks of what is mapped from now on.
static void placed(void)
{
	unsigned long node = 1;
	char *m = area(6, RW, ANON, -1);
	markall(m, 6, 71);
	if (syscall(SYS_mbind, m + PAGE, 2 * PAGE, 2 /* MPOL_BIND */, &node, 65, 0) && errno == ENOSYS)
		exit(77);
	if (syscall(SYS_mbind, m + 4 * PAGE, PAGE, 4 /* MPOL_LOCAL */, NULL, 0, 0))
		err(1, "mbind");
	// Of the thread, and of no mapping.
	if (syscall(SYS_set_mempolicy, 1 /* MPOL_PREFERRED */, &node, 65))
		err(1, "set_mempolicy");
	if (mlockall(MCL_FUTURE | MCL_ONFAULT))
		err(1, "mlockall");
	mark(area(4, RW, ANON, -1), 2, 72);
}

// Like placed, but what is mapped from now on is brought in at once.
static void future(void)
{
	if (mlockall(MCL_FUTURE))
		err(1, "mlockall");
	mark(area(4, RW, ANON, -1), 2, 73);
}

static void ready(void)
{
	if (write(3, "+", 1) != 1)
		err(1, "ready");
	dup2(1, 2); // Nothing is open that is not the tree's.
	close(3);
}

static void hold(void)
{
	ready();
	for (;;)
		pause();
}

// family is three generations that share what fork leaves shared.
static void family(void)
{
	int fd = file("common", 8, O_RDWR);
	char *cow = area(64, RW, ANON, -1), *shm = area(8, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	char *priv = area(8, RW, MAP_PRIVATE, fd), *rdonly = area(8, RW, ANON, -1);
	char *gone = area(8, RW, ANON, -1), *wiped = area(4, RW, ANON, -1), *kept = area(4, RW, ANON, -1);
	char *other = area(8, RW, ANON, -1);
	char *dropped = area(8, RW, ANON, -1);
	markall(cow, 64, 71), mark(shm, 1, 72), mark(priv, 1, 73), mark(priv, 2, 73);
	markall(rdonly, 8, 74), protect(rdonly, 8, PROT_READ);
	markall(gone, 8, 75), markall(wiped, 4, 76), markall(kept, 4, 77), markall(other, 8, 78), markall(dropped, 8, 79);
	advise(wiped, 4, MADV_WIPEONFORK);
	advise(kept, 4, MADV_DONTFORK);
	char *heap = sbrk(16 * PAGE);
	markall(heap, 16, 70);
	char *joined = area(16, RW, ANON, -1);
	markall(joined, 16, 69);
	int mem = memfd_create("family", 0);
	if (ftruncate(mem, 4 * PAGE))
		err(1, "ftruncate");
	char *memory = area(4, RW, MAP_SHARED, mem);
	mark(memory, 2, 80);
	if (fork() == 0) {
		deepen(50);
		sbrk(8 * PAGE), mark(heap, 20, 81), mark(heap, 2, 81);
		protect(joined + 3 * PAGE, 5, PROT_NONE), munmap(joined + 10 * PAGE, 2 * PAGE);
		mark(cow, 3, 81), mark(cow, 10, 81), mark(shm, 4, 82), mark(priv, 2, 83), mark(priv, 6, 83);
		*(volatile char *)(cow + 21 * PAGE) = cow[21 * PAGE]; // Its own copy, with the same contents.
		munmap(gone, 8 * PAGE);
		protect(rdonly + 4 * PAGE, 4, RW), mark(rdonly, 5, 84);
		advise(dropped, 3, MADV_DONTNEED);
		munmap(other, 8 * PAGE);
		if (mmap(other, 8 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
			err(1, "remap");
		mark(other, 1, 85);
		markall(area(8, RW, ANON, -1), 8, 86);
		if (fork() == 0) {
			mark(cow, 40, 91);
			protect(dropped, 8, PROT_READ);
			mark(memory, 3, 92);
			sbrk(-12 * PAGE), sbrk(30 * PAGE), mark(heap, 22, 92);
			hold();
		}
		hold();
	}
	protect(joined, 7, PROT_READ), mark(joined, 9, 93);
	sbrk(4 * PAGE), mark(heap, 18, 93);
	mark(cow, 50, 93); // The parent's own, after the fork.
	advise(dropped + 6 * PAGE, 1, MADV_DONTNEED);
	if (fork() == 0)
		hold();
	hold();
}

// need says that this kernel lacks what a mode is about.
static void need(int have)
{
	if (!have)
		exit(77);
}

static void obstacle(const char *what)
{
	char *m;
	if (strcmp(what, "sysv") == 0) {
		int id = shmget(IPC_PRIVATE, 4 * PAGE, 0600);
		need(id >= 0);
		m = shmat(id, NULL, 0);
		shmctl(id, IPC_RMID, NULL);
		need(m != (void *)-1);
	} else if (strcmp(what, "userfaultfd") == 0) {
		int fd = syscall(SYS_userfaultfd, O_CLOEXEC | 1);
		need(fd >= 0);
		struct uffdio_api api = { .api = UFFD_API };
		need(ioctl(fd, UFFDIO_API, &api) == 0);
		struct uffdio_register reg = { .range = { (uintptr_t)area(4, RW, ANON, -1), 4 * PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING };
		need(ioctl(fd, UFFDIO_REGISTER, &reg) == 0);
	} else if (strcmp(what, "seal") == 0) {
		need(syscall(462, area(4, RW, ANON, -1), 4 * PAGE, 0) == 0);
	} else if (strcmp(what, "secret") == 0) {
		int fd = syscall(447, 0);
		need(fd >= 0 && ftruncate(fd, 4 * PAGE) == 0);
		m = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
		need(m != MAP_FAILED);
		close(fd);
	} else if (strcmp(what, "io_uring") == 0) {
		char params[120] = { 0 };
		int fd = syscall(425, 4, params);
		need(fd >= 0);
		need(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) != MAP_FAILED);
	} else if (strcmp(what, "key") == 0) {
		int key = pkey_alloc(0, 0);
		need(key >= 0 && pkey_mprotect(area(4, RW, ANON, -1), 4 * PAGE, RW, key) == 0);
	} else if (strcmp(what, "hugetlb") == 0) {
		need(mmap(NULL, 2 << 20, RW, ANON | MAP_HUGETLB, -1, 0) != MAP_FAILED);
	} else if (strcmp(what, "aio") == 0) {
		unsigned long context = 0;
		need(syscall(SYS_io_setup, 4, &context) == 0);
	} else if (strcmp(what, "device") == 0) {
		int fd = open("/dev/zero", O_RDWR);
		// A private mapping is ordinary memory, but one of the device's file is not.
		need(fd >= 0 && (fd = open("/dev/mem", O_RDONLY)) >= 0);
		need(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
	} else if (strcmp(what, "mdwe") == 0) {
		need(prctl(65, 1, 0, 0, 0) == 0);
	} else if (strcmp(what, "outsider") == 0) {
		m = area(4, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
		if (fork() == 0)
			hold();
	} else if (strcmp(what, "vfork") == 0) {
		if (vfork() == 0) {
			need(write(3, "ready\n", 6) == 6);
			for (;;)
				pause();
		}
	} else {
		errx(1, "what is %s?", what);
	}
}

int main(int argc, char **argv)
{
	close_range(4, ~0U, 0); // What the test inherited.
	const char *mode = argv[1];
	long n = argc > 2 ? atol(argv[2]) : 0;
	static const struct {
		const char *name;
		void (*make)(void);
	} kinds[] = { { "anonymous", anonymous }, { "files", files }, { "shared", shared },
		{ "marks", marks }, { "guards", guards }, { "droppable", droppable }, { "placed", placed }, { "future", future } };
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strstr(mode, kinds[i].name))
			kinds[i].make();
	if (strncmp(mode, "obstacle-", 9) == 0)
		obstacle(mode + 9);
	if (strcmp(mode, "family") == 0)
		family();
	if (strstr(mode, "bytes")) {
		char *m = area(n / PAGE, RW, ANON, -1);
		for (long i = 0; i < n / PAGE; i++)
			mark(m, i, 1);
	}
	if (strcmp(mode, "mappings") == 0)
		for (long i = 0; i < n; i++)
			mark(area(2, i % 2 ? RW : RW | PROT_EXEC, ANON, -1), i % 2, i);
	hold();
}
