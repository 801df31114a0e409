// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/remote"
)

// tableSize is how many calls are given to a stub at once: remote.Call.From has a
// byte for the number of a call. Each takes less than
// 128 bytes of the stub's area.
const tableSize = 250

// runner is what is needed of a process that is being rebuilt; *remote.Stub has
// it all.
type runner interface {
	Run(calls []remote.Call) error
	Alloc(n int) (uint64, error)
	Reset()
	Write(addr uint64, p []byte) error
	Area() (start, end uint64)
}

// table collects calls, and cuts them into batches between groups: calls of one
// group may use each other's results.
type table struct {
	batches [][]remote.Call
}

// add appends a group. From counts within the group.
func (t *table) add(group ...remote.Call) {
	n := len(t.batches)
	if n == 0 || len(t.batches[n-1])+len(group) > tableSize {
		t.batches = append(t.batches, nil)
		n++
	}
	batch := t.batches[n-1]
	for _, c := range group {
		for i, from := range c.From {
			if from > 0 {
				c.From[i] = from + uint8(len(batch))
			}
		}
		t.batches[n-1] = append(t.batches[n-1], c)
	}
}

// run makes all calls in order, up to the first that fails, and empties the table.
func (t *table) run(r runner) error {
	for _, batch := range t.batches {
		if err := r.Run(batch); err != nil {
			return err
		}
		for i := range batch {
			c := &batch[i]
			if c.Nr == unix.SYS_MMAP && uint64(c.Ret) != c.Args[0] {
				return fmt.Errorf("%s: the kernel chose address %x", c.Name, uint64(c.Ret))
			}
		}
	}
	t.batches = nil
	return nil
}

// must makes a call that has to succeed.
func must(name string, nr uintptr, args ...uint64) remote.Call {
	c := remote.Call{Name: name, Nr: nr, Must: true}
	copy(c.Args[:], args)
	return c
}

// mapCall maps an area. Its protection may differ from the recorded one while
// contents are written, locks come later, and what is in the way is an error.
func mapCall(e *vma.VmaEntry, prot uint32, fd int) remote.Call {
	flags := e.GetFlags()&^(unix.MAP_LOCKED|lockOnFault|unix.MAP_POPULATE|unix.MAP_FIXED) | unix.MAP_FIXED_NOREPLACE
	if fd >= 0 {
		flags &^= unix.MAP_ANONYMOUS
	}
	name := fmt.Sprintf("map %s", spanOf(e))
	return must(name, unix.SYS_MMAP,
		e.GetStart(), e.GetEnd()-e.GetStart(), uint64(prot), uint64(flags), uint64(int64(fd)), e.GetPgoff())
}

// fetch is the beginning of a group that needs a descriptor of crtime's own
// process, whose number is self: the descriptor is the result of the second call.
func fetch(self, fd int, name string) []remote.Call {
	get := must("take over "+name, unix.SYS_PIDFD_GETFD, 0, uint64(fd), 0)
	get.From[0] = 1
	return []remote.Call{must("open crtime's pidfd", unix.SYS_PIDFD_OPEN, uint64(self), 0), get}
}

// release is the end of such a group.
func release() []remote.Call {
	own, pidfd := must("close a mapped file", unix.SYS_CLOSE), must("close crtime's pidfd", unix.SYS_CLOSE)
	own.From[0], pidfd.From[0] = 2, 1
	return []remote.Call{own, pidfd}
}
