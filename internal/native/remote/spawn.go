// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// spawnTries is how often Spawn starts its program: the kernel puts a new
// program's stack at a random place, which may be the area's.
const spawnTries = 4

// family says whose child a process is to be.
type family uint8

const (
	child   family = iota // Of the calling process.
	sibling               // Of its parent.
)

// parent is the process number of the parent.
func (f family) parent() int {
	if f == sibling {
		return os.Getppid()
	}
	return os.Getpid()
}

// flags are those of clone that make it so.
func (f family) flags() uint64 {
	if f == sibling {
		return unix.CLONE_PARENT
	}
	return 0
}

// exitSignal is what the parent gets at the end. A sibling's is that of this process, and
// clone3 wants none said.
func (f family) exitSignal() uint64 {
	if f == sibling {
		return 0
	}
	return uint64(unix.SIGCHLD)
}

// Spawn makes a child of the calling process with the process number pid, and
// the stub's area at the address area, a multiple of the page size.
//
// It inherits what exec does not change: credentials, limits, directories,
// namespaces, priority. The errors are those of Stub.Fork.
func Spawn(t *ptrace.Tracer, pid int, area uint64) (*Stub, error) {
	return spawn(t, newborn{pid, area, child})
}

// SpawnSibling is Spawn of a child of the calling process's parent. If crtime is killed
// in the few microseconds before it is traced, it stays until that parent ends.
func SpawnSibling(t *ptrace.Tracer, pid int, area uint64) (*Stub, error) {
	return spawn(t, newborn{pid, area, sibling})
}

// newborn is a process that is to be.
type newborn struct {
	pid  int
	area uint64 // Where the stub's is.
	of   family
}

// spawn makes it.
func spawn(t *ptrace.Tracer, n newborn) (*Stub, error) {
	code, _, err := stubCode()
	if err != nil {
		return nil, err
	}
	if n.area%pageSize != 0 || n.area < lowestAddress || n.area > highestAddress-AreaSize {
		return nil, fmt.Errorf("start process %d: no area can be at %#x", n.pid, n.area)
	}
	for range spawnTries {
		var s *Stub
		if s, err = n.spawnOnce(t, code); err == nil {
			return s, nil
		}
		// A sibling's corpse keeps the number until our parent takes notice.
		if !errors.Is(err, errCollision) || n.of == sibling {
			break
		}
	}
	return nil, fmt.Errorf("start process %d: %w", n.pid, err)
}

// errCollision says that the program was killed as it started.
var errCollision = errors.New("the kernel could not map the stub's program: its address is taken, perhaps by the stack")

// spawnOnce is one try.
func (n newborn) spawnOnce(t *ptrace.Tracer, code []byte) (*Stub, error) {
	program, err := writeProgram(n.area)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	if err := startProgram(n.pid, int(program.Fd()), n.of); err != nil {
		return nil, err
	}
	th, err := seizeChild(t, n.pid)
	if err != nil {
		killChild(n.pid)
		return nil, err
	}
	s, err := newStub(t, th, n.area)
	if err != nil {
		killChild(n.pid)
		return nil, err
	}
	if err := s.settleIn(code); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

// killChild ends a child that has no Stub yet.
func killChild(pid int) {
	// The child may be dead already; and there is nobody to tell.
	_ = unix.Kill(pid, unix.SIGKILL)
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// seizeChild stops the new program, which only waits.
func seizeChild(t *ptrace.Tracer, pid int) (*ptrace.Thread, error) {
	th, err := t.SeizeOwn(pid)
	if errors.Is(err, ptrace.ErrGone) {
		return nil, errCollision
	}
	if err != nil {
		return nil, err
	}
	if err := th.Interrupt(); err != nil {
		return nil, err
	}
	if err := awaitInterrupted(th); errors.Is(err, ptrace.ErrGone) {
		return nil, errCollision
	} else if err != nil {
		return nil, err
	}
	return th, nil
}

// awaitInterrupted waits for a stop that is on its way. Signals that come before
// are dropped: the process is ours, and new.
func awaitInterrupted(th *ptrace.Thread) error {
	for {
		stop, err := th.Wait()
		if err != nil {
			return err
		}
		if stop.Kind == ptrace.Interrupted {
			return nil
		}
		// Another stop, such as that after exec, takes the interruption's place.
		if err := th.Interrupt(); err != nil {
			return err
		}
		if err := th.Continue(0); err != nil {
			return err
		}
	}
}

// settleIn replaces the program by the area and takes away everything else.
func (s *Stub) settleIn(code []byte) error {
	if err := s.Thread.SetSignalMask(allSignals); err != nil {
		return err
	}
	regs, err := s.Thread.Registers()
	if err != nil {
		return err
	}
	for _, c := range s.settlingCalls() {
		regs = at(regs, s.area+programEntry, 0)
		regs.SetCall(uint64(c.Nr), c.Args)
		if c.Nr == unix.SYS_MPROTECT {
			// The instruction that the program consisted of is gone.
			if err := WriteCode(s.PID(), s.area+codeOffset, code); err != nil {
				return err
			}
			regs.SetPC(s.area + codeOffset + entryStep)
		}
		ret, err := s.step(s.Thread, regs)
		if err != nil {
			return err
		}
		if c.Ret, c.Done = ret, true; c.failed() {
			return c.Err()
		}
	}
	return s.Run([]Call{
		{Name: "unmap all below the stub", Nr: unix.SYS_MUNMAP, Args: [6]uint64{0, s.area}, Must: true},
		{Name: "unmap all above the stub", Nr: unix.SYS_MUNMAP, Args: [6]uint64{s.area + AreaSize, highestAddress - s.area - AreaSize}, Must: true},
		{Name: "close all files", Nr: unix.SYS_CLOSE_RANGE, Args: [6]uint64{0, 1<<32 - 1}, Must: true},
		// From now on ptrace sees to it that the stub dies with crtime.
		{Name: "reset the parent-death signal", Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_SET_PDEATHSIG}, Must: true},
	})
}

// settlingCalls map the area over the program that makes the call.
func (s *Stub) settlingCalls() []*Call {
	return []*Call{
		{
			Name: "map the stub's area", Nr: unix.SYS_MMAP,
			Args: [6]uint64{s.area, AreaSize, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED, ^uint64(0)},
		},
		{
			Name: "make the stub's area writable", Nr: unix.SYS_MPROTECT,
			Args: [6]uint64{s.area + tableOffset, AreaSize - tableOffset, unix.PROT_READ | unix.PROT_WRITE},
		},
	}
}

// writeProgram makes a file in memory with the program that a stub starts as.
func writeProgram(area uint64) (*os.File, error) {
	fd, err := unix.MemfdCreate("crtime-stub", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		// A kernel before 6.3.
		fd, err = unix.MemfdCreate("crtime-stub", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("make the stub's program: %w", os.NewSyscallError("memfd_create", err))
	}
	f := os.NewFile(uintptr(fd), "the stub's program")
	if _, err := f.Write(program(area)); err != nil {
		f.Close()
		return nil, fmt.Errorf("make the stub's program: %w", err)
	}
	// A file that is open for writing cannot be executed; memfds are exempt from
	// that on no kernel, so it is opened anew.
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	return again, errors.Join(err, f.Close())
}
