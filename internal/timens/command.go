// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Command says what to execute. Only Path is required.
type Command struct {
	// Path is the program's file. It is not looked up in PATH; a relative path
	// is relative to Dir.
	Path string
	// Args are all arguments, the program's own name first. Default: Path alone.
	Args []string
	// Env are "name=value" strings. Nil means this process's environment.
	Env []string
	// Dir is the working directory. Default: this process's.
	Dir string
	// Files become descriptors 0, 1, 2, 3 and so on; the program has no others.
	// A missing or nil one of the first three is /dev/null, a nil one above is
	// closed. At most 250 that are not nil. They stay the caller's. As with os.StartProcess, they
	// are put into blocking mode, here as well as there.
	Files []*os.File
	// Setpgid makes the program the leader of a process group of its own.
	Setpgid bool
	// DropAmbient takes the ambient capabilities from the program, so that it has none
	// that its user does not have.
	DropAmbient bool
}

// maxCommandFiles leaves room for the standard three in one message.
const maxCommandFiles = maxFiles - 3

// image is a command as execve wants it, in memory that a child can read. It
// must exist before a child that is made by fork.
type image struct {
	path    string
	mem     *memory
	pathAt  uintptr
	dirAt   uintptr
	argsAt  uintptr
	envAt   uintptr
	setpgid bool
	ambient bool // It keeps the ambient capabilities.
	files   []*os.File
	null    *os.File
}

// newImage checks the command and lays it out. The caller frees the image when
// the child has execed or died.
func newImage(c Command) (*image, error) {
	if len(c.Args) == 0 {
		c.Args = []string{c.Path}
	}
	if c.Env == nil {
		c.Env = os.Environ()
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	img := &image{path: c.Path, setpgid: c.Setpgid, ambient: !c.DropAmbient}
	var err error
	if img.mem, err = newMemory(c.size()); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	l := layout{mem: img.mem}
	img.argsAt = l.vector(c.Args)
	img.envAt = l.vector(c.Env)
	img.pathAt = l.text(c.Path)
	if c.Dir != "" {
		img.dirAt = l.text(c.Dir)
	}
	if err := img.setFiles(c.Files); err != nil {
		img.free()
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return img, nil
}

// check refuses what execve could not be given.
func (c Command) check() error {
	if c.Path == "" {
		return errors.New("start a program: no path given")
	}
	given := 0
	for _, f := range c.Files {
		if f != nil {
			given++
		}
	}
	if given > maxCommandFiles {
		return fmt.Errorf("start %s: %d files given, at most %d can be", c.Path, given, maxCommandFiles)
	}
	texts := append([]string{c.Path, c.Dir}, c.Args...)
	for _, s := range append(texts, c.Env...) {
		if strings.IndexByte(s, 0) >= 0 {
			return fmt.Errorf("start %s: %q has a zero byte in it: %w", c.Path, s, unix.EINVAL)
		}
	}
	return nil
}

// size is what the command needs: each string with its end, a word for each
// pointer and for the two vectors' ends, and nothing to align at the end.
func (c Command) size() int {
	n := 8*(len(c.Args)+len(c.Env)+2) + len(c.Path) + len(c.Dir) + 2
	for _, s := range c.Args {
		n += len(s) + 1
	}
	for _, s := range c.Env {
		n += len(s) + 1
	}
	// Each vector starts at a multiple of 8.
	return n + 16
}

// setFiles fills the places that the caller left empty among the first three.
func (img *image) setFiles(files []*os.File) error {
	img.files = make([]*os.File, max(3, len(files)))
	copy(img.files, files)
	for i := range 3 {
		if img.files[i] != nil {
			continue
		}
		if img.null == nil {
			var err error
			if img.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
				return err
			}
		}
		img.files[i] = img.null
	}
	return nil
}

// fds are the descriptors to send, in order, without the empty places.
func (img *image) fds() []int {
	var fds []int
	for _, f := range img.files {
		if f != nil {
			fds = append(fds, int(f.Fd()))
		}
	}
	return fds
}

// write adds to a waiting child's program what it does from the wait to execve.
func (img *image) write(p *program, childSock int) {
	want := make([]bool, len(img.files))
	for i, f := range img.files {
		want[i] = f != nil
	}
	p.place(childSock, want)
	if img.dirAt != 0 {
		p.add("change directory", unix.SYS_CHDIR, img.dirAt)
	}
	if img.setpgid {
		p.add("setpgid", unix.SYS_SETPGID, 0, 0)
	}
	if !img.ambient {
		p.add("drop the ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL)
	}
	p.restoreNoFile()
	p.add("restore signal mask", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, addr(&p.b.mask), 0, sigmaskBytes)
	// Success does not return, so any return is a failure.
	p.add("execve", unix.SYS_EXECVE, img.pathAt, img.argsAt, img.envAt).least = 1
}

// free releases the memory and what setFiles opened.
func (img *image) free() {
	img.mem.free()
	if img.null != nil {
		img.null.Close()
	}
	runtime.KeepAlive(img.files)
}

// layout hands out an area's bytes from its start.
type layout struct {
	mem  *memory
	used int
}

// text stores a string with its final zero, which the area has already, and
// returns its address.
func (l *layout) text(s string) uintptr {
	at := l.mem.base() + uintptr(l.used)
	l.used += copy(l.mem.bytes[l.used:], s) + 1
	return at
}

// vector stores strings and a list of their addresses, ended by a zero.
func (l *layout) vector(list []string) uintptr {
	l.used = (l.used + 7) &^ 7
	at := l.used
	l.used += 8 * (len(list) + 1)
	for i, s := range list {
		l.mem.putWord(at+8*i, l.text(s))
	}
	return l.mem.base() + uintptr(at)
}
