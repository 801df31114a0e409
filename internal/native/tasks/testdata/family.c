// SPDX-License-Identifier: Apache-2.0

// family [users]: a tree of processes that differ in everything that package
// tasks saves. When all of them are ready it writes "ready\n" to descriptor 3,
// closes it, and waits. What each is like is said once more in family_test.go.
// With "users" there are also processes of other users.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <linux/membarrier.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x)                                                               \
	do {                                                                   \
		if ((long)(x) < 0) {                                           \
			dprintf(2, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x,  \
				strerror(errno));                              \
			exit(99);                                              \
		}                                                              \
	} while (0)

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

static int ready[2];
static atomic_int threads;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
}

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

static void is_ready(void) { CHECK(write(ready[1], "+", 1)); }

// rt_sigqueueinfo to a thread with a value of the sender's choice.
static void queue(pid_t tid, int sig, int value)
{
	siginfo_t info;
	memset(&info, 0, sizeof info);
	info.si_signo = sig;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = value;
	if (tid)
		CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, sig, &info));
	else
		CHECK(syscall(SYS_rt_sigqueueinfo, getpid(), sig, &info));
}

static void block(int how, int a, int b)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, a);
	if (b)
		sigaddset(&set, b);
	pthread_sigmask(how, &set, NULL);
}

static void policy(int policy, int prio)
{
	struct sched_param p = {.sched_priority = prio};
	CHECK(sched_setscheduler(0, policy, &p));
}

static void *alpha(void *unused)
{
	(void)unused;
	CHECK(prctl(PR_SET_NAME, "alpha thread"));
	stack_t s = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
	CHECK(sigaltstack(&s, NULL));
	CHECK(setpriority(PRIO_PROCESS, 0, 5));
	block(SIG_BLOCK, SIGRTMIN + 3, SIGTERM);
	for (int i = 0; i < 3; i++)
		queue(gettid(), SIGRTMIN + 3, 100 + i);
	CHECK(syscall(SYS_tgkill, getpid(), gettid(), SIGTERM));
	CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1));
	CHECK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6)); // Best effort, level 6.
	CHECK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
	CHECK(personality(ADDR_NO_RANDOMIZE | UNAME26));
	unsigned long nodes[2] = {1, 0};
	if (syscall(SYS_set_mempolicy, MPOL_BIND | MPOL_F_STATIC_NODES, nodes, 65))
		CHECK(errno == ENOSYS ? 0 : -1);
	CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
	atomic_fetch_add(&threads, 1);
	wait_for_ever();
	return NULL;
}

static void *beta(void *unused)
{
	(void)unused;
	CHECK(prctl(PR_SET_NAME, "beta"));
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	CHECK(sched_setaffinity(0, sizeof set, &set));
	CHECK(setpriority(PRIO_PROCESS, 0, 7));
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = {sizeof attr, SCHED_BATCH, 0, 7, 0, 3210000, 0, 0};
	CHECK(syscall(SYS_sched_setattr, 0, &attr, 0));
	CHECK(prctl(PR_SET_TIMERSLACK, 123456));
	struct timespec t = {.tv_sec = 1000}, left;
	atomic_fetch_add(&threads, 1);
	for (;;) // A dump by CRIU ends it early.
		nanosleep(&t, &left);
	return NULL;
}

static void *gamma_(void *unused)
{
	(void)unused;
	CHECK(prctl(PR_SET_NAME, "gamma"));
	int fd = epoll_create1(0);
	struct epoll_event e;
	CHECK(setpriority(PRIO_PROCESS, 0, -3));
	policy(SCHED_FIFO | SCHED_RESET_ON_FORK, 3);
	atomic_fetch_add(&threads, 1);
	for (;;)
		epoll_wait(fd, &e, 1, -1);
	return NULL;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	CHECK(fd);
	CHECK(write(fd, text, strlen(text)));
	close(fd);
}

static pid_t child(void (*f)(void))
{
	pid_t pid = fork();
	CHECK(pid);
	if (pid == 0) {
		close(3);
		f();
		exit(98);
	}
	return pid;
}

// await waits until a child has changed its state, and leaves that to be waited
// for.
static void await(pid_t pid, int what)
{
	siginfo_t info;
	CHECK(waitid(P_PID, pid, &info, what | WNOWAIT));
}

static void exits(void) { _exit(42); }

static void dies(void)
{
	struct rlimit none = {0, 0};
	CHECK(setrlimit(RLIMIT_CORE, &none));
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static void is_killed(void) { raise(SIGKILL); }

static void stops(void)
{
	CHECK(setpgid(0, 0));
	raise(SIGTSTP);
	wait_for_ever();
}

static void stops_for_sure(void)
{
	raise(SIGSTOP);
	wait_for_ever();
}

static void grandchild(void)
{
	CHECK(setpgid(0, 0));
	CHECK(prctl(PR_SET_NAME, "grandchild"));
	is_ready();
	wait_for_ever();
}

static void leads_session(void)
{
	CHECK(setsid());
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0)
		CHECK(errno == ENOSYS ? 0 : -1);
	child(grandchild);
	is_ready();
	wait_for_ever();
}

static void of_nobody(void)
{
	gid_t groups[] = {100, 200, 300};
	struct rlimit files = {64, 128}, stack = {1 << 20, 1 << 22};
	CHECK(setrlimit(RLIMIT_NOFILE, &files));
	CHECK(setrlimit(RLIMIT_STACK, &stack));
	CHECK(setgroups(3, groups));
	CHECK(setresgid(65534, 65534, 65534));
	CHECK(setresuid(65534, 65534, 65534));
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(prctl(PR_SET_DUMPABLE, 1));
	CHECK(prctl(PR_SET_PDEATHSIG, SIGTERM));
	is_ready();
	wait_for_ever();
}

static void with_capabilities(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];
	memset(d, 0, sizeof d);
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP));
	CHECK(setgroups(0, NULL));
	CHECK(setresgid(2000, 2001, 2002));
	setfsgid(2003);
	CHECK(setresuid(1000, 1001, 1002));
	setfsuid(1003);
	CHECK(syscall(SYS_capget, &h, d));
	d[0].inheritable = 1 << CAP_NET_BIND_SERVICE | 1 << CAP_CHOWN;
	CHECK(syscall(SYS_capset, &h, d));
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0));
	// Inheritable without being in the bounding set.
	CHECK(prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0));
	CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO, 0, 0, 0));
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED | SECBIT_NOROOT));
	memset(d, 0, sizeof d);
	d[0].permitted = 1 << CAP_NET_BIND_SERVICE | 1 << CAP_NET_RAW | 1 << CAP_KILL;
	d[0].effective = 1 << CAP_NET_RAW;
	d[0].inheritable = 1 << CAP_NET_BIND_SERVICE | 1 << CAP_CHOWN;
	CHECK(syscall(SYS_capset, &h, d));
	CHECK(prctl(PR_SET_DUMPABLE, 0));
	is_ready();
	wait_for_ever();
}

static void signals(void)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaddset(&sa.sa_mask, SIGRTMAX);
	CHECK(sigaction(SIGUSR1, &sa, NULL));
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	CHECK(kill(getpid(), SIGUSR2));
	queue(0, SIGRTMIN + 1, 7);
	queue(0, SIGRTMIN + 1, 8);
	queue(gettid(), SIGHUP, 9);
}

int main(int argc, char **argv)
{
	int users = argc > 1 && strcmp(argv[1], "users") == 0, expect = 2;
	CHECK(pipe(ready));
	umask(027);
	CHECK(personality(ADDR_NO_RANDOMIZE));
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1));
	CHECK(prctl(PR_SET_NAME, "family"));
	write_file("/proc/self/oom_score_adj", "123");
	write_file("/proc/self/coredump_filter", "0x7f");
	child(leads_session);
	if (users) {
		child(of_nobody);
		child(with_capabilities);
		expect += 2;
	}
	await(child(exits), WEXITED);
	await(child(dies), WEXITED);
	await(child(is_killed), WEXITED);
	await(child(stops), WSTOPPED);
	await(child(stops_for_sure), WSTOPPED);
	for (char c; expect > 0; expect--)
		CHECK(read(ready[0], &c, 1));

	// Before there are threads, which would take them.
	block(SIG_BLOCK, SIGUSR2, SIGRTMIN + 1);
	block(SIG_BLOCK, SIGHUP, 0);
	pthread_t t;
	pthread_create(&t, NULL, alpha, NULL);
	pthread_create(&t, NULL, beta, NULL);
	pthread_create(&t, NULL, gamma_, NULL);
	while (atomic_load(&threads) < 3)
		usleep(1000);
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
	if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)) // Since Linux 6.4.
		CHECK(errno == EINVAL ? 0 : -1);
	signals();
	CHECK(write(3, "ready\n", 6));
	close(3);
	wait_for_ever();
}
