// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"fmt"

	"github.com/crtime/crtime/internal/native/remote"
)

// caller is what this package needs of a stopped process. *remote.Runner and
// *remote.Stub have it.
type caller interface {
	Run(calls []remote.Call) error
	Alloc(n int) (uint64, error)
	Reset()
	Read(addr uint64, p []byte) error
	Write(addr uint64, p []byte) error
}

// mostTimers is how many timers one batch is for: their calls fit into one table
// of the stub, so that the times of one batch are close together.
const mostTimers = 50

// batch collects system calls of one process until they are made together. Their
// arguments in memory lie one after another, in the order in which they were put.
type batch struct {
	calls  []remote.Call
	memory []byte
	// fix says which arguments of which calls are offsets in the memory.
	fix [][2]int
}

// call adds a call that must succeed.
func (b *batch) call(name string, nr uintptr, args ...any) {
	c := remote.Call{Name: name, Nr: nr, Must: true}
	for i, arg := range args {
		switch v := arg.(type) {
		case at:
			c.Args[i] = uint64(v)
			b.fix = append(b.fix, [2]int{len(b.calls), i})
		case int:
			c.Args[i] = uint64(v)
		case int32:
			c.Args[i] = uint64(int64(v))
		}
	}
	b.calls = append(b.calls, c)
}

// at is a place in a batch's memory, as an argument.
type at int

// put adds data to the memory.
func (b *batch) put(data []byte) at {
	const align = 8
	place := at(len(b.memory))
	b.memory = append(b.memory, data...)
	for len(b.memory)%align != 0 {
		b.memory = append(b.memory, 0)
	}
	return place
}

// room adds n bytes for the kernel to write to.
func (b *batch) room(n int) at { return b.put(make([]byte, n)) }

// get is the memory from a place on, after run.
func (b *batch) get(place at) []byte { return b.memory[place:] }

// load allocates memory in the process and puts the addresses into the calls.
func (b *batch) load(in caller) (uint64, error) {
	in.Reset()
	base, err := in.Alloc(len(b.memory))
	if err != nil {
		return 0, err
	}
	for _, f := range b.fix {
		b.calls[f[0]].Args[f[1]] += base
	}
	b.fix = nil
	return base, in.Write(base, b.memory)
}

// run makes the calls and reads back what they have written.
func (b *batch) run(in caller) error {
	if len(b.calls) == 0 {
		return nil
	}
	base, err := b.load(in)
	if err != nil {
		return fmt.Errorf("give system calls their memory: %w", err)
	}
	if err := in.Run(b.calls); err != nil {
		return err
	}
	return in.Read(base, b.memory)
}
