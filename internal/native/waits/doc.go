// SPDX-License-Identifier: Apache-2.0

// Package waits tells how long sleeping threads have still to sleep, to the
// nanosecond, which no file of the kernel's says.
//
// It asks a BPF program that the kernel calls for every thread (bpf/waits.c). While a
// thread sleeps, the timer that is to wake it lies on its kernel stack. When a stop
// has interrupted a nanosleep, a poll or a relative futex wait, the kernel keeps what
// it needs to go on with it (struct restart_block). The other calls with a time limit
// (epoll_wait, sigtimedwait, semtimedop, a read with SO_RCVTIMEO) keep nothing: of
// them only the timer before the stop tells anything.
//
// The same way it tells since when a POSIX timer waits for its signal to be taken: how
// many periods have passed is worked out only then, and shown nowhere before.
//
// It needs CAP_BPF and CAP_PERFMON, or root, and a kernel with type information of
// itself (CONFIG_DEBUG_INFO_BTF). Where it cannot be had, Open and ReadExpired say why.
package waits
