// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// testArea is where the stubs of the tests live: nothing else does.
const testArea = 0x10_0000_0000

// freePID finds a process number that nobody has, nor the pidRun after it.
func freePID(t testing.TB, from int) int {
	t.Helper()
	free := 0
	for pid := from; pid < from+5000; pid++ {
		free++
		if _, err := os.Stat("/proc/" + itoa(pid)); !errors.Is(err, fs.ErrNotExist) {
			free = 0
		}
		if free > pidRun {
			return pid - pidRun
		}
	}
	t.Error("no free process numbers")
	return 0
}

// pidRun is how many numbers after its own a test uses.
const pidRun = 128

func TestSpawn(t *testing.T) {
	pid := freePID(t, 20000)
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, pid, testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		all, err := readMappings(pid)
		if err != nil {
			return err
		}
		for _, m := range all {
			if (m.start < testArea || m.end > testArea+AreaSize) && m.name != "[vsyscall]" {
				t.Errorf("mapping %#x-%#x %s was left", m.start, m.end, m.name)
			}
		}
		calls := []Call{{Name: "getpid", Nr: unix.SYS_GETPID}, {Name: "getppid", Nr: unix.SYS_GETPPID}}
		if err := s.Run(calls); err != nil {
			return err
		}
		if int(calls[0].Ret) != pid || int(calls[1].Ret) != os.Getpid() {
			t.Errorf("getpid, getppid = %d, %d; want %d, %d", calls[0].Ret, calls[1].Ret, pid, os.Getpid())
		}
		fds, err := os.ReadDir("/proc/" + itoa(pid) + "/fd")
		if err != nil || len(fds) != 0 {
			t.Errorf("open files: %v, %v; want none", fds, err)
		}
		if _, err := Spawn(tr, pid, testArea); !errors.Is(err, ErrPIDTaken) {
			t.Errorf("a second Spawn with the same number: %v, want ErrPIDTaken", err)
		}
		return nil
	})
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d is still there after Kill: %v", pid, err)
	}
}

func TestForkThreeDeep(t *testing.T) {
	pid := freePID(t, 21000)
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, pid, testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		// Something that the children inherit, by address.
		at, err := s.Alloc(16)
		if err != nil {
			return err
		}
		if err := s.Write(at, []byte("inherited")); err != nil {
			return err
		}
		parent := s
		for depth := 1; depth <= 3; depth++ {
			child, err := parent.Fork(pid+100+depth, 0)
			if err != nil {
				return err
			}
			defer child.Kill()
			calls := []Call{{Name: "getpid", Nr: unix.SYS_GETPID}, {Name: "getppid", Nr: unix.SYS_GETPPID}}
			if err := child.Run(calls); err != nil {
				return err
			}
			if int(calls[0].Ret) != pid+100+depth || int(calls[1].Ret) != parent.PID() {
				t.Errorf("depth %d: pid %d, parent %d; want %d, %d", depth, calls[0].Ret, calls[1].Ret, pid+100+depth, parent.PID())
			}
			b := make([]byte, 9)
			if err := child.Read(at, b); err != nil || string(b) != "inherited" {
				t.Errorf("depth %d: memory is %q, %v", depth, b, err)
			}
			// What the child writes is its own.
			if err := child.Write(at, []byte("changed!!")); err != nil {
				return err
			}
			if err := parent.Read(at, b); err != nil || string(b) != "inherited" {
				t.Errorf("depth %d: the parent's memory became %q, %v", depth, b, err)
			}
			if err := child.Write(at, []byte("inherited")); err != nil {
				return err
			}
			// The parent is of use as before.
			if err := parent.Run(calls); err != nil || int(calls[0].Ret) != parent.PID() {
				t.Errorf("depth %d: the parent then says it is %d, %v", depth, calls[0].Ret, err)
			}
			parent = child
		}
		if _, err := s.Fork(pid+102, 0); !errors.Is(err, ErrPIDTaken) {
			t.Errorf("Fork with a number in use: %v, want ErrPIDTaken", err)
		}
		return nil
	})
}

// setMemory maps a page of code and one of data into a stub.
func setMemory(s *Stub, code []byte) (text, data uint64, err error) {
	text, data = 0x20_0000_0000, 0x20_0000_1000
	calls := []Call{
		{Name: "mmap", Nr: unix.SYS_MMAP, Args: [6]uint64{text, 2 * pageSize, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED, ^uint64(0)}, Must: true},
	}
	if err := s.Run(calls); err != nil {
		return 0, 0, err
	}
	if err := s.Write(text, code); err != nil {
		return 0, 0, err
	}
	return text, data, s.Run([]Call{{Name: "mprotect", Nr: unix.SYS_MPROTECT, Args: [6]uint64{text, pageSize, unix.PROT_READ | unix.PROT_EXEC}, Must: true}})
}

func TestFromAndMust(t *testing.T) {
	pid := freePID(t, 23000)
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, pid, testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		// A long batch goes through more than one table; the results of the first
		// table are used in the second.
		calls := []Call{
			{Name: "eventfd", Nr: unix.SYS_EVENTFD2, Args: [6]uint64{5}, Must: true},
			{Name: "dup to 40", Nr: unix.SYS_DUP3, Args: [6]uint64{0, 40}, From: [6]uint8{1}, Must: true},
			{Name: "close", Nr: unix.SYS_CLOSE, From: [6]uint8{1}},
		}
		for len(calls) < tableCalls+10 {
			calls = append(calls, Call{Name: "getpid", Nr: unix.SYS_GETPID})
		}
		calls = append(calls,
			Call{Name: "close again", Nr: unix.SYS_CLOSE, From: [6]uint8{2}},
			Call{Name: "close 40", Nr: unix.SYS_CLOSE, Args: [6]uint64{40}},
		)
		if err := s.Run(calls); err != nil {
			return err
		}
		for i := range calls[:len(calls)-1] {
			if err := calls[i].Err(); err != nil {
				t.Errorf("call %d: %v", i+1, err)
			}
		}
		if err := calls[len(calls)-1].Err(); !errors.Is(err, unix.EBADF) {
			t.Errorf("closing 40 once more: %v, want EBADF", err)
		}
		// Every argument in its place: pread and mmap take four and six.
		for arg := range 6 {
			batch := []Call{{Name: "getpid", Nr: unix.SYS_GETPID}, {Name: "close -1", Nr: unix.SYS_CLOSE, Args: [6]uint64{1 << 31}}}
			batch[1].From[arg] = 1
			if err := s.Run(batch); err != nil {
				return err
			}
		}
		calls = []Call{
			{Name: "close -1", Nr: unix.SYS_CLOSE, Args: [6]uint64{^uint64(0)}},
			{Name: "must close -1", Nr: unix.SYS_CLOSE, Args: [6]uint64{^uint64(0)}, Must: true},
			{Name: "getpid", Nr: unix.SYS_GETPID},
		}
		err = s.Run(calls)
		var failed *CallError
		if !errors.As(err, &failed) || failed.Name != "must close -1" || failed.Errno != unix.EBADF {
			t.Errorf("Run = %v, want EBADF of the second call", err)
		}
		if !calls[0].Done || !calls[1].Done || calls[2].Done {
			t.Errorf("done: %v, %v, %v; want all but the last", calls[0].Done, calls[1].Done, calls[2].Done)
		}
		if err := calls[2].Err(); !errors.Is(err, unix.ECANCELED) {
			t.Errorf("a call that was not made: %v, want ECANCELED", err)
		}
		if err := s.Run([]Call{{Name: "self", Nr: unix.SYS_GETPID, From: [6]uint8{1}}}); err == nil {
			t.Error("a call that needs its own result: no error")
		}
		return nil
	})
}
