// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// descriptor is one descriptor of one process, as /proc shows it.
type descriptor struct {
	pid, fd int         // fd is -1 for what is no descriptor: cwd, root, exe, a mapped file.
	path    string      // The /proc link that leads to the file.
	link    string      // What that link says.
	stat    unix.Stat_t // Of the file itself.
	info    fdinfoText
	tree    *tree // What surrounds it, and what the user allows.
	kind    kind  // What kindOf found; nil: not asked yet, or none.
	stands  *foundAs
}

// readDescriptor looks at one descriptor of a process. The error is an ENOENT
// when there is no such descriptor any more.
func (t *tree) readDescriptor(pid, fd int) (*descriptor, error) {
	p, err := openProcess(pid)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return t.descriptorOf(p, fd)
}

// process is a process whose descriptors are looked at, by directories below /proc
// that are open in crtime: looking things up from there is half the work.
type process struct {
	pid       int
	fds, info int
}

// openProcess opens the directories of a process. The caller closes it.
func openProcess(pid int) (*process, error) {
	path := "/proc/" + strconv.Itoa(pid)
	fds, err := openDirectory(path + "/fd")
	if err != nil {
		return nil, err
	}
	info, err := openDirectory(path + "/fdinfo")
	if err != nil {
		unix.Close(fds)
		return nil, err
	}
	return &process{pid, fds, info}, nil
}

func (p *process) close() {
	unix.Close(p.fds)
	unix.Close(p.info)
}

// descriptorOf is readDescriptor for a process that is open.
func (t *tree) descriptorOf(p *process, fd int) (*descriptor, error) {
	name := strconv.Itoa(fd)
	d := &descriptor{tree: t, pid: p.pid, fd: fd, path: "/proc/" + strconv.Itoa(p.pid) + "/fd/" + name}
	if err := d.follow(p.fds, name); err != nil {
		return nil, err
	}
	text, err := fdinfoAt(p.info, name)
	if err != nil {
		return nil, fmt.Errorf("look at descriptor %d of process %d: %w", fd, p.pid, err)
	}
	d.info = *text
	return d, nil
}

// readLink looks at a file that a process refers to otherwise than by a
// descriptor. name is a path below /proc/PID, such as "cwd".
func (t *tree) readLink(pid int, name string) (*descriptor, error) {
	return t.look(pid, "/proc/"+strconv.Itoa(pid)+"/"+name)
}

// look looks at the file that a link below /proc leads to.
func (t *tree) look(pid int, procLink string) (*descriptor, error) {
	d := &descriptor{tree: t, pid: pid, fd: -1, path: procLink}
	return d, d.follow(unix.AT_FDCWD, procLink)
}

// follow looks at the link, which has a name in a directory that is open, and at
// the file that it leads to.
func (d *descriptor) follow(dir int, name string) error {
	var buf [512]byte
	link := buf[:]
	for {
		n, err := unix.Readlinkat(dir, name, link)
		if err != nil {
			return fmt.Errorf("read the link %s: %w", d.path, err)
		}
		if n < len(link) {
			d.link = string(link[:n])
			break
		}
		link = make([]byte, 2*len(link)) // It may have been cut off.
	}
	if err := unix.Fstatat(dir, name, &d.stat, 0); err != nil {
		return fmt.Errorf("look at %s (%s): %w", d.path, d.link, err)
	}
	return nil
}

// String names the descriptor in errors.
func (d *descriptor) String() string {
	if d.fd < 0 {
		return fmt.Sprintf("%s (%s)", d.path, d.link)
	}
	return fmt.Sprintf("descriptor %d of process %d (%s)", d.fd, d.pid, d.link)
}

// mode returns the file's type bits, one of unix.S_IFMT's values.
func (d *descriptor) mode() uint32 { return d.stat.Mode & unix.S_IFMT }
