// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestFolded(t *testing.T) {
	const pc = 0x1000
	tests := []struct {
		name           string
		nr             int64
		args           [6]uint64
		result         int64
		want, handled  int64 // The result register afterwards.
		repeats, again bool  // Whether it is before the call then, and with a handler.
	}{
		{name: "no call", nr: -1, result: -errRestartSys, want: -errRestartSys, handled: -errRestartSys},
		{name: "a call that has ended", nr: unix.SYS_READ, result: 7, want: 7, handled: 7},
		{name: "read", nr: unix.SYS_READ, result: -errRestartSys, want: unix.SYS_READ, repeats: true, handled: unix.SYS_READ, again: true},
		{name: "pause", nr: unix.SYS_PAUSE, result: -errRestartNoHand, want: unix.SYS_PAUSE, repeats: true, handled: -int64(unix.EINTR)},
		{name: "nanosleep", nr: unix.SYS_NANOSLEEP, result: -errRestartBlock, want: unix.SYS_NANOSLEEP, repeats: true, handled: -int64(unix.EINTR)},
		{name: "nobody knows what", nr: unix.SYS_RESTART_SYSCALL, result: -errRestartBlock, want: -int64(unix.EINTR), handled: -int64(unix.EINTR)},
		{
			name: "epoll_wait for ever", nr: unix.SYS_EPOLL_WAIT, args: [6]uint64{0, 0, 0, 1<<32 - 1}, result: -int64(unix.EINTR),
			want: unix.SYS_EPOLL_WAIT, repeats: true, handled: -int64(unix.EINTR),
		},
		{
			name: "epoll_wait for a while", nr: unix.SYS_EPOLL_WAIT, args: [6]uint64{0, 0, 0, 1000}, result: -int64(unix.EINTR),
			want: unix.SYS_EPOLL_WAIT, repeats: true, handled: -int64(unix.EINTR),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s State
			s.Registers.SetCall(uint64(test.nr), test.args)
			s.Registers.SetSyscallNumber(test.nr)
			s.Registers.SetResult(test.result)
			s.Registers.SetPC(pc)
			s = s.mended()
			if got, want := s.Folded(), outcome(pc, test.want, test.repeats); got.Registers != keepArgs(want, s).Registers {
				t.Errorf("folded: %+v, want %+v", got.Registers, want.Registers)
			}
			if got, want := s.foldedForHandler(), outcome(pc, test.handled, test.again); got.Registers != keepArgs(want, s).Registers {
				t.Errorf("with a handler: %+v, want %+v", got.Registers, want.Registers)
			}
		})
	}
}

// outcome is a state in no call, with a result or before the call that it repeats.
func outcome(pc uint64, result int64, repeats bool) State {
	if repeats {
		pc -= syscallSize
	}
	var s State
	s.Registers.SetPC(pc)
	s.Registers.SetResult(result)
	s.Registers.SetSyscallNumber(-1)
	return s
}

// keepArgs gives a state the arguments of another one.
func keepArgs(s, from State) State {
	r := s.Registers
	s.Registers = from.Registers
	s.Registers.SetPC(r.PC())
	s.Registers.SetResult(r.Result())
	s.Registers.SetSyscallNumber(r.SyscallNumber())
	return s
}
