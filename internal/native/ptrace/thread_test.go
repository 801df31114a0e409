// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// contextFor is a context with a limit.
func contextFor(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}

// TestSignalsDuringFreeze counts signals that come while the target is frozen
// and let go: each must arrive once, with its value.
func TestSignalsDuringFreeze(t *testing.T) {
	x := start(t, "signals", 4)
	const most = 3000
	sent, sum := uint64(0), uint64(0)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 1; i <= most; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := sigqueue(x.PID, unix.Signal(34), i); err != nil {
				time.Sleep(100 * time.Microsecond) // The queue is full while it is frozen.
				continue
			}
			sent++
			sum += uint64(i)
			time.Sleep(20 * time.Microsecond)
		}
	}()
	for range 100 {
		x.frozen(func(*Tracer, *Tree) error { return nil })
	}
	close(stop)
	<-ended
	for deadline := time.Now().Add(5 * time.Second); x.Word(2) < sent && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got := x.Word(2); got != sent || x.Word(3) != sum || sent == 0 {
		t.Errorf("%d signals came, %d were sent; sum of their values %d, want %d", got, sent, x.Word(3), sum)
	}
}

// TestPending reads signals that wait, with what came with them.
func TestPending(t *testing.T) {
	x := start(t, "pending", 0)
	if err := sigqueue(x.PID, unix.Signal(34), 41); err != nil {
		t.Fatal(err)
	}
	if err := sigqueue(x.PID, unix.Signal(34), 42); err != nil {
		t.Fatal(err)
	}
	if err := unix.Tgkill(x.PID, x.PID, unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	x.frozen(func(_ *Tracer, tree *Tree) error {
		th := tree.Processes[0].Leader()
		shared, err := th.Pending(true)
		if err != nil {
			return err
		}
		private, err := th.Pending(false)
		if err != nil {
			return err
		}
		if len(shared) != 2 || len(private) != 1 {
			t.Fatalf("got %d shared and %d private signals, want 2 and 1", len(shared), len(private))
		}
		for i, raw := range shared {
			info := SigInfo(raw)
			if value := binary.NativeEndian.Uint64(raw[24:]); info.Signal() != 34 || info.Code() != -1 || info.PID() != unix.Getpid() || value != uint64(41+i) {
				t.Errorf("shared signal %d: %v from %d with %d", i, info.Signal(), info.PID(), value)
			}
		}
		if info := SigInfo(private[0]); info.Signal() != unix.SIGUSR1 || info.PID() != unix.Getpid() {
			t.Errorf("private signal: %v from %d", info.Signal(), info.PID())
		}
		mask, err := th.SignalMask()
		if err != nil {
			return err
		}
		if mask != x.Word(2) {
			t.Errorf("the mask is %#x, want %#x", mask, x.Word(2))
		}
		if err := th.SetSignalMask(mask | 1<<(unix.SIGUSR2-1)); err != nil {
			return err
		}
		if now, err := th.SignalMask(); err != nil || now != mask|1<<(unix.SIGUSR2-1) {
			t.Errorf("the mask became %#x, %v", now, err)
		}
		return th.SetSignalMask(mask)
	})
	x.Progress(2)
}

// TestManyPending reads more signals than one request of the kernel's gives.
func TestManyPending(t *testing.T) {
	x := start(t, "pending", 0)
	const n = 16*3 + 5
	for i := range n {
		if err := sigqueue(x.PID, unix.Signal(34), i); err != nil {
			t.Fatal(err)
		}
	}
	x.frozen(func(_ *Tracer, tree *Tree) error {
		all, err := tree.Processes[0].Leader().Pending(true)
		if err != nil {
			return err
		}
		for i, raw := range all {
			if binary.NativeEndian.Uint64(raw[24:]) != uint64(i) {
				t.Errorf("signal %d has the value %d", i, binary.NativeEndian.Uint64(raw[24:]))
			}
		}
		if len(all) != n {
			t.Errorf("got %d signals, want %d", len(all), n)
		}
		return nil
	})
}

// TestRegisters reads, changes and puts back all registers of a thread that
// watches them.
func TestRegisters(t *testing.T) {
	x := start(t, "registers", 0)
	for range 20 {
		x.frozen(func(_ *Tracer, tree *Tree) error {
			th := tree.Processes[0].Leader()
			regs, err := th.Registers()
			if err != nil {
				return err
			}
			state, err := th.ExtendedState()
			if err != nil {
				return err
			}
			other := regs
			other.SetResult(77)
			other.SetSP(regs.SP() - 4096)
			other.SetCall(5, [6]uint64{1, 2, 3, 4, 5, 6})
			if err := th.SetRegisters(other); err != nil {
				return err
			}
			now, err := th.Registers()
			if err != nil {
				return err
			}
			if now != other || now.Args() != [6]uint64{1, 2, 3, 4, 5, 6} || now.SP() != regs.SP()-4096 || now.PC() != regs.PC() {
				t.Errorf("set %+v, got %+v", other, now)
			}
			damaged := bytes.Clone(state)
			for i := 160; i < 416; i++ { // The XMM registers.
				damaged[i] ^= 0xff
			}
			if err := th.SetExtendedState(damaged); err != nil {
				return err
			}
			if now, err := th.ExtendedState(); err != nil || !bytes.Equal(now, damaged) {
				t.Errorf("the extended state did not become what was set: %v", err)
			}
			if err := th.SetExtendedState(state); err != nil {
				return err
			}
			return th.SetRegisters(regs)
		})
		x.Progress(1000)
	}
}

// TestRSeq reads the registration that the C library has made.
func TestRSeq(t *testing.T) {
	x := start(t, "threads", 2)
	x.Progress(1000) // A thread registers when it begins.
	registers := true
	x.frozen(func(_ *Tracer, tree *Tree) error {
		seen := make(map[uint64]bool)
		for _, th := range tree.Threads() {
			r, err := th.RSeq()
			if err != nil {
				return err
			}
			if registers = registers && r.Pointer != 0; !registers {
				return nil
			}
			// glibc's signature on x86-64 and the size of the first version.
			if seen[r.Pointer] || r.Size < 32 || r.Signature == 0 || r.Flags != 0 {
				t.Errorf("got %+v", r)
			}
			seen[r.Pointer] = true
		}
		return nil
	})
	if !registers {
		t.Skip("this C library does not register for restartable sequences")
	}
}

// TestNotStopped asks a running thread, and one that is gone.
func TestNotStopped(t *testing.T) {
	x := start(t, "threads", 1)
	err := Run(func(tr *Tracer) error {
		th, err := tr.Seize(x.PID)
		if err != nil {
			return err
		}
		if _, err := th.Registers(); !errors.Is(err, ErrNotStopped) {
			t.Errorf("the registers of a running thread: %v", err)
		}
		if err := th.Detach(0); !errors.Is(err, ErrNotStopped) {
			t.Errorf("detach a running thread: %v", err)
		}
		if _, ok, err := th.Poll(); ok || err != nil {
			t.Errorf("poll a running thread: %v, %v", ok, err)
		}
		x.Progress(2)
		if err := th.Interrupt(); err != nil {
			return err
		}
		if s, err := th.Wait(); err != nil || s.Kind != Interrupted || !th.Stopped() {
			t.Errorf("got %+v, %v", s, err)
		}
		unix.Kill(x.PID, unix.SIGKILL)
		s, err := th.Wait()
		if !errors.Is(err, ErrGone) || s.Kind != Ended || s.Status.Signal() != unix.SIGKILL {
			t.Errorf("got %+v, %v", s, err)
		}
		for _, again := range []func() error{
			func() error { _, err := th.Registers(); return err },
			func() error { _, err := th.ExtendedState(); return err },
			func() error { _, err := th.Pending(true); return err },
			func() error { _, err := th.SignalMask(); return err },
			func() error { _, err := th.Wait(); return err },
			th.Interrupt,
			func() error { return th.Continue(0) },
			func() error { return th.Detach(0) },
		} {
			if err := again(); !errors.Is(err, ErrGone) {
				t.Errorf("a thread that is gone: %v", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOtherThread calls from a thread that is not the tracer's.
func TestOtherThread(t *testing.T) {
	x := start(t, "threads", 1)
	x.frozen(func(_ *Tracer, tree *Tree) error {
		done := make(chan error)
		go func() {
			_, err := tree.Processes[0].Leader().Registers()
			done <- err
		}()
		if err := <-done; err == nil || errors.Is(err, ErrGone) || errors.Is(err, ErrNotStopped) {
			t.Errorf("got %v", err)
		}
		return nil
	})
}

// TestReleaseKeepsSignal lets go a thread that has stopped for a signal which
// nobody has given to it yet.
func TestReleaseKeepsSignal(t *testing.T) {
	x := start(t, "signals", 1)
	err := Run(func(tr *Tracer) error {
		th, err := tr.Seize(x.PID)
		if err != nil {
			return err
		}
		if err := sigqueue(x.PID, unix.SIGUSR1, 5); err != nil {
			return err
		}
		if s, err := th.Wait(); err != nil || s.Kind != SignalStop || s.Signal != unix.SIGUSR1 {
			t.Errorf("got %+v, %v", s, err)
		}
		return nil // And let it go as it is.
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Progress(5)
	if x.Word(2) != 1 || x.Word(3) != 5 {
		t.Errorf("%d signals came, with %d", x.Word(2), x.Word(3))
	}
}
