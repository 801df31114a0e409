// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// thread is a thread of this process whose children will live in a new time
// namespace. It serves where clone3 cannot leave a child outside. It is thrown
// away after use: the Go runtime must never run other goroutines on it, as the
// processes that these start would be born in that namespace.
type thread struct {
	tid  int
	work chan func()
	// gone is closed when the goroutine ends; the kernel ends the thread soon
	// after.
	gone chan struct{}
}

// newThread makes the thread and the namespace. The caller ends it by close.
func newThread() (*thread, error) {
	t := &thread{work: make(chan func()), gone: make(chan struct{})}
	started := make(chan error)
	go t.run(make(chan struct{}), started)
	if err := <-started; err != nil {
		return nil, err
	}
	return t, nil
}

// run is the thread's life. locked is closed when the goroutine has a thread to
// itself.
func (t *thread) run(locked chan struct{}, started chan<- error) {
	runtime.LockOSThread()
	close(locked)
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot be thrown away, and its files stand for the
		// whole process. Occupy it until another goroutine has another one.
		again := make(chan struct{})
		go t.run(again, started)
		<-again
		runtime.UnlockOSThread()
		return
	}
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		runtime.UnlockOSThread()
		started <- os.NewSyscallError("unshare", err)
		return
	}
	t.tid = unix.Gettid()
	started <- nil
	for work := range t.work {
		work()
	}
	// Ending while locked makes the runtime end the thread.
	close(t.gone)
}

// do runs work on the thread and returns when it is done.
func (t *thread) do(work func()) {
	done := make(chan struct{})
	t.work <- func() {
		defer close(done)
		work()
	}
	<-done
}

// close ends the thread.
func (t *thread) close() {
	close(t.work)
	<-t.gone
}
