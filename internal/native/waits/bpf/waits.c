// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Tells how long sleeping threads have still to sleep, and since when timers wait for
// their signals to be taken. Both are task iterators: the kernel calls tell and expired
// for every thread. tell writes a struct wait for each thread of the processes in the map
// wanted, expired fills in the map timers.
//
// Where the kernel keeps what it looks at depends on its version and configuration.
// The loader corrects the offsets for the running kernel, by the type information
// that the kernel has of itself; of each type there is here what is used of it.

typedef unsigned char __u8;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;

#define SEC(name) __attribute__((section(name), used))
#define KERNEL_TYPE __attribute__((preserve_access_index))
#define NUMBER(name, n) int(*name)[n]

// The helpers of the kernel, by their numbers (include/uapi/linux/bpf.h).
static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static __u64 (*const monotonic)(void) = (void *)5;
static __u64 (*const get_current_task)(void) = (void *)35;
static long (*const read_kernel)(void *dst, __u32 size, const void *from) = (void *)113;
static __u64 (*const jiffies)(void) = (void *)118;
static long (*const loop)(__u32 times, void *f, void *with, __u64 flags) = (void *)181;
static long (*const seq_write)(void *seq, const void *data, __u32 size) = (void *)127;
static long (*const print)(char *into, __u32 size, const char *format, const __u64 *data, __u32 data_size) = (void *)165;

#define READ(dst, pointer) read_kernel(&(dst), sizeof(dst), __builtin_preserve_access_index(&(pointer)))
#define OFFSET(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)
#define SIZE(type) __builtin_preserve_type_info(*(type *)0, 1)
#define EXISTS(type, field) __builtin_preserve_field_info(((type *)0)->field, 2)

struct pid_namespace;

struct upid {
	int nr;
	struct pid_namespace *ns;
} KERNEL_TYPE;

struct pid {
	unsigned int level;
	struct upid numbers[1];
} KERNEL_TYPE;

struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
} KERNEL_TYPE;

struct restart_block {
	long (*fn)(struct restart_block *);
	union {
		struct {
			__u64 time;
		} futex;
		struct {
			int clockid;
			void *rmtp;
			__u64 expires;
		} nanosleep;
		struct {
			int has_timeout;
			unsigned long tv_sec;
			unsigned long tv_nsec;
		} poll;
	};
} KERNEL_TYPE;

// Later kernels keep the time limit of poll as one value.
struct restart_block___timespec {
	union {
		struct {
			struct timespec64 end_time;
		} poll;
	};
} KERNEL_TYPE;

struct thread_struct___x86 {
	unsigned long sp;
} KERNEL_TYPE;

struct cpu_context {
	unsigned long sp;
} KERNEL_TYPE;

struct thread_struct___arm64 {
	struct cpu_context cpu_context;
} KERNEL_TYPE;

struct thread_struct {
} KERNEL_TYPE;

struct signal_struct {
	struct {
		struct list *next; // By another name in each kind of list.
	} posix_timers;
} KERNEL_TYPE;

struct task_struct {
	unsigned int __state;
	struct signal_struct *signal;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	unsigned long nvcsw;
	struct restart_block restart_block;
	struct thread_struct thread;
} KERNEL_TYPE;

struct hrtimer_cpu_base;

struct hrtimer_clock_base {
	struct hrtimer_cpu_base *cpu_base;
	unsigned int index;
	int clockid;
} KERNEL_TYPE;

struct hrtimer_cpu_base {
	struct hrtimer_clock_base clock_base[8];
} KERNEL_TYPE;

struct hrtimer {
	__s64 _softexpires;
	struct hrtimer_clock_base *base;
	__u8 state;
} KERNEL_TYPE;

// Later kernels say it with a bool.
struct hrtimer___bool {
	_Bool is_queued;
} KERNEL_TYPE;

struct hrtimer_sleeper {
	struct hrtimer timer;
	struct task_struct *task;
} KERNEL_TYPE;

// What a POSIX timer is in.
struct list {
	struct list *next;
};

struct k_itimer {
	struct list list;
	int it_id;
	__s64 it_overrun;
	__s64 it_interval;
	union {
		struct {
			struct hrtimer timer;
		} real;
	} it;
} KERNEL_TYPE;

struct hlist_node {
	struct hlist_node **pprev;
} KERNEL_TYPE;

struct timer_list {
	struct hlist_node entry;
	unsigned long expires;
} KERNEL_TYPE;

struct process_timer {
	struct timer_list timer;
	struct task_struct *task;
} KERNEL_TYPE;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} KERNEL_TYPE;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} KERNEL_TYPE;

// Which timer wakes the thread.
enum timer {
	NONE,
	PRECISE, // An hrtimer: at is in ns of clock.
	COARSE,  // A timer of the tick: at is in ticks, of the same count as ticks.
};

// What is told of a thread; package waits reads it. Times are the host's.
struct wait {
	__s32 tid, pid; // As the reader sees them.
	__u64 switches; // How often it gave up its processor by itself.

	// The timer that wakes the thread while it sleeps.
	__u32 timer;
	__s32 clock;
	__u64 at;
	__u64 ticks, now; // The count of ticks, and CLOCK_MONOTONIC, at the same moment.

	// With what the kernel would go on with a system call that a stop has
	// interrupted: only valid in a thread that was stopped in one. Which of them
	// holds depends on the call.
	__u64 remainder; // Where a nanosleep writes what is left if a handler ends it.
	__u64 nanosleep, poll, futex;
	__s32 nanosleep_clock;
	__u32 poll_limited;
	char restart[32]; // The name of the kernel's function, cut.
};

// The processes that are asked about, by their numbers as the reader sees them.
struct {
	NUMBER(type, 1); // A hash.
	NUMBER(max_entries, 65536); // The loader says how many.
	NUMBER(map_flags, 1); // Memory is taken as it is needed.
	int *key, *value;
} wanted SEC(".maps");

// number is a process's number in the namespace of the reader, itself the thread in
// whose name the program runs; 0: it has none there.
static __s32 number(struct task_struct *task)
{
	struct task_struct *reader = (struct task_struct *)get_current_task();
	struct pid *mine = 0, *its = 0;
	__u32 level = 0, depth = 0;
	struct pid_namespace *ns = 0, *there = 0;
	__s32 nr = 0;

	if (READ(mine, reader->thread_pid) || READ(level, mine->level) || READ(its, task->thread_pid) || READ(depth, its->level))
		return 0;
	if (depth < level)
		return 0;
	__u64 skip = OFFSET(struct pid, numbers) + level * SIZE(struct upid);
	struct upid *me = (void *)mine + skip, *it = (void *)its + skip;
	if (READ(ns, me->ns) || READ(there, it->ns) || ns != there || READ(nr, it->nr))
		return 0;
	return nr;
}

static __u64 stack_pointer(struct task_struct *task)
{
	void *thread = __builtin_preserve_access_index(&task->thread);
	__u64 sp = 0;

	if (EXISTS(struct thread_struct___x86, sp))
		READ(sp, ((struct thread_struct___x86 *)thread)->sp);
	else
		READ(sp, ((struct thread_struct___arm64 *)thread)->cpu_context.sp);
	return sp;
}

// known reports whether what may be one is one of the places where timers are queued.
static int known(struct hrtimer_clock_base *base)
{
	struct hrtimer_cpu_base *cpu = 0;
	__u32 index = 0;

	if (READ(cpu, base->cpu_base) || READ(index, base->index) || index > 7)
		return 0;
	__u64 place = (__u64)cpu + OFFSET(struct hrtimer_cpu_base, clock_base) + index * SIZE(struct hrtimer_clock_base);
	return place == (__u64)base;
}

// queued reports whether what may be a timer is one that runs: it says so itself, and
// refers to one of the places where timers are queued.
static int queued(struct hrtimer *timer, struct hrtimer_clock_base *base)
{
	__u8 yes = 0;

	if (EXISTS(struct hrtimer___bool, is_queued)) {
		struct hrtimer___bool *later = (void *)timer;
		if (READ(yes, later->is_queued))
			return 0;
	} else if (READ(yes, timer->state)) {
		return 0;
	}
	return yes == 1 && known(base);
}

// precise takes what may be the sleeper that ends at the word which names its task.
static int precise(struct wait *w, __u64 word)
{
	struct hrtimer_sleeper *s = (void *)(word - OFFSET(struct hrtimer_sleeper, task));
	struct hrtimer *timer = (void *)s + OFFSET(struct hrtimer_sleeper, timer);
	struct hrtimer_clock_base *base = 0;
	__s32 clock = -1;
	__s64 at = 0;

	if (READ(base, timer->base) || !queued(timer, base) || READ(clock, base->clockid) || READ(at, timer->_softexpires))
		return 0;
	w->timer = PRECISE;
	w->clock = clock;
	w->at = at;
	return 1;
}

// coarse is precise for a timer of the tick.
static int coarse(struct wait *w, __u64 word)
{
	struct process_timer *p = (void *)(word - OFFSET(struct process_timer, task));
	struct hlist_node **before = 0;
	void *at = 0;

	// Whatever is before it in its list refers to it.
	if (READ(before, p->timer.entry.pprev) || !before || read_kernel(&at, sizeof at, before) || at != (void *)p)
		return 0;
	unsigned long expires = 0;
	if (READ(expires, p->timer.expires))
		return 0;
	w->timer = COARSE;
	w->at = expires;
	w->ticks = jiffies();
	w->now = monotonic();
	return 1;
}

// search is a look at the kernel stack of a thread.
struct search {
	struct wait *wait;
	struct task_struct *task;
	__u64 at;
};

// look sees whether the word names the thread, as the last one of a sleeper does; 1
// ends the search.
static long look(__u64 index, struct search *s)
{
	__u64 word = 0, at = s->at + 8 * index;

	if (read_kernel(&word, sizeof word, (void *)at))
		return 1;
	if (word != (__u64)s->task)
		return 0;
	return precise(s->wait, at) || coarse(s->wait, at);
}

// The timer of a sleeping thread is on its kernel stack, near the end: the call that
// sleeps has put it there.
#define WORDS 384

static void find_timer(struct wait *w, struct task_struct *task)
{
	struct search s = {w, task, stack_pointer(task)};

	loop(WORDS, look, &s, 0);
}

// A format has to be in memory that the program cannot change.
static const char symbol[] = "%ps";

static void find_restart(struct wait *w, struct task_struct *task)
{
	unsigned long sec = 0, nsec = 0;
	__s64 end = 0;
	__u64 function = 0;

	READ(function, task->restart_block.fn);
	print(w->restart, sizeof w->restart, symbol, &function, sizeof function);
	READ(w->nanosleep, task->restart_block.nanosleep.expires);
	READ(w->remainder, task->restart_block.nanosleep.rmtp);
	READ(w->nanosleep_clock, task->restart_block.nanosleep.clockid);
	READ(w->futex, task->restart_block.futex.time);
	if (EXISTS(struct restart_block___timespec, poll.end_time)) {
		struct restart_block___timespec *r = (void *)__builtin_preserve_access_index(&task->restart_block);
		READ(end, r->poll.end_time.tv_sec);
		READ(nsec, r->poll.end_time.tv_nsec);
		sec = end;
	} else {
		READ(sec, task->restart_block.poll.tv_sec);
		READ(nsec, task->restart_block.poll.tv_nsec);
	}
	w->poll = sec * 1000000000ULL + nsec;
	READ(w->poll_limited, task->restart_block.poll.has_timeout);
}

SEC("iter/task")
int tell(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *leader = 0;
	struct wait w = {};

	if (!task)
		return 0;
	if (READ(leader, task->group_leader))
		return 0;
	w.pid = number(leader);
	if (!w.pid || !map_lookup(&wanted, &w.pid))
		return 0;
	w.tid = number(task);
	READ(w.switches, task->nvcsw);
	find_restart(&w, task);
	find_timer(&w, task);
	// If there is no room the kernel shows the thread again, with the next read.
	seq_write(ctx->meta->seq, &w, sizeof w);
	return 0;
}

// A POSIX timer that is asked about, by its process's number as the reader sees it.
struct timer_key {
	__s32 pid, id;
};

// What is told of it if it has a period, has expired, and does not run; package waits
// reads it.
struct expiry {
	__s64 at; // When, in ns of clock, as the host has it.
	__s64 interval; // 0: nothing is told.
	__s64 overrun; // The periods between its first expiry and at, less one.
	__s32 clock;
	__u32 unused;
};

// The timers that are asked about.
struct {
	NUMBER(type, 1); // A hash.
	NUMBER(max_entries, 65536); // The loader says how many.
	NUMBER(map_flags, 1);
	struct timer_key *key;
	struct expiry *value;
} timers SEC(".maps");

// walk is a look at the timers of a process.
struct walk {
	struct list *head, *next; // A list ends with its head, or with nothing.
	__s32 pid;
};

// visit tells of one timer; 1 ends the walk. Timers on CPU time and on alarm clocks have
// something else in the place of the hrtimer, and nothing is told of them.
static long visit(__u64 index, struct walk *w)
{
	struct k_itimer *t = (void *)w->next - OFFSET(struct k_itimer, list);
	struct hrtimer *timer = (void *)t + OFFSET(struct k_itimer, it.real.timer);
	struct hrtimer_clock_base *base = 0;
	struct timer_key key = {.pid = w->pid};
	struct expiry found = {}, *e;

	if (!w->next || w->next == w->head)
		return 1;
	if (READ(key.id, t->it_id) || read_kernel(&w->next, sizeof w->next, w->next))
		return 1;
	e = map_lookup(&timers, &key);
	if (!e || READ(base, timer->base) || !known(base) || queued(timer, base) ||
	    READ(found.clock, base->clockid) || READ(found.at, timer->_softexpires) ||
	    READ(found.overrun, t->it_overrun) || READ(found.interval, t->it_interval))
		return 0;
	*e = found;
	return 0;
}

#define MOST_TIMERS (1 << 20)

SEC("iter/task")
int expired(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *leader = 0;
	struct signal_struct *signal = 0;
	struct walk w = {};

	if (!task)
		return 0;
	if (READ(leader, task->group_leader) || leader != task)
		return 0;
	w.pid = number(leader);
	if (!w.pid || !map_lookup(&wanted, &w.pid))
		return 0;
	if (READ(signal, task->signal))
		return 0;
	w.head = (void *)signal + OFFSET(struct signal_struct, posix_timers);
	if (read_kernel(&w.next, sizeof w.next, w.head))
		return 0;
	loop(MOST_TIMERS, visit, &w, 0);
	return 0;
}

// The helpers that read the kernel's memory want a licence that goes with its own.
char licence[] SEC("license") = "Dual BSD/GPL";
