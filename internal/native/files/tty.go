// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// ttyKind is terminals: both ends of pseudo terminals (/dev/ptmx, /dev/pts/N)
// and /dev/tty. Either both ends are in the tree; or the tree is a job of a
// shell outside it and has the slave end alone, which the user must allow
// (--shell-job): the terminal of crtime then takes its place at the restore.
//
// Like that of a FIFO, an entry names a second one, of a regular file, which has
// the path. What terminals have in common with all that is open of them (modes,
// size, session) stands in tty-info.img.
//
// Characters that were typed in canonical mode, of a line without an end, are
// lost: nobody but the kernel can see them.
type ttyKind struct{}

// Device numbers of the kernel's Documentation/admin-guide/devices.txt.
const (
	majorTTYAux  = 5
	minorCurrent = 0 // /dev/tty
	minorPTMX    = 2
	majorPTS     = 136
)

// Numbers by which CRIU tells terminals apart, tty_gen_id of its tty.c: twice
// the index, and one more for a master.
const (
	maxPTYIndex  = 1000
	currentIndex = 1006
)

// Ends of terminals.
type terminalEnd int

const (
	notATerminal terminalEnd = iota
	master
	slave
	current // /dev/tty: whatever is the terminal of the session.
)

// endOf tells which end of a terminal a device is.
func endOf(rdev uint64) terminalEnd {
	switch major, minor := unix.Major(rdev), unix.Minor(rdev); {
	case major == majorTTYAux && minor == minorPTMX:
		return master
	case major == majorTTYAux && minor == minorCurrent:
		return current
	case major == majorPTS:
		return slave
	default:
		return notATerminal
	}
}

func (ttyKind) handles(d *descriptor) bool {
	return d.mode() == unix.S_IFCHR && d.fd >= 0 && d.info.flags&unix.O_PATH == 0 && endOf(d.stat.Rdev) != notATerminal
}

func (ttyKind) types() []fdinfo.FdTypes { return []fdinfo.FdTypes{fdinfo.FdTypes_TTY} }

// what names a terminal.
func (ttyKind) what(d *descriptor) string { return "terminal " + d.link }

func (ttyKind) obstacle(d *descriptor) string {
	switch endOf(d.stat.Rdev) {
	case master:
		return masterObstacle(d)
	case slave:
		return d.tree.slaveObstacle(int(unix.Minor(d.stat.Rdev)), strings.HasSuffix(d.link, deletedSuffix))
	default:
		s := d.tree.stats[d.pid]
		if unix.Major(s.terminal) != majorPTS {
			return "it is not a pseudo terminal: " + useCRIU
		}
		return d.tree.slaveObstacle(int(unix.Minor(s.terminal)), false)
	}
}

// masterObstacle says why the master end of a pseudo terminal cannot be saved.
func masterObstacle(d *descriptor) string {
	index, err := ptyIndex(d)
	if err != nil {
		return err.Error()
	}
	if index > maxPTYIndex {
		return fmt.Sprintf("its number %d is above %d, the largest that the images have a place for", index, maxPTYIndex)
	}
	pts := slavePath(d.link, index)
	var st unix.Stat_t
	if err := unix.Stat(pts, &st); err != nil || st.Rdev != unix.Mkdev(majorPTS, uint32(index)) {
		return fmt.Sprintf("its other end %s is not in crtime's mount namespace", pts)
	}
	for _, id := range []string{masterIdentity(index), identity(pts, &st)} {
		if pid := d.tree.outsider(id); pid != 0 {
			return fmt.Sprintf("process %d (%s), which is not in the tree, uses terminal %s: dump that one with it, or end it", pid, comm(pid), pts)
		}
	}
	return ""
}

// slaveObstacle says why the slave end of pseudo terminal index cannot be saved.
// hung says that its master end was closed.
func (t *tree) slaveObstacle(index int, hung bool) string {
	if index > maxPTYIndex {
		return fmt.Sprintf("its number %d is above %d, the largest that the images have a place for", index, maxPTYIndex)
	}
	terminals := t.terminals()
	switch {
	case hung, terminals.masters[index]:
		return ""
	case terminals.sessions[index] != 0 && t.inside[terminals.sessions[index]]:
		return fmt.Sprintf("it is the controlling terminal of session %d, which the tree leads, and its other end is outside: "+
			"dump the terminal emulator or server with it, or dump what runs in the session", terminals.sessions[index])
	case !t.limits.ShellJob:
		return "it belongs to a session outside the tree: --shell-job allows to save that, and gives the tree crtime's terminal at the restore; " +
			"or start the program with setsid and its input and output elsewhere"
	case terminals.outside != index:
		return fmt.Sprintf("the tree has another terminal of a session outside it, /dev/pts/%d, and --shell-job has but one to give", terminals.outside)
	default:
		return ""
	}
}

// slavePath is where the slave end of a pseudo terminal lies, from the path by
// which its master was opened: /dev/ptmx or /dev/pts/ptmx.
func slavePath(ptmx string, index int) string {
	dir := strings.TrimSuffix(strings.TrimSuffix(ptmx, "ptmx"), "pts/")
	return dir + "pts/" + strconv.Itoa(index)
}

// masterPath is where a master is opened, from the path of a slave end.
func masterPath(pts string) string {
	dir := pts[:strings.LastIndexByte(pts, '/')+1]
	return strings.TrimSuffix(dir, "pts/") + "ptmx"
}

// masterIdentity tells the master ends of different terminals apart, which have
// one inode in common.
func masterIdentity(index int) string { return "master of pseudo terminal " + strconv.Itoa(index) }

// ptyIndex is the number of the terminal behind a descriptor of /dev/ptmx.
func ptyIndex(d *descriptor) (int, error) {
	n, err := lineNumber(d.info.rest, "tty-index", 10)
	if errors.Is(err, errNoLine) {
		return 0, errors.New("it is not known which terminal it is the master of: that needs Linux 4.14")
	}
	return int(min(n, 1<<30)), err
}

func (ttyKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	file := c.newID()
	c.add(&fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Reg: &regfile.RegFileEntry{
		Id: proto.Uint32(file), Fown: noOwner(), Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC), Pos: proto.Uint64(0),
		Name: proto.String(strings.TrimSuffix(d.link, deletedSuffix)), Mode: proto.Uint32(d.stat.Mode),
	}}, file)
	info, err := c.terminal(d)
	if err != nil {
		return nil, err
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_TTY.Enum(), Tty: &tty.TtyFileEntry{
		Id: proto.Uint32(0), TtyInfoId: proto.Uint32(info), RegfId: proto.Uint32(file),
		Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC), Fown: owner,
	}}, nil
}
