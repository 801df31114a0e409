// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// traceForEver attaches, runs batches in all threads and lets go, again and
// again. It says on standard output which thread it is, and waits for a byte on
// standard input before it begins.
func traceForEver(tr *ptrace.Tracer, pid int) error {
	fmt.Println(unix.Gettid())
	if _, err := unix.Read(0, make([]byte, 1)); err != nil {
		return err
	}
	for {
		threads, err := stopAll(tr, pid)
		if err != nil {
			return err
		}
		r, err := Attach(threads[0])
		if err != nil {
			return err
		}
		if os.Getenv(steppingVariable) != "" {
			r.signal = 0
		}
		for range 3 {
			for _, th := range threads {
				if err := r.RunIn(th, getpids(50)); err != nil {
					return err
				}
			}
		}
		if err := r.Close(); err != nil {
			return err
		}
		if err := letGo(threads); err != nil {
			return err
		}
	}
}

// steppingVariable has the tracer make each call by itself.
const steppingVariable = "CRTIME_TEST_STEPPING"

// killTracer starts a tracer of the process, lets it come to one of its system
// calls, chosen at random, and kills it there or a little later.
func killTracer(t *testing.T, pid int, environment ...string) (where string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), tracerVariable+"="+itoa(pid)), environment...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	tid, err := strconv.Atoi(lines.Text())
	if err != nil {
		t.Fatalf("the tracer says %q", lines.Text())
	}
	traced(t, func(tr *ptrace.Tracer) error {
		th, err := tr.Seize(tid)
		if err != nil {
			return err
		}
		where, err = killAtCall(tr, th, cmd, in)
		return errors.Join(err, ignoreGone(awaitGone(th)))
	})
	if lines.Scan() {
		t.Errorf("the tracer failed: %s", lines.Text())
	}
	cmd.Wait()
	return where
}

// cycle is about as many stops as a tracer makes from one attach to the next: two
// for each system call.
const cycle = 800

// killAtCall has the tracer th begin and kills it, and says in which system call.
func killAtCall(tr *ptrace.Tracer, th *ptrace.Thread, cmd *exec.Cmd, begin io.Writer) (where string, err error) {
	if err := th.Interrupt(); err != nil {
		return "", err
	}
	if _, err := th.Wait(); err != nil {
		return "", err
	}
	if _, err := begin.Write([]byte{1}); err != nil {
		return "", err
	}
	sig, err := runTo(tr, th, rand.IntN(cycle))
	if err != nil {
		return "", err
	}
	regs, err := th.Registers()
	if err != nil {
		return "", err
	}
	where = fmt.Sprintf("at call %d with %#x, result %d", regs.SyscallNumber(), regs.Args(), regs.Result())
	if rand.IntN(2) == 0 {
		// Between two calls, or in the middle of one.
		if err := th.Continue(sig); err != nil {
			return where, err
		}
		delay := time.Duration(rand.Int64N(int64(200 * time.Microsecond)))
		where += fmt.Sprint(", ", delay, " later")
		for start := time.Now(); time.Since(start) < delay; { // A sleep would be too coarse.
		}
	}
	return where, cmd.Process.Kill()
}

// runTo lets a thread run through n beginnings and ends of system calls. sig is a
// signal to give to it.
func runTo(tr *ptrace.Tracer, th *ptrace.Thread, n int) (sig unix.Signal, err error) {
	for n > 0 {
		if err := th.ContinueToSyscall(sig); err != nil {
			return 0, err
		}
		s, err := th.Wait()
		if err != nil {
			return 0, err
		}
		sig = 0
		switch s.Kind {
		case ptrace.SyscallStop:
			n--
		case ptrace.SignalStop:
			sig = s.Signal
		case ptrace.EventStop:
			// A further thread, as Go makes them.
			other := tr.Adopt(int(s.Message))
			if _, err := other.Wait(); err != nil {
				return 0, err
			}
			if err := other.Detach(0); err != nil {
				return 0, err
			}
		default:
		}
	}
	return sig, nil
}

// awaitGone waits for the end of a thread.
func awaitGone(th *ptrace.Thread) error {
	for {
		if _, err := th.Wait(); err != nil {
			return err
		}
	}
}

// tellsCall reports whether the code in which a process waits says which system call
// it makes; see calledBefore.
func tellsCall(t *testing.T, pid int) (told bool) {
	t.Helper()
	err := ptrace.Run(func(tr *ptrace.Tracer) error {
		th, err := tr.Seize(pid)
		if err != nil {
			return err
		}
		if err := errors.Join(th.Interrupt(), awaitInterrupted(th)); err != nil {
			return err
		}
		regs, err := th.Registers()
		if err != nil {
			return err
		}
		_, told = calledBefore(pid, regs.PC())
		return th.Detach(0)
	})
	if err != nil {
		t.Fatal(err)
	}
	return told
}

// killsVariable says how many tracers of each process are killed.
const killsVariable = "CRTIME_TEST_KILLS"

func TestKilledTracer(t *testing.T) {
	rounds := 20
	if n, err := strconv.Atoi(os.Getenv(killsVariable)); err == nil {
		rounds = n
	}
	tests := []struct {
		name        string
		program     string
		flags, args []string
		environment []string
		progress    uint64
		stop        bool // It is stopped by a signal while it is traced.
	}{
		{name: "computing", program: "loop.c", progress: 3},
		{name: "computing static", program: "loop.c", flags: []string{"-static"}, progress: 3},
		{name: "stepping", program: "loop.c", progress: 3, environment: []string{steppingVariable + "=1"}},
		{name: "stopped", program: "loop.c", progress: 3, stop: true},
		{name: "goroutines", program: "gotarget", progress: 100},
		{name: "read", program: "blocked.c", args: []string{"read"}, progress: 2},
		{name: "epoll", program: "blocked.c", args: []string{"epoll"}, progress: 2},
		{name: "nanosleep", program: "blocked.c", args: []string{"nanosleep"}, progress: 2},
		{name: "poll", program: "blocked.c", args: []string{"poll"}, progress: 2},
		{name: "futex", program: "blocked.c", args: []string{"futex"}, progress: 2},
		{name: "futex inline", program: "blocked.c", args: []string{"futex-inline"}, progress: 2},
		{name: "sigsuspend", program: "blocked.c", args: []string{"sigsuspend"}, progress: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.program == "blocked.c" {
				t.Parallel() // They do nothing most of the time.
			}
			x := start(t, build(t, test.program, test.flags...), test.args...)
			told := test.program == "blocked.c" && tellsCall(t, x.PID)
			where := ""
			defer func() {
				if t.Failed() {
					t.Logf("the last tracer was killed %s", where)
				}
			}()
			for range rounds {
				if test.stop {
					unix.Kill(x.PID, unix.SIGSTOP)
				}
				where = killTracer(t, x.PID, test.environment...)
				if test.stop {
					unix.Kill(x.PID, unix.SIGCONT)
				}
				x.Progress(test.progress)
			}
			if n := x.Word(3); n != 0 && told && test.name != "epoll" {
				t.Errorf("%d calls failed with EINTR, although the code says which they are", n)
			} else if n != 0 {
				t.Logf("%d calls failed with EINTR: their tracer was killed before it could mend them, or they could not be told", n)
			}
			left, err := readMappings(x.PID)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, m := range left {
				if m.executable() && m.name == "" && m.end-m.start == codeSize {
					n++
				}
			}
			t.Logf("%d of %d tracers were killed while their area was mapped", n, rounds)
			if n == 0 {
				t.Error("no tracer was killed while its area was mapped: the test shows nothing")
			}
		})
	}
}
