// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/image"
)

// blockSize is the piece of a pages image that one core copies, and over which
// one checksum is computed.
const blockSize = image.BlockSize

// Plan is contents that are still to be copied out of stopped processes. It is
// not safe for concurrent use.
type Plan struct {
	outputs []*output
	tracer  chan tracerRead // What Write's caller is to read.
}

// Written describes a pages image that Write has made.
type Written struct {
	Name string
	Size int64 // In bytes.
	// Blocks are the CRC-32C of its blocks, as image.Staging.Vouch takes them.
	Blocks []uint32
}

// output is one pages image to be written.
type output struct {
	name string
	runs []run
	from contents
	size int64

	sums []uint32
	file *os.File
	left atomic.Int64 // Blocks that are not written yet.

	writing sync.Mutex // Held by whoever writes into file.
}

// nextID is the number of the pages image that will be added next.
func (p *Plan) nextID() uint32 { return uint32(len(p.outputs)) + 1 }

// add plans the pages image with the number that nextID gave.
func (p *Plan) add(id uint32, runs []run, from contents) {
	o := &output{name: fmt.Sprintf("pages-%d.img", id), runs: runs, from: from}
	if n := len(runs); n > 0 {
		o.size = runs[n-1].off + int64(runs[n-1].size)
	}
	blocks := (o.size + blockSize - 1) / blockSize
	o.sums = make([]uint32, blocks)
	o.left.Store(blocks)
	p.outputs = append(p.outputs, o)
}

// Bytes is how much there is to be copied.
func (p *Plan) Bytes() int64 {
	var sum int64
	for _, o := range p.outputs {
		sum += o.size
	}
	return sum
}

// Write copies everything into new files of a directory, by all cores. It belongs to
// the tracer's thread: some kernels let nobody else read memory that its owner may
// not read. The processes must still be stopped. When it returns, nothing of it goes on; after
// an error, some files are incomplete and to be thrown away. An error of the
// context is returned soon after the context ends.
func (p *Plan) Write(ctx context.Context, dir *os.File) error {
	work, ctx := errgroup.WithContext(ctx)
	// No more workers than cores: each has a buffer, and the memory of a
	// process is copied by whoever asks for it.
	workers := runtime.GOMAXPROCS(0)
	jobs := make(chan job)
	work.Go(func() error {
		defer close(jobs)
		return p.hand(ctx, dir, jobs)
	})
	for range workers {
		work.Go(func() error {
			c := newCopier()
			for j := range jobs {
				if err := c.copy(ctx, j); err != nil {
					return fmt.Errorf("write %s: %w", j.out.name, err)
				}
			}
			return nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- work.Wait() }()
	err := p.serve(done)
	for _, o := range p.outputs {
		// Left open by an error alone.
		if o.file != nil {
			err = errors.Join(err, o.close())
		}
	}
	return err
}

// serve reads for the workers what only the tracer's thread can, until they are done.
func (p *Plan) serve(done <-chan error) error {
	for {
		select {
		case r := <-p.tracer:
			r.serve()
		case err := <-done:
			return err
		}
	}
}

// hand gives out the blocks of all files in turn, and opens each file when its
// turn comes: there may be more files than descriptors.
func (p *Plan) hand(ctx context.Context, dir *os.File, jobs chan<- job) error {
	for _, o := range p.outputs {
		if err := o.open(dir); err != nil {
			return err
		}
		if o.size == 0 {
			if err := o.close(); err != nil {
				return err
			}
			continue
		}
		for block := range o.sums {
			select {
			case jobs <- job{o, block}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// open makes the file, and opens what it will be copied from.
func (o *output) open(dir *os.File) error {
	fd, err := unix.Openat(int(dir.Fd()), o.name, unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make %s in %s: %w", o.name, dir.Name(), err)
	}
	o.file = os.NewFile(uintptr(fd), o.name)
	if err := o.file.Truncate(o.size); err != nil {
		return err
	}
	return o.from.open()
}

// close ends what open began.
func (o *output) close() error {
	err := errors.Join(o.file.Close(), o.from.close())
	o.file = nil
	return err
}

// Written lists what Write has made.
func (p *Plan) Written() []Written {
	all := make([]Written, len(p.outputs))
	for i, o := range p.outputs {
		all[i] = Written{Name: o.name, Size: o.size, Blocks: o.sums}
	}
	return all
}

// Close lets go of everything that the plan holds. Files that Write has made
// stay. It may be called more than once.
func (p *Plan) Close() error {
	p.outputs = nil
	return nil
}
