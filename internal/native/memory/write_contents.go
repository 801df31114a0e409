// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// contents is what a pages image is copied from. Between open and close, read
// may be called from any number of goroutines.
type contents interface {
	open() error
	// read fills buf with the parts, one behind the other. Their sizes add up
	// to that of buf.
	read(buf []byte, parts []run) error
	close() error
}

// processContents is the private memory of a stopped process.
type processContents struct {
	pid int
	mem *os.File // /proc/PID/mem
	// tracer reads on the tracer's thread, see byTracer.
	tracer chan<- tracerRead
}

// tracerRead is a part of a process's memory that nobody but its tracer may read.
type tracerRead struct {
	mem  *os.File
	buf  []byte
	addr int64
	done chan<- error
}

// serve reads. It must run on the thread that traces the process.
func (r tracerRead) serve() {
	n, err := r.mem.ReadAt(r.buf, r.addr)
	if n == len(r.buf) {
		err = nil
	}
	r.done <- err
}

// byTracer reads memory that its owner itself may not read (PROT_NONE). Kernels with
// CONFIG_PROC_MEM_FORCE_PTRACE (Debian's since 7.0) answer EIO to everybody but the
// thread that traces the process.
func (c *processContents) byTracer(buf []byte, addr uint64) error {
	done := make(chan error, 1)
	c.tracer <- tracerRead{mem: c.mem, buf: buf, addr: int64(addr), done: done}
	return <-done
}

func (c *processContents) open() (err error) {
	c.mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", c.pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("/proc/%d/mem: %w", c.pid, proc.ErrGone)
	}
	return err
}

func (c *processContents) close() error {
	if c.mem == nil {
		return nil
	}
	err := c.mem.Close()
	c.mem = nil
	return err
}

// read takes the memory from /proc/PID/mem. process_vm_readv would not do: it pins
// the pages, and a page that parent and child still share copy-on-write is copied
// before it is pinned (since Linux 5.19), so that a dump would end the sharing in
// the living processes. Nor is it faster as soon as the copy is written somewhere
// (two cores, a gigabyte into tmpfs: 0.37 s for either), and it asks the target's
// page protections for leave.
func (c *processContents) read(buf []byte, parts []run) error {
	for _, p := range parts {
		n, err := c.mem.ReadAt(buf[:p.size], int64(p.addr))
		if n < int(p.size) && errors.Is(err, unix.EIO) {
			if err = c.byTracer(buf[n:p.size], p.addr+uint64(n)); err == nil {
				n = int(p.size)
			}
		}
		switch {
		case n == int(p.size):
			buf = buf[n:]
			continue
		case errors.Is(err, io.EOF):
			// The file ends when the address space does.
			err = proc.ErrGone
		case errors.Is(err, unix.EIO):
			err = fmt.Errorf("the kernel refuses to read it (see proc_mem.force_override of its command line): %w", err)
		}
		return cutShort(p, err)
	}
	return nil
}

// fileContents is a memory file that somebody else holds open.
type fileContents struct{ file *os.File }

func (*fileContents) open() error  { return nil }
func (*fileContents) close() error { return nil }

func (c *fileContents) read(buf []byte, parts []run) error {
	for _, p := range parts {
		n, err := c.file.ReadAt(buf[:p.size], int64(p.addr))
		if err != nil && (!errors.Is(err, io.EOF) || !atEnd(c.file, p)) {
			return cutShort(p, err)
		}
		// buf has older contents.
		clear(buf[n:p.size])
		buf = buf[p.size:]
	}
	return nil
}

// atEnd says whether a part lies in the file but for the rest of its last page,
// which is zeros.
func atEnd(f *os.File, p run) bool {
	info, err := f.Stat()
	return err == nil && info.Size() > int64(p.end()-pageSize)
}

// linkContents is shared memory that is opened through a mapping's link.
type linkContents struct {
	path string
	fileContents
}

func (c *linkContents) open() (err error) {
	c.file, err = os.Open(c.path)
	return err
}

func (c *linkContents) close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}
