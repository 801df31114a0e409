// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// caller is what this package needs of a stopped process. *remote.Runner and
// *remote.Stub have it.
type caller interface {
	Run(calls []remote.Call) error
	RunIn(th *ptrace.Thread, calls []remote.Call) error
	Alloc(n int) (uint64, error)
	Reset()
	Read(addr uint64, p []byte) error
	Write(addr uint64, p []byte) error
}

// batch collects the system calls of one process until they are made together.
type batch struct {
	in    caller
	calls []remote.Call
	name  string
	stop  bool // The next call must succeed.
}

// newBatch begins a batch. What earlier ones allocated in the process is free
// again.
func newBatch(in caller) *batch {
	in.Reset()
	return &batch{in: in}
}

// must names the next call, and the rest of the batch needs its success.
func (b *batch) must(format string, args ...any) *batch {
	b.name, b.stop = fmt.Sprintf(format, args...), true
	return b
}

// may names the next call, which is allowed to fail.
func (b *batch) may(name string) *batch {
	b.name, b.stop = name, false
	return b
}

// call adds a call and returns its index.
func (b *batch) call(nr uintptr, args ...uint64) int {
	c := remote.Call{Name: b.name, Nr: nr, Must: b.stop}
	copy(c.Args[:], args)
	b.calls = append(b.calls, c)
	return len(b.calls) - 1
}

// alloc gets memory in the process.
func (b *batch) alloc(n int) (uint64, error) { return b.in.Alloc(n) }

// put copies data into the process.
func (b *batch) put(data []byte) (uint64, error) {
	addr, err := b.in.Alloc(len(data))
	if err != nil {
		return 0, err
	}
	return addr, b.in.Write(addr, data)
}

// run makes the calls in the process's leader, or in th unless it is nil.
func (b *batch) run(th *ptrace.Thread) error {
	if len(b.calls) == 0 {
		return nil
	}
	if th == nil {
		return b.in.Run(b.calls)
	}
	return b.in.RunIn(th, b.calls)
}
