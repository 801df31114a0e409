// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestLimited says of each call with a time limit who knows what is left of it, where
// the limit is, and how long the call was to wait if that can be told.
func TestLimited(t *testing.T) {
	const (
		eintr   = -int64(unix.EINTR)
		forever = ^uint64(0)
		pointer = 0x1000
		milli   = 1_000_000
	)
	tests := []struct {
		name     string
		number   int64
		result   int64
		args     [6]uint64
		want     Limit
		argument int
		whole    int64
	}{
		{"nanosleep", unix.SYS_NANOSLEEP, restartBlocked, [6]uint64{pointer}, SleepLimit, -1, 0},
		{"clock_nanosleep", unix.SYS_CLOCK_NANOSLEEP, restartBlocked, [6]uint64{1, 0, pointer}, SleepLimit, -1, 0},
		{"absolute", unix.SYS_CLOCK_NANOSLEEP, restartNoHand, [6]uint64{1, 1, pointer}, NoLimit, -1, 0},
		{"poll", unix.SYS_POLL, restartBlocked, [6]uint64{pointer, 1, 5}, PollLimit, -1, 5 * milli},
		{"ppoll", unix.SYS_PPOLL, restartNoHand, [6]uint64{pointer, 1, pointer}, TimerLimit, 2, 0},
		{"ppoll for ever", unix.SYS_PPOLL, restartNoHand, [6]uint64{pointer, 1, 0}, NoLimit, -1, 0},
		{"select", unix.SYS_SELECT, restartNoHand, [6]uint64{0, 0, 0, 0, pointer}, TimerLimit, 4, 0},
		{"select for ever", unix.SYS_SELECT, restartNoHand, [6]uint64{}, NoLimit, -1, 0},
		{"pselect6", unix.SYS_PSELECT6, restartNoHand, [6]uint64{0, 0, 0, 0, pointer}, TimerLimit, 4, 0},
		{"futex", unix.SYS_FUTEX, restartBlocked, [6]uint64{pointer, 128}, FutexLimit, -1, 0},
		{"absolute futex", unix.SYS_FUTEX, restartBlocked, [6]uint64{pointer, 128 | 9}, NoLimit, -1, 0},
		{"epoll_wait", unix.SYS_EPOLL_WAIT, restartNoHand, [6]uint64{3, pointer, 1, 7}, TimerLimit, 3, 7 * milli},
		{"epoll_wait at once", unix.SYS_EPOLL_WAIT, restartNoHand, [6]uint64{3, pointer, 1, 0}, TimerLimit, 3, 0},
		{"epoll_wait for ever", unix.SYS_EPOLL_WAIT, restartNoHand, [6]uint64{3, pointer, 1, forever}, NoLimit, -1, 0},
		{"epoll_pwait", unix.SYS_EPOLL_PWAIT, eintr, [6]uint64{3, pointer, 1, 7}, TimerLimit, 3, 7 * milli},
		{"epoll_pwait2", unix.SYS_EPOLL_PWAIT2, restartNoHand, [6]uint64{3, pointer, 1, pointer}, TimerLimit, 3, 0},
		{"sigtimedwait", unix.SYS_RT_SIGTIMEDWAIT, restartNoHand, [6]uint64{pointer, 0, pointer}, TimerLimit, 2, 0},
		{"sigwaitinfo", unix.SYS_RT_SIGTIMEDWAIT, restartNoHand, [6]uint64{pointer}, NoLimit, -1, 0},
		{"semtimedop", unix.SYS_SEMTIMEDOP, restartNoHand, [6]uint64{0, pointer, 1, pointer}, TimerLimit, 3, 0},
		{"read", unix.SYS_READ, restartNoHand, [6]uint64{3, pointer, 1}, SocketLimit, -1, 0},
		{"read of no socket", unix.SYS_READ, restartSys, [6]uint64{3, pointer, 1}, NoLimit, -1, 0},
		{"sendmsg", unix.SYS_SENDMSG, eintr, [6]uint64{3, pointer}, SocketLimit, -1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := call{number: tt.number, result: tt.result, args: tt.args}
			equal(t, "limit", c.limited(), tt.want)
			equal(t, "argument", c.limitArgument(), tt.argument)
			equal(t, "whole", c.whole(), tt.whole)
			if tt.want != NoLimit && !MayBeLimited(tt.number) && !MayWaitForSocket(tt.number) {
				t.Error("nobody would look at it")
			}
		})
	}
}
