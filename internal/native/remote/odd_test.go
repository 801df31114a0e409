// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/proc"
)

// TestOddTargets attaches to processes in which system calls are hard to run. It
// works, or is refused with the reason; either way they go on.
func TestOddTargets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind   string
		why    string // Of the *TargetError. "": it works.
		errno  unix.Errno
		thread bool // The refusal is another thread's, not the leader's.
	}{
		{kind: "seccomp", why: "seccomp filter"},
		{kind: "seccomp thread", why: "seccomp filter", thread: true},
		{kind: "mdwe"},
		{kind: "address space", why: "RLIMIT_AS", errno: unix.ENOMEM},
		{kind: "full", why: "no hole"},
		{kind: "dispatch", why: "PR_SET_SYSCALL_USER_DISPATCH"},
		{kind: "signals"},
	}
	program := build(t, "odd.c")
	for _, test := range tests {
		t.Run(test.kind, func(t *testing.T) {
			t.Parallel()
			if _, err := unix.PrctlRetInt(unix.PR_GET_MDWE, 0, 0, 0, 0); test.kind == "mdwe" && err != nil {
				t.Skipf("this kernel has no PR_SET_MDWE, which came with Linux 6.3: %v", err)
			}
			x := start(t, program, test.kind)
			for range 5 {
				var err error
				traced(t, func(tr *ptrace.Tracer) error {
					threads, stopped := stopAll(tr, x.PID)
					if stopped != nil {
						return stopped
					}
					err = runEverywhere(threads, test.thread)
					return letGo(threads)
				})
				checkRefusal(t, err, test.why, test.errno)
				x.Progress(1000)
			}
		})
	}
}

// runEverywhere attaches, runs a batch in the leader and then one in all other
// threads. expected says that the latter may be refused.
func runEverywhere(threads []*ptrace.Thread, expected bool) error {
	r, err := Attach(threads[0])
	if err != nil {
		return err
	}
	err = r.Run(getpids(500))
	if err != nil && expected {
		err = errors.New("the first thread is refused: " + err.Error())
	}
	for _, th := range threads[1:] {
		if err == nil {
			err = r.RunIn(th, getpids(500))
		}
	}
	return errors.Join(err, r.Close())
}

// checkRefusal checks the error of Attach.
func checkRefusal(t *testing.T, err error, why string, errno unix.Errno) {
	t.Helper()
	var refused *TargetError
	switch {
	case why == "" && err != nil:
		t.Errorf("it is refused: %v", err)
	case why != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Why, why)):
		t.Errorf("error %v; want a TargetError about %q", err, why)
	case errno != 0 && !errors.Is(err, errno):
		t.Errorf("error %v; want %v", err, errno)
	}
}

// TestBareTarget has no code to which a signal handler would return.
func TestBareTarget(t *testing.T) {
	x := start(t, build(t, "bare.c", "-nostdlib", "-static"))
	for range 5 {
		use(t, x.PID, func(r *Runner, _ []*ptrace.Thread) error {
			if r.Guarded() {
				t.Error("it is guarded: the test does not show what it should")
			}
			return r.Run(getpids(500))
		})
		x.Progress(1000)
	}
}

func TestNarrowTarget(t *testing.T) {
	program := build(t, "bare.c", "-nostdlib", "-static", "-ffreestanding", "-m32")
	if err := exec.Command(program).Start(); errors.Is(err, unix.ENOEXEC) {
		t.Skip("this kernel runs no 32-bit programs")
	}
	x := start(t, program)
	traced(t, func(tr *ptrace.Tracer) error {
		threads, err := stopAll(tr, x.PID)
		if err != nil {
			return err
		}
		_, err = Attach(threads[0])
		checkRefusal(t, err, "32-bit", 0)
		return letGo(threads)
	})
	x.Progress(1000)
}

// TestStoppedTarget uses a process that SIGSTOP has stopped, and leaves it so.
func TestStoppedTarget(t *testing.T) {
	x := start(t, build(t, "loop.c"))
	for range 5 {
		if err := unix.Kill(x.PID, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		use(t, x.PID, func(r *Runner, _ []*ptrace.Thread) error { return r.Run(getpids(500)) })
		// It is let go for as long as it takes to stop again.
		rounds := x.Word(0)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			st, err := proc.ReadStat(x.PID)
			if err != nil {
				t.Fatal(err)
			}
			if st.State == 'T' {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("it does not stay stopped:\n%s", x.Status())
			}
		}
		if now := x.Word(0); now != rounds {
			t.Errorf("it has made %d rounds although it was stopped", now-rounds)
		}
		if err := unix.Kill(x.PID, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		x.Progress(3)
	}
}

// TestKilledTarget has a process end while calls are made in it.
func TestKilledTarget(t *testing.T) {
	for round := range 20 {
		x := start(t, build(t, "loop.c"))
		traced(t, func(tr *ptrace.Tracer) error {
			threads, err := stopAll(tr, x.PID)
			if err != nil {
				return err
			}
			r, err := Attach(threads[0])
			if err != nil {
				return err
			}
			calls := getpids(10)
			calls[5] = Call{Name: "kill", Nr: unix.SYS_KILL, Args: [6]uint64{uint64(x.PID), uint64(unix.SIGKILL)}}
			if round%2 == 0 {
				r.signal = 0 // Call by call.
			}
			if err := r.Run(calls); !errors.Is(err, ptrace.ErrGone) {
				t.Errorf("Run: %v, want ErrGone", err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("Close of a process that is gone: %v", err)
			}
			return nil
		})
	}
}

// TestStubKilled has stubs killed from outside at any moment.
func TestStubKilled(t *testing.T) {
	for range 20 {
		traced(t, func(tr *ptrace.Tracer) error {
			s, err := Spawn(tr, freePID(t, 31000), testArea)
			if err != nil {
				return err
			}
			pidfd, err := unix.PidfdOpen(s.PID(), 0)
			if err != nil {
				return err
			}
			defer unix.Close(pidfd)
			go unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			for i := 0; err == nil; i++ {
				if i < pidRun/2 {
					_, err = s.NewThreads([]int{s.PID() + 2*i + 1, s.PID() + 2*i + 2})
				} else {
					err = s.Run(getpids(300))
				}
			}
			if !errors.Is(err, ptrace.ErrGone) && !errors.Is(err, unix.ESRCH) {
				t.Errorf("the stub was killed: %v; want ErrGone", err)
			}
			if err := s.Leave(nil); err == nil {
				t.Error("Leave of a process that is gone: no error")
			}
			return s.Kill()
		})
	}
}

// TestMendAllThreads has a thread wait in epoll_wait while only the leader is
// used.
func TestMendAllThreads(t *testing.T) {
	x := start(t, build(t, "blocked.c"), "epoll-thread")
	for range 20 {
		use(t, x.PID, func(r *Runner, threads []*ptrace.Thread) error {
			if len(threads) != 2 {
				t.Errorf("%d threads, want 2", len(threads))
			}
			if _, err := r.Original(threads[1]); err != nil {
				return err
			}
			return r.Run(getpids(100))
		})
		x.Progress(1)
	}
	if n := x.Word(3); n != 0 {
		t.Errorf("%d calls failed with EINTR because of the stop", n)
	}
}
