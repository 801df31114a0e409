// SPDX-License-Identifier: Apache-2.0

// odd FILE KIND: makes itself a process of a kind in which system calls are hard
// to run, and counts in the first word of FILE, which is shared memory. The
// second word is not 0 if it could not become one.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile uint64_t *shared;

static void check(int result)
{
	if (result != 0)
		shared[1] = errno ? errno : 1000;
}

// Kills for mmap and munmap; all else is allowed.
static void filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void *filtered(void *arg)
{
	filter();
	shared[0]++;
	for (;;)
		pause();
	return arg;
}

// Takes the address space from start to end, if there is any.
static void take(uintptr_t start, uintptr_t end)
{
	if (end > start)
		check(mmap((void *)start, end - start, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED);
}

// Takes all address space that is between the mappings and behind the last.
static void fill(void)
{
	static char text[1 << 16];
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t size = 0;
	for (ssize_t n; (n = read(fd, text + size, sizeof text - 1 - size)) > 0;)
		size += n;
	uintptr_t at = 1 << 16, limit = 0x7ffffffff000;
	for (char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : 0) {
		uintptr_t start, end;
		if (sscanf(line, "%lx-%lx", &start, &end) != 2)
			break;
		// [vsyscall], which not all kernels have, lies above what can be mapped.
		if (start >= limit)
			break;
		take(at, start);
		at = end;
	}
	take(at, limit);
}

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR);
	shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	const char *kind = argv[2];
	pthread_t thread;
	if (!strcmp(kind, "seccomp"))
		filter();
	else if (!strcmp(kind, "seccomp thread")) {
		check(pthread_create(&thread, 0, filtered, 0));
		while (shared[0] == 0)
			;
	} else if (!strcmp(kind, "mdwe"))
		check(prctl(65 /* PR_SET_MDWE */, 1 /* PR_MDWE_REFUSE_EXEC_GAIN */, 0, 0, 0));
	else if (!strcmp(kind, "address space")) {
		struct rlimit limit = {1, 1};
		check(setrlimit(RLIMIT_AS, &limit));
	} else if (!strcmp(kind, "full"))
		fill();
	else if (!strcmp(kind, "dispatch")) {
		static char off;
		check(prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1 /* on */, 0, 0, &off));
	} else if (!strcmp(kind, "signals")) {
		// Every signal is blocked, ignored signals too: none can end a batch.
		sigset_t all;
		sigfillset(&all);
		check(sigprocmask(SIG_BLOCK, &all, 0));
	} else
		check(-1);
	for (;;)
		shared[0]++;
}
