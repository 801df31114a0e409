// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// picture is all that can be seen from outside of the open files of a tree, one
// line for each fact. Numbers that a restore cannot keep (of pipes, of inodes)
// are replaced by the order in which they appear.
func picture(t *testing.T, pids []int) string {
	t.Helper()
	sockets, err := unixSockets()
	if err != nil {
		t.Fatal(err)
	}
	p := &painter{t: t, tree: newTree(pids, Limits{}), names: map[string]string{}, same: descriptions{}, sockets: sockets}
	if err := errors.Join(p.tree.describe()...); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		for _, d := range p.tree.described[pid] {
			if numbered.MatchString(d.link) {
				p.number(d.link)
			}
		}
	}
	for _, pid := range pids {
		p.process(pid)
	}
	p.dups.Close()
	return p.text.String()
}

type painter struct {
	t       *testing.T
	tree    *tree
	text    strings.Builder
	names   map[string]string
	same    descriptions
	dups    duplicates
	sockets map[uint32]*unixSocket
	count   uint32
}

func (p *painter) print(format string, args ...any) { fmt.Fprintf(&p.text, format+"\n", args...) }

func (p *painter) process(pid int) {
	st, err := readTerminalStat(pid)
	if err != nil {
		p.t.Fatal(err)
	}
	p.print("%d: %+v", pid, st)
	for _, d := range p.tree.described[pid] {
		p.paint(d)
	}
}

// numbered is the part of a link that is another one after a restore.
var numbered = regexp.MustCompile(`^(pipe|socket):\[\d+\]$`)

// taken is what a restored file has at the end of its name if that was taken.
var taken = regexp.MustCompile(`\.crtime-\d+`)

// number gives a name to something whose own number does not last.
func (p *painter) number(link string) string {
	if p.names[link] == "" {
		p.names[link] = fmt.Sprintf("%s number %d", link[:4], len(p.names))
	}
	return p.names[link]
}

func (p *painter) paint(d *descriptor) {
	link := d.link
	if numbered.MatchString(link) {
		link = p.number(link)
	}
	if d.fd < 0 {
		if !strings.HasSuffix(d.path, "/exe") {
			p.print("%s: %s", d.path, link)
		}
		return
	}
	links := d.stat.Nlink
	if strings.HasSuffix(d.link, deletedSuffix) {
		links = 0 // Of a file that has other names more: the dump has made one.
	}
	times := d.stat.Mtim.Sec
	if !strings.HasPrefix(d.link, "/") || strings.HasPrefix(d.link, memfdPrefix) || d.mode() == unix.S_IFCHR || onProc(d.path) || strings.HasPrefix(d.link, "/sys/") || d.mode() == unix.S_IFIFO {
		times = 0
	}
	// A file whose name was taken when it was restored has a longer one.
	link = taken.ReplaceAllString(link, "")
	const temporary = unix.O_TMPFILE // How a file came to be cannot be restored.
	if d.info.flags&temporary == temporary {
		d.info.flags &^= temporary
	}
	p.print("%d %d: %s flags %#o at %d mode %#o links %d size %d owner %d:%d times %d", d.pid, d.fd, link,
		d.info.flags, d.info.pos, d.stat.Mode, links, d.stat.Size, d.stat.Uid, d.stat.Gid, times)
	known, at, err := p.same.find(d)
	if err != nil {
		p.t.Fatal(err)
	}
	if known == nil {
		p.count++
		known = &description{id: p.count, pid: d.pid, fd: d.fd}
		p.same.insert(at, known)
	}
	p.print("  file %d", known.id)
	for _, line := range d.info.locks {
		l, err := parseLock(line)
		if err != nil {
			p.t.Fatal(err)
		}
		p.print("  lock %+v", l)
	}
	p.details(d)
	p.contents(d)
}

// changing is what differs between two objects that are the same to a program.
var changing = regexp.MustCompile(`^eventfd-id:.*| pos:.* ino:.* sdev:.*$`)

// details paints the lines of fdinfo that belong to one kind.
func (p *painter) details(d *descriptor) {
	lines := slices.Clone(d.info.rest)
	if strings.Contains(d.link, "eventpoll") {
		slices.Sort(lines)
	}
	for _, line := range lines {
		line = changing.ReplaceAllString(line, "")
		var sec, nsec int64
		if _, err := fmt.Sscanf(line, "it_value: (%d, %d)", &sec, &nsec); err == nil {
			const minute = 60
			line = fmt.Sprintf("about %d minutes left", (sec+minute-1)/minute)
		}
		if line != "" {
			p.print("  info %s", line)
		}
	}
}

// contents paints the owner and what is in the file, as far as it can be read
// without changing anything.
func (p *painter) contents(d *descriptor) {
	if d.info.flags&unix.O_PATH != 0 {
		return
	}
	fd, err := p.dups.get(d.pid, d.fd)
	if err != nil {
		p.t.Fatal(err)
	}
	owner, err := (&Collection{dups: p.dups, tree: p.tree}).owner(d)
	if err != nil {
		p.t.Fatal(err)
	}
	p.print("  signals %v", owner)
	switch {
	case d.mode() == unix.S_IFREG && !onProc(d.path) && strings.HasPrefix(d.link, "/"):
		buf := make([]byte, 64)
		if n, err := unix.Pread(fd, buf, 0); err == nil {
			p.print("  holds %q", buf[:n])
		}
		if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err == nil {
			p.print("  seals %#x", seals)
		}
	case d.mode() == unix.S_IFIFO:
		p.pipe(d, fd)
	case d.mode() == unix.S_IFSOCK:
		p.socket(d, fd)
	case d.mode() == unix.S_IFCHR && endOf(d.stat.Rdev) != notATerminal:
		p.terminal(d, fd)
	}
}

func (p *painter) pipe(d *descriptor, fd int) {
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, fionread)
	if err != nil {
		p.t.Fatal(err)
	}
	p.print("  pipe of %d with %d", size, n)
	if !writeOnly(d.info.flags) {
		parts, packets, err := copyOut(fd, size, n)
		if err != nil {
			p.t.Fatal(err)
		}
		p.print("  holds %q, packets %v", parts, packets)
	}
}

func (p *painter) socket(d *descriptor, fd int) {
	s := p.sockets[uint32(d.stat.Ino)]
	if s == nil {
		p.t.Fatalf("%s is not listed", d)
	}
	backlog := s.sent
	if s.state != stateListen {
		backlog = 0 // The kernel's own overhead is in it.
	}
	p.print("  socket of type %d in state %d named %q backlog %d shutdown %d bound %v", s.kind, s.state, s.name, backlog, s.shutdown, s.bound)
	if s.peer != 0 {
		p.print("  connected to %s", p.names[socketLink(s.peer)])
	}
	for _, client := range s.waiting {
		p.print("  not accepted: %s", p.names[socketLink(client)])
	}
	if hasFile(s.name) {
		var st unix.Stat_t
		name := addressText(s.name)
		if name[0] != '/' {
			cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", d.pid))
			if err != nil {
				p.t.Fatal(err)
			}
			name = cwd + "/" + name
		}
		err := unix.Stat(name, &st)
		p.print("  file of mode %#o owner %d, it is its own: %v, error %v", st.Mode, st.Uid, uint32(st.Ino) == s.fileIno, err)
	}
	seen, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		p.t.Fatal(err)
	}
	p.print("  at its other end user %d, group %d", int32(seen.Uid), int32(seen.Gid))
	options, err := readOptions(fd)
	if err != nil {
		p.t.Fatal(err)
	}
	p.print("  options %v", strings.Join(strings.Fields(options.String()), " "))
	if s.state != stateListen {
		list, err := peekQueue(fd, s)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, m := range list {
			p.print("  holds %q from %q", m.data, m.from)
		}
	}
}

func (p *painter) terminal(d *descriptor, fd int) {
	modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if errors.Is(err, unix.EIO) {
		p.print("  hung up")
		return
	}
	if err != nil {
		p.t.Fatal(err)
	}
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		p.t.Fatal(err)
	}
	device, err := unix.IoctlGetUint32(fd, tiocGDevice)
	if err != nil {
		p.t.Fatal(err)
	}
	p.print("  terminal %v of device %d size %v", *modes, device, *size)
	poll := []unix.PollFd{{Fd: int32(fd)}}
	if _, err := unix.Poll(poll, 0); err != nil {
		p.t.Fatal(err)
	}
	p.print("  poll %#x", poll[0].Revents)
	if endOf(d.stat.Rdev) == master {
		packets, err1 := unix.IoctlGetUint32(fd, tiocGPacket)
		locked, err2 := unix.IoctlGetUint32(fd, tiocGLocked)
		session, err3 := unix.IoctlGetInt(fd, unix.TIOCGSID)
		group, err4 := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		p.print("  master: packets %d %v locked %d %v session %d %v group %d %v", packets, err1, locked, err2, session, err3, group, err4)
	}
}
