// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/xsave"
)

func TestLeave(t *testing.T) {
	// first: wait until the word at r12 is not 0; exit_group(getpid() - r13)
	first := "\x41\x83\x3c\x24\x00" + // cmpl $0, (%r12)
		"\x74\xf9" + // je first
		"\xb8\x27\x00\x00\x00\x0f\x05" + // mov $39, %eax; syscall
		"\x44\x29\xe8" + // sub %r13d, %eax
		"\x89\xc7" + // mov %eax, %edi
		"\xb8\xe7\x00\x00\x00\x0f\x05" // mov $231, %eax; syscall
	// second: put r13 into the word at r12 if xmm3 has it as well; exit
	second := "\x66\x0f\x7e\xd8" + // movd %xmm3, %eax
		"\x41\x89\x04\x24" + // mov %eax, (%r12)
		"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05" // xor %edi, %edi; mov $60, %eax; syscall
	pid := freePID(t, 22000)
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, pid, testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		text, data, err := setMemory(s, []byte(first+second))
		if err != nil {
			return err
		}
		th, err := s.NewThread(pid + 50)
		if err != nil {
			return err
		}
		who := []Call{{Name: "gettid", Nr: unix.SYS_GETTID}, {Name: "getpid", Nr: unix.SYS_GETPID}}
		if err := s.RunIn(th, who); err != nil {
			return err
		}
		if int(who[0].Ret) != pid+50 || int(who[1].Ret) != pid {
			t.Errorf("thread says it is %d of %d, want %d of %d", who[0].Ret, who[1].Ret, pid+50, pid)
		}
		if err := s.Leave(nil); err == nil {
			t.Error("Leave without states: no error")
		}
		state, err := Capture(s.Thread)
		if err != nil {
			return err
		}
		state.Mask = bit(unix.SIGUSR1)
		state.Registers.SetPC(text)
		state.Registers.R12, state.Registers.R13 = data, uint64(pid)-42
		other := state
		other.Registers.SetPC(text + uint64(len(first)))
		// XMM3 is at 160 + 3*16 of the legacy area, SSE is bit 1 of what is in use.
		other.Extended = append([]byte(nil), state.Extended...)
		other.Extended[160+3*16] = 77
		other.Extended[xsave.LegacySize] |= 2
		if err := s.Leave(map[*ptrace.Thread]State{s.Thread: state, th: other}); err != nil {
			return err
		}
		all, err := readMappings(pid)
		if err != nil {
			return err
		}
		for _, m := range all {
			if m.start >= testArea && m.start < testArea+AreaSize {
				t.Errorf("after Leave there is still %#x-%#x", m.start, m.end)
			}
		}
		for _, th := range []*ptrace.Thread{s.Thread, th} {
			if mask, err := th.SignalMask(); err != nil || mask != bit(unix.SIGUSR1) {
				t.Errorf("thread %d has mask %#x, %v", th.TID, mask, err)
			}
			if err := th.Detach(0); err != nil {
				return err
			}
		}
		var ws unix.WaitStatus
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil {
			return err
		}
		if !ws.Exited() || ws.ExitStatus() != 42 {
			t.Errorf("the process ended with %#x, want exit status 42", int(ws))
		}
		return nil
	})
}
