// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

// Holder keeps a new time namespace open for writing: a child (or a thread) of
// this process stands before it and nobody is inside. The offsets can be written
// as often as wanted until the first process enters: by Exec, or by setns on the
// descriptor that FD returns. The caller must call Close. If this process dies,
// the holder's child exits by itself and the namespace goes unless somebody is
// in it. A Holder is safe for concurrent use.
type Holder struct {
	ns *os.File
	id uint64

	// mu guards what follows.
	mu      sync.Mutex
	offsets *offsetsFile
	// stand is whoever stands before the namespace; nil when closed or used up.
	stand stand
}

// stand is somebody whose children will live in the new namespace.
type stand interface {
	// waiter returns a child that will be inside after exec. It is called once.
	waiter() (*waiter, error)
	// dismiss ends it. Not called after waiter.
	dismiss()
}

// NewHolder makes a time namespace. Its offsets start as those of the caller's
// own namespace.
//
// Errors: ErrNotSupported (no time namespaces in this kernel), ErrPrivilege (no
// CAP_SYS_ADMIN).
func NewHolder() (*Holder, error) {
	h, err := newChildHolder()
	if errors.Is(err, ErrNotSupported) {
		return newThreadHolder()
	}
	return h, err
}

// errBornInside is what Linux 6.1 makes of the clone3 flags.
var errBornInside = errors.New("clone3(CLONE_NEWTIME|CLONE_VM) puts the child inside at once, with its offsets frozen")

// newChildHolder makes the namespace by clone3. ErrNotSupported says that this
// kernel cannot, though it may be able to by unshare.
func newChildHolder() (*Holder, error) {
	w, err := newWaiter(clone3Outside())
	if err != nil {
		return nil, createError("create a time namespace", err)
	}
	own, forChildren, err := IDOf(w.process.PID)
	if err == nil && own == forChildren {
		err = &reasonError{ErrNotSupported, errBornInside, ""}
	}
	if err != nil {
		w.dismiss()
		return nil, fmt.Errorf("create a time namespace: %w", err)
	}
	return openHolder(w.process.PID, &childStand{w})
}

// newThreadHolder makes the namespace by unshare in a thread.
func newThreadHolder() (*Holder, error) {
	t, err := newThread()
	if err != nil {
		return nil, createError("create a time namespace", err)
	}
	return openHolder(t.tid, &threadStand{t})
}

// openHolder opens the namespace that the children of a process or thread will
// live in. On error it dismisses s.
func openHolder(tid int, s stand) (*Holder, error) {
	h := &Holder{stand: s}
	var err error
	if h.ns, err = openNamespace(tid, "time_for_children"); err != nil {
		h.Close()
		return nil, err
	}
	if h.id, err = fileID(h.ns); err != nil {
		h.Close()
		return nil, err
	}
	if h.offsets, err = openOffsets(tid); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// FD returns the namespace's descriptor, for setns(fd, CLONE_NEWTIME) in a
// single-threaded process. The first such call freezes the offsets. It remains
// the Holder's: Close closes it. It keeps the namespace alive, but not writable.
// (The pidfd of the holder's child would not do: setns by it succeeds and joins
// the old namespace.)
func (h *Holder) FD() *os.File { return h.ns }

// ID returns the namespace's identity, as IDOf reports it for processes inside.
func (h *Holder) ID() uint64 { return h.id }

// SetOffsets writes both clocks' offsets in one write and reads them back. They
// are relative to the initial namespace, whichever the caller lives in. They can
// be negative. It can be called again until a process enters.
//
// Errors: ErrOutOfRange (nothing was changed), ErrFrozen, ErrPrivilege (no
// CAP_SYS_TIME), ErrClosed.
func (h *Holder) SetOffsets(o clockstate.Offsets) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.offsets == nil {
		return fmt.Errorf("set clock offsets: %w", ErrClosed)
	}
	return h.offsets.write(o)
}

// Exec starts a program inside the namespace: with clone3 it is the waiting
// child itself that executes it. This freezes the offsets and can be done once;
// afterwards only FD, ID and Close are of use. It returns when the program has
// begun to execute. On error nothing runs.
func (h *Holder) Exec(c Command) (*Process, error) {
	img, err := newImage(c)
	if err != nil {
		return nil, err
	}
	defer img.free()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stand == nil {
		return nil, fmt.Errorf("start %s in a new time namespace: %w", c.Path, ErrClosed)
	}
	w, err := h.stand.waiter()
	h.stand = nil
	if err != nil {
		return nil, fmt.Errorf("start %s in a new time namespace: %w", c.Path, err)
	}
	p, err := w.exec(img)
	if err != nil {
		return nil, fmt.Errorf("in a new time namespace: %w", err)
	}
	return p, nil
}

// ExecSibling is Exec with a program that becomes a child of this process's parent: it is
// another child, which enters by setns. The caller ends its use by AwaitSibling.
func (h *Holder) ExecSibling(c Command) (*Process, error) {
	return runIn(h.ns, c, how{join: h.ns, sibling: true})
}

// Close ends whoever stands before the namespace and closes its descriptors. A
// process that was started by Exec goes on. It can be called again.
func (h *Holder) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stand != nil {
		h.stand.dismiss()
		h.stand = nil
	}
	var errs []error
	if h.offsets != nil {
		errs = append(errs, h.offsets.Close())
		h.offsets = nil
	}
	if h.ns != nil {
		if err := h.ns.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// childStand is a clone3 child: the process that will be inside is itself.
type childStand struct{ w *waiter }

func (s *childStand) waiter() (*waiter, error) { return s.w, nil }
func (s *childStand) dismiss()                 { s.w.dismiss() }

// threadStand is an unshared thread: the process that will be inside is a child
// made by a plain fork. On 6.1 a child by vfork is refused there with EINVAL,
// and the thread's own exec would stay outside.
type threadStand struct{ t *thread }

func (s *threadStand) waiter() (w *waiter, err error) {
	defer s.t.close()
	s.t.do(func() { w, err = newWaiter(plainFork()) })
	return w, err
}

func (s *threadStand) dismiss() { s.t.close() }

// Start starts a program in a new time namespace with the given offsets, which
// are relative to the initial one. It returns when the program has begun to
// execute; on error nothing runs and nothing is left behind.
//
// Errors: as for NewHolder, SetOffsets and Exec.
func Start(c Command, o clockstate.Offsets) (*Process, error) {
	h, err := NewHolder()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return startIn(h, c, o)
}

// startIn is Start with a namespace that is already there.
func startIn(h *Holder, c Command, o clockstate.Offsets) (*Process, error) {
	if err := h.SetOffsets(o); err != nil {
		return nil, err
	}
	return h.Exec(c)
}

// Run starts a program in the time namespace that process pid lives in. The
// program is a child of the caller and differs from the caller in no other
// namespace. It returns when the program has begun to execute; on error nothing
// runs.
//
// Errors: ErrPrivilege (the caller may not trace the process, or lacks
// CAP_SYS_ADMIN), ErrNotSupported, fs.ErrNotExist (no such process).
func Run(pid int, c Command) (*Process, error) {
	ns, err := openNamespace(pid, "time")
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return runIn(ns, c, forkInto(ns))
}

// runIn starts a program in a child that enters a namespace.
func runIn(ns *os.File, c Command, h how) (*Process, error) {
	img, err := newImage(c)
	if err != nil {
		return nil, err
	}
	defer img.free()
	w, err := newWaiter(h)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	if err := checkInside(w.process.PID, ns); err != nil {
		w.dismiss()
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return w.exec(img)
}

// checkInside makes sure that a child is in the namespace that it was to enter.
// setns has ways to succeed without that; see kernel.md.
func checkInside(pid int, ns *os.File) error {
	want, err := fileID(ns)
	if err != nil {
		return err
	}
	own, forChildren, err := IDOf(pid)
	if err != nil {
		return err
	}
	if own != want || forChildren != want {
		return fmt.Errorf("child %d is in time:[%d] (children: time:[%d]) after entering time:[%d]: %w",
			pid, own, forChildren, want, unix.EXDEV)
	}
	return nil
}
