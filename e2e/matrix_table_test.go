// SPDX-License-Identifier: Apache-2.0

package e2e

import "github.com/crtime/crtime/e2e/harness"

// step is where a cell of the matrix can fail.
type step string

const (
	dumping   step = "dump"
	restoring step = "restore"
	checking  step = "check"
)

// object is a row of the matrix.
type object struct {
	name     string // Of the program in e2e/objects.
	refusals []refusal
	flags    []string // What both a dump and a restore of it need.
	terminal bool     // It belongs to a session outside the tree.
}

// refusal says that cells cannot pass. The first that fits a cell counts.
type refusal struct {
	cells string // Pattern of dumper and restorer, as in "criu-*".
	step  step
	says  string // Part of the error, or of what the program finds.
	why   string
	// unless tells whether this machine is one where the cells do pass.
	unless func(*harness.Case) bool
}

// objects are the rows of the matrix.
var objects = []object{
	{name: "anonymous"},
	{name: "private_file"},
	{name: "shared_file"},
	{name: "shared_anonymous"},
	{name: "memfd_shared"},
	{name: "stack"},
	{name: "brk"},
	{name: "guard_pages"},
	{name: "guard_regions"},
	{name: "advice"},
	{name: "huge_pages"},
	{name: "vdso"},
	{name: "copy_on_write"},
	{name: "zero_page"},

	{name: "registers"},
	{name: "signal_mask"},
	{name: "alternate_stack"},
	{name: "robust_list"},
	{name: "rseq"},
	{name: "tid_address"},
	{name: "scheduling"},
	{name: "affinity", refusals: []refusal{
		{cells: "criu-*", step: checking, says: "may run on", why: "CRIU does not save it"},
		{cells: "*-criu", step: checking, says: "may run on", why: "CRIU does not restore it"},
	}},
	{name: "thread_names"},
	{name: "threads"},

	{name: "family"},
	{name: "sessions"},
	{name: "lost_leaders", refusals: []refusal{
		{cells: "*-criu", step: checking, says: "No child processes", why: "CRIU leaves what it makes by way of a helper process to whoever adopts orphans outside of the tree"},
	}},
	{name: "scattered_session", refusals: []refusal{
		{cells: "*-criu", step: restoring, says: "finds no other way into it", why: "CRIU finds no place for members of an ended leader's session that are below different processes"},
	}},
	{name: "zombies"},
	{name: "subreaper"},
	{name: "credentials", refusals: []refusal{
		{cells: "criu-*", step: dumping, says: "CAP_SYS_RESOURCE", unless: haveSysResource, why: "CRIU asks for the limits of another user's process, which takes CAP_SYS_RESOURCE"},
	}},
	{name: "capabilities"},
	{name: "no_new_privs"},
	{name: "umask"},
	{name: "working_directory"},
	{name: "root_directory"},
	{name: "limits"},
	{name: "personality", refusals: []refusal{
		{cells: "*-criu", step: checking, says: "personality(0xffffffff) is 0 (0)", why: "CRIU does not restore it"},
	}},
	{name: "dumpable"},
	{name: "oom_score_adj"},
	{name: "parent_death_signal"},
	{name: "command_line"},
	{name: "program_file"},

	{name: "signal_handlers"},
	{name: "pending_signals"},
	{name: "stopped_process"},

	{name: "regular_file"},
	{name: "deleted_file"},
	{name: "removed_name", flags: []string{"--link-remap"}},
	{name: "directory"},
	{name: "devices"},
	{name: "pipe"},
	{name: "packet_pipe", refusals: []refusal{
		{cells: "criu-*", step: dumping, says: "packetized mode for pipes is not supported", why: "CRIU does not save it"},
		{cells: "*-criu", step: checking, says: "is 8 (0x8), not 3", why: "CRIU puts what was in the pipe back as one"},
	}},
	{name: "fifo"},
	{name: "eventfd"},
	{name: "eventfd_large", refusals: []refusal{
		{cells: "*-criu", step: checking, says: "value is 591751049", why: "CRIU makes the counter with its first 32 bits alone"},
	}},
	{name: "eventfd_semaphore", refusals: []refusal{
		{cells: "native-native", step: checking, says: "value is 3", unless: tellsSemaphores, why: "this kernel does not tell which counters are semaphores, as Linux 6.5 does"},
		{cells: "criu-*", step: checking, says: "value is 3", why: "CRIU does not save that it is one"},
		{cells: "*-criu", step: checking, says: "value is 3", why: "CRIU does not restore that it is one"},
	}},
	{name: "signalfd"},
	{name: "epoll"},
	{name: "timerfd"},
	{name: "timerfd_expired"},
	{name: "memfd"},
	{name: "inotify"},
	{name: "unix_pair"},
	{name: "unix_listener"},
	{name: "unix_peer_name", refusals: []refusal{
		{cells: "*-criu", step: checking, says: "name.sun_path is", why: "CRIU makes a connection as a pair of sockets without names"},
	}},
	{name: "unix_waiting", refusals: []refusal{
		{cells: "criu-*", step: dumping, says: "Non-empty write queue on an in-flight socket", why: "CRIU does not save the data"},
		{cells: "native-*", step: dumping, says: "sent data to a connection that is not accepted yet", why: "nobody but who accepts the connection can read them"},
	}},
	{name: "passed_descriptors", refusals: []refusal{
		{cells: "native-*", step: dumping, says: "wait in its queue", why: "to look at them makes them descriptors of who looks, so the native engine leaves them to CRIU"},
		{cells: "criu-native", step: restoring, says: "a message with descriptors", why: "the native engine does not send them again"},
	}},
	{name: "file_locks", flags: []string{"--file-locks"}},
	{name: "owner_signals"},
	{name: "pseudo_terminal"},
	{name: "terminal", flags: []string{"--shell-job"}, terminal: true},

	{name: "interval_timers"},
	{name: "posix_timers"},
	{name: "blocked_read"},
	{name: "blocked_futex"},
	{name: "blocked_poll"},
	{name: "blocked_sleep"},
}
