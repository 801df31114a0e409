// SPDX-License-Identifier: Apache-2.0

// odd KIND: a process that images cannot describe. It writes "ready\n" to
// descriptor 3 when it is what KIND says, or "refused\n" where the kernel does not
// let it, and waits.

#define _GNU_SOURCE
#include <errno.h>
#include <asm/ldt.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

static long filter(void)
{
	struct sock_filter all = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
	struct sock_fprog prog = {1, &all};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static long deadline(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = {sizeof attr, 6, 0, 0, 0, 10000000, 1000000000, 1000000000};
	return syscall(SYS_sched_setattr, 0, &attr, 0);
}

// The key of the semaphores is the process's number; whoever runs it removes them.
static long semaphores(int flags)
{
	int id = semget(getpid(), 2, IPC_CREAT | 0600);
	struct sembuf up = {1, 1, flags};
	return semop(id, &up, 1);
}

static long key(int keyring)
{
	return syscall(SYS_add_key, "user", "odd", "value", 5, keyring) > 0 ? 0 : -1;
}

static long ldt(void)
{
	struct user_desc d = {.entry_number = 0, .limit = 1, .seg_32bit = 1};
	return syscall(SYS_modify_ldt, 1, &d, sizeof d);
}

static void *in_thread(void *what)
{
	long r = -1;
	if (strcmp(what, "filter in a thread") == 0)
		r = filter();
	else if (strcmp(what, "key of a thread") == 0)
		r = key(KEY_SPEC_THREAD_KEYRING);
	write(3, r ? "refused\n" : "ready\n", r ? 8 : 6);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	long r = -1;
	char c;
	int p[2];

	if (argc != 2 || pipe(p))
		return 1;
	if (strcmp(argv[1], "filter in a thread") == 0 || strcmp(argv[1], "key of a thread") == 0) {
		pthread_t t;
		pthread_create(&t, NULL, in_thread, argv[1]);
		for (;;)
			pause();
	}
	if (strcmp(argv[1], "leader that has ended") == 0) {
		pthread_t t;
		pthread_create(&t, NULL, in_thread, argv[1]);
		pthread_exit(NULL);
	}
	if (strcmp(argv[1], "strict") == 0)
		r = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	else if (strcmp(argv[1], "filter") == 0)
		r = filter();
	else if (strcmp(argv[1], "deadline") == 0)
		r = deadline();
	else if (strcmp(argv[1], "undo") == 0)
		r = semaphores(SEM_UNDO);
	else if (strcmp(argv[1], "semaphores") == 0)
		r = semaphores(0);
	else if (strcmp(argv[1], "key of the process") == 0)
		r = key(KEY_SPEC_PROCESS_KEYRING);
	else if (strcmp(argv[1], "ldt") == 0)
		r = ldt();
	else if (strcmp(argv[1], "plain") == 0)
		r = 0;
	write(3, r ? "refused\n" : "ready\n", r ? 8 : 6);
	for (;;)
		read(p[0], &c, 1);
}
