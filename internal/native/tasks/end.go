// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// coreFlag marks a wait status of a process that dumped core, see WCOREDUMP in
// wait(2).
const coreFlag = 0x80

// ExitError says that a process has ended with another wait status than it was
// to. It is a zombie as it should be.
type ExitError struct {
	PID       int
	Want, Got uint32
}

// Error says what the difference is.
func (e *ExitError) Error() string {
	if e.Want == e.Got|coreFlag {
		return fmt.Sprintf("zombie %d is to have dumped core, and no core could be made to vanish here (kernel.core_pattern hands it to a program, or the limit of its size is 0): its wait status is %#x instead of %#x", e.PID, e.Got, e.Want)
	}
	return fmt.Sprintf("zombie %d has the wait status %#x instead of %#x", e.PID, e.Got, e.Want)
}

// End ends a stub, so that it is a zombie with a name and a wait status until its
// parent collects it. The status may be that of an exit or of a death by signal, and in
// the latter case say that a core was dumped. No core is left behind.
//
// An *ExitError says that the zombie is there and its status is another; in practice
// that is a lost core flag.
func End(stub *remote.Stub, name string, status uint32) error {
	if err := checkStatus(status); err != nil {
		return err
	}
	if err := end(stub, name, unix.WaitStatus(status)); err != nil {
		return fmt.Errorf("end process %d with wait status %#x: %w", stub.PID(), status, err)
	}
	got, err := exitCode(stub.PID())
	if err != nil {
		return err
	}
	if got != status {
		return &ExitError{PID: stub.PID(), Want: status, Got: got}
	}
	return nil
}

// end does the work of End.
func end(stub *remote.Stub, name string, ws unix.WaitStatus) error {
	b := newBatch(stub)
	comm, err := b.put(append([]byte(name), 0))
	if err != nil {
		return err
	}
	b.must("set its name to %q", name).call(unix.SYS_PRCTL, unix.PR_SET_NAME, comm)
	if !ws.Exited() {
		return exitBySignal(stub, b, ws)
	}
	b.must("exit").call(unix.SYS_EXIT_GROUP, uint64(ws.ExitStatus()))
	if err := b.run(nil); err == nil {
		return errors.New("it did not exit")
	} else if !errors.Is(err, ptrace.ErrGone) {
		return err
	}
	return nil
}

// checkStatus refuses a wait status that no process can end with.
func checkStatus(status uint32) error {
	ws := unix.WaitStatus(status)
	switch {
	case status>>16 != 0, !ws.Exited() && !ws.Signaled():
	case ws.Exited():
		return nil
	case status>>8 == 0 && deadly(ws.Signal()) && (status&coreFlag == 0 || dumpsCore(ws.Signal())):
		return nil
	}
	return fmt.Errorf("the image has the wait status %#x, with which no process ends", status)
}

// deadly reports whether a signal ends a process that does nothing about it, as
// signal(7) has it.
func deadly(sig unix.Signal) bool {
	switch sig {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return false
	default:
		return sig >= 1 && sig <= signals
	}
}

// dumpsCore reports whether a signal dumps core by default.
func dumpsCore(sig unix.Signal) bool {
	switch sig {
	case unix.SIGQUIT, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGSYS:
		return true
	default:
		return false
	}
}

// exitBySignal has a stub make the calls of b and die of a signal.
func exitBySignal(stub *remote.Stub, b *batch, ws unix.WaitStatus) error {
	sig := ws.Signal()
	if sig == unix.SIGKILL {
		if err := b.run(nil); err != nil {
			return err
		}
		return stub.Kill()
	}
	action, err := b.put(sigaction{}.bytes())
	if err != nil {
		return err
	}
	b.must("set the default action of signal %d", int(sig)).call(unix.SYS_RT_SIGACTION, uint64(sig), action, 0, maskSize)
	dumpable := uint64(0)
	if ws.CoreDump() {
		cell, err := newCell(stub, b)
		if err != nil {
			return err
		}
		defer cell.remove()
		if cell.dir != "" {
			dumpable = 1
		}
	}
	b.must("dump core or not").call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, dumpable)
	if err := b.run(nil); err != nil {
		return err
	}
	return dieOf(stub, sig)
}

// dieOf sends a signal to a stub that has the default action for it, and waits for
// the end.
func dieOf(stub *remote.Stub, sig unix.Signal) error {
	th := stub.Thread
	if err := th.SetSignalMask(^uint64(0) &^ (1 << (sig - 1))); err != nil {
		return err
	}
	if err := unix.Tgkill(stub.PID(), stub.PID(), sig); err != nil {
		return fmt.Errorf("send signal %d: %w", int(sig), err)
	}
	pass := unix.Signal(0)
	for {
		if err := th.Continue(pass); err != nil {
			return err
		}
		s, err := th.Wait()
		if errors.Is(err, ptrace.ErrGone) {
			return nil
		}
		if err != nil {
			return err
		}
		// Another one is nobody's business: it would be told to a process that is
		// to be dead.
		if pass = 0; s.Kind == ptrace.SignalStop && s.Signal == sig {
			pass = sig
		}
	}
}

// cell is a directory that is a dying process's root, so that its core falls into
// it and can be thrown away. dir is "" where no core can be caught.
type cell struct{ dir string }

// newCell makes a cell and adds the calls that put a stub into it, without the
// memory that it may have from its parent.
func newCell(stub *remote.Stub, b *batch) (*cell, error) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		return nil, err
	}
	into, ok := coreFolder(strings.TrimSuffix(string(pattern), "\n"))
	if !ok || !roomForCore(stub.PID()) {
		return &cell{}, nil
	}
	dir, err := os.MkdirTemp("", "crtime-core-")
	if err != nil {
		return nil, err
	}
	c := &cell{dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, into), 0o700); err != nil {
		c.remove()
		return nil, err
	}
	path, err := b.put(append([]byte(dir), 0))
	if err != nil {
		c.remove()
		return nil, err
	}
	start, end := stub.Area()
	b.must("unmap all below the stub").call(unix.SYS_MUNMAP, 0, start)
	b.must("unmap all above the stub").call(unix.SYS_MUNMAP, end, highestAddress-end)
	b.must("change its directory to %s", dir).call(unix.SYS_CHDIR, path)
	b.must("change its root to %s", dir).call(unix.SYS_CHROOT, path)
	return c, nil
}

// remove removes the cell with what is in it.
func (c *cell) remove() {
	if c.dir != "" {
		// What is left is an empty core in the directory of temporary files.
		_ = os.RemoveAll(c.dir)
	}
}

// coreFolder is the directory into which a pattern of core(5) puts cores, below
// the process's root; false: it is not known, or a program gets them.
func coreFolder(pattern string) (string, bool) {
	if pattern == "" || pattern[0] == '|' || pattern[0] == '@' {
		return "", false
	}
	dir := filepath.Dir(pattern)
	return dir, !strings.Contains(dir, "%") && !strings.Contains(dir, "..")
}

// roomForCore lets a stub dump a small core, and reports whether it may.
func roomForCore(pid int) bool {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &limit); err != nil {
		return false
	}
	limit.Cur = min(limit.Max, 1<<20)
	if err := unix.Prlimit(pid, unix.RLIMIT_CORE, &limit, nil); err != nil || limit.Cur < 1<<16 {
		return false
	}
	// None of its memory, see core(5).
	return os.WriteFile(fmt.Sprintf("/proc/%d/coredump_filter", pid), []byte("0"), 0) == nil
}
