// SPDX-License-Identifier: Apache-2.0

package criu

import "golang.org/x/sys/unix"

// sleepingCalls are the system calls in which threads sleep with a time limit, and which
// CRIU has end with EINTR.
func sleepingCalls() map[int64]string {
	return map[int64]string{
		unix.SYS_NANOSLEEP: "nanosleep", unix.SYS_CLOCK_NANOSLEEP: "clock_nanosleep", unix.SYS_POLL: "poll",
		unix.SYS_FUTEX: "futex", unix.SYS_EPOLL_WAIT: "epoll_wait", unix.SYS_EPOLL_PWAIT: "epoll_pwait",
		unix.SYS_EPOLL_PWAIT2: "epoll_pwait2", unix.SYS_RT_SIGTIMEDWAIT: "sigtimedwait", unix.SYS_SEMTIMEDOP: "semtimedop",
		unix.SYS_RECVFROM: "recv", unix.SYS_RECVMSG: "recvmsg", unix.SYS_READ: "read", unix.SYS_ACCEPT: "accept",
		unix.SYS_ACCEPT4: "accept4", unix.SYS_RESTART_SYSCALL: "restart_syscall",
	}
}
