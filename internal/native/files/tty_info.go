// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/extra"
)

// ioctls of terminals that x/sys/unix lacks on some machine, from the kernel's
// asm-generic/ioctls.h.
const (
	tiocGLockedTermios = 0x5456     // TIOCGLCKTRMIOS
	tiocSLockedTermios = 0x5457     // TIOCSLCKTRMIOS
	tiocGDevice        = 0x80045432 // TIOCGDEV
	tiocGPacket        = 0x80045438 // TIOCGPKT
	tiocGLocked        = 0x80045439 // TIOCGPTLCK
	tiocGExclusive     = 0x80045440 // TIOCGEXCL
	tiocGDiscipline    = 0x5424     // TIOCGETD
)

// fieldHungUp is a field of crtime's own in tty_info_entry: the master's other
// end was opened once and is closed, so that reading from it fails. CRIU skips
// it.
const fieldHungUp = 50001

// savedTerminals notes the terminals that are in tty-info.img.
type savedTerminals struct{ seen map[uint32]bool }

// terminal returns the id of a terminal in tty-info.img, and makes its entry if
// there is none yet.
func (c *Collection) terminal(d *descriptor) (uint32, error) {
	end := endOf(d.stat.Rdev)
	index := currentIndex
	switch end {
	case master:
		var err error
		if index, err = ptyIndex(d); err != nil {
			return 0, err
		}
	case slave:
		index = int(unix.Minor(d.stat.Rdev))
	default:
	}
	id := terminalID(index, end)
	note := noteOf[savedTerminals](c.notes)
	if note.seen[id] {
		return id, nil
	}
	e, err := c.terminalEntry(d, id, index)
	if err != nil {
		return 0, err
	}
	if note.seen == nil {
		note.seen = map[uint32]bool{}
	}
	note.seen[id] = true
	c.set.TTYInfo = append(c.set.TTYInfo, e)
	return id, nil
}

// terminalID is the id of a terminal in tty-info.img.
func terminalID(index int, end terminalEnd) uint32 {
	if end == master {
		return uint32(index)<<1 + 1
	}
	return uint32(index) << 1
}

// terminalEntry makes an entry of tty-info.img.
func (c *Collection) terminalEntry(d *descriptor, id uint32, index int) (*tty.TtyInfoEntry, error) {
	fd, err := c.file(d)
	if err != nil {
		return nil, err
	}
	e := &tty.TtyInfoEntry{
		Id: proto.Uint32(id), Type: tty.TtyType_PTY.Enum(),
		Locked: proto.Bool(false), Exclusive: proto.Bool(false), PacketMode: proto.Bool(false),
		Sid: proto.Uint32(0), Pgrp: proto.Uint32(0),
		Rdev: proto.Uint32(encodeDevice(d.stat.Rdev)), Dev: proto.Uint32(encodeDevice(d.stat.Dev)),
		Uid: proto.Uint32(d.stat.Uid), Gid: proto.Uint32(d.stat.Gid),
	}
	if endOf(d.stat.Rdev) == current {
		e.Type = tty.TtyType_CTTY.Enum()
		if err := c.checkCurrent(d, fd); err != nil {
			return nil, err
		}
		s, err := readTerminalStat(d.pid)
		if err != nil {
			return nil, err
		}
		index = int(unix.Minor(s.terminal))
	} else {
		e.Pty = &tty.TtyPtyEntry{Index: proto.Uint32(uint32(index))}
	}
	terminals := c.tree.terminals()
	if sid := terminals.sessions[index]; sid > 0 {
		e.Sid, e.Pgrp = proto.Uint32(uint32(sid)), proto.Uint32(uint32(max(terminals.groups[index], 0)))
	}
	if strings.HasSuffix(d.link, deletedSuffix) {
		return e, nil // It was hung up: there is nothing more to be known of it.
	}
	if err := c.unread(d, fd, index); err != nil {
		return nil, err
	}
	return e, readModes(e, fd, endOf(d.stat.Rdev))
}

// checkCurrent makes sure that what was opened as /dev/tty is still the
// controlling terminal of its process.
func (c *Collection) checkCurrent(d *descriptor, fd int) error {
	device, err := unix.IoctlGetUint32(fd, tiocGDevice)
	if err != nil {
		return fmt.Errorf("ask which terminal it is: %w", err)
	}
	s, err := readTerminalStat(d.pid)
	if err != nil {
		return err
	}
	if decodeDevice(device) != s.terminal {
		return fmt.Errorf("it was opened when its process had another controlling terminal: let the program close it: %w", ErrObstacle)
	}
	return nil
}

// unread refuses a terminal of which both ends are in the tree while something
// is on its way between them: to look at that is to take it away.
func (c *Collection) unread(d *descriptor, fd, index int) error {
	if endOf(d.stat.Rdev) == current || !c.tree.terminals().masters[index] {
		return nil
	}
	waiting, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if errors.Is(err, unix.EIO) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask how much can be read: %w", err)
	}
	if waiting > 0 {
		return fmt.Errorf("%d bytes wait in it, which can only be read once: try again when the program has read them: %w", waiting, ErrObstacle)
	}
	return nil
}

// readModes fills in what a terminal has been set to.
func readModes(e *tty.TtyInfoEntry, fd int, end terminalEnd) error {
	discipline, err := unix.IoctlGetUint32(fd, tiocGDiscipline)
	if err != nil {
		return fmt.Errorf("ask for its line discipline: %w", err)
	}
	if discipline != 0 {
		return fmt.Errorf("its line discipline %d cannot be saved: %w", discipline, ErrObstacle)
	}
	modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("ask for its modes: %w", err)
	}
	locked, err := unix.IoctlGetTermios(fd, tiocGLockedTermios)
	if err != nil {
		return fmt.Errorf("ask for its locked modes: %w", err)
	}
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return fmt.Errorf("ask for its size: %w", err)
	}
	exclusive, err := unix.IoctlGetUint32(fd, tiocGExclusive)
	if err != nil {
		return fmt.Errorf("ask whether it can be opened: %w", err)
	}
	e.Termios, e.TermiosLocked = termiosEntry(modes), termiosEntry(locked)
	e.Winsize = &tty.WinsizeEntry{
		WsRow: proto.Uint32(uint32(size.Row)), WsCol: proto.Uint32(uint32(size.Col)),
		WsXpixel: proto.Uint32(uint32(size.Xpixel)), WsYpixel: proto.Uint32(uint32(size.Ypixel)),
	}
	e.Exclusive = proto.Bool(exclusive != 0)
	if end != master {
		return nil
	}
	return readMaster(e, fd)
}

// readMaster fills in what only the master end of a pseudo terminal has.
func readMaster(e *tty.TtyInfoEntry, fd int) error {
	locked, err := unix.IoctlGetUint32(fd, tiocGLocked)
	if err != nil {
		return fmt.Errorf("ask whether it is locked: %w", err)
	}
	packets, err := unix.IoctlGetUint32(fd, tiocGPacket)
	if err != nil {
		return fmt.Errorf("ask for packet mode: %w", err)
	}
	e.Locked, e.PacketMode = proto.Bool(locked != 0), proto.Bool(packets != 0)
	poll := []unix.PollFd{{Fd: int32(fd)}}
	if _, err := unix.Poll(poll, 0); err != nil {
		return fmt.Errorf("ask whether its other end is open: %w", err)
	}
	if poll[0].Revents&unix.POLLHUP != 0 {
		extra.Set(e, fieldHungUp, 1)
	}
	return nil
}

// termiosEntry makes the image of modes. CRIU leaves the speeds at 0: they stand
// in c_cflag too.
func termiosEntry(t *unix.Termios) *tty.TermiosEntry {
	e := &tty.TermiosEntry{
		CIflag: proto.Uint32(t.Iflag), COflag: proto.Uint32(t.Oflag), CCflag: proto.Uint32(t.Cflag), CLflag: proto.Uint32(t.Lflag),
		CLine: proto.Uint32(uint32(t.Line)), CIspeed: proto.Uint32(0), COspeed: proto.Uint32(0),
	}
	// CRIU copies the characters into the memory of as many words, so that each
	// word holds four of them, and the last ones none.
	cc := make([]byte, wordSize*len(t.Cc))
	copy(cc, t.Cc[:])
	for ; len(cc) > 0; cc = cc[wordSize:] {
		e.CCc = append(e.CCc, binary.NativeEndian.Uint32(cc))
	}
	return e
}

// wordSize is that of a word of 32 bits.
const wordSize = 4

// termiosOf is the reverse of termiosEntry.
func termiosOf(e *tty.TermiosEntry) *unix.Termios {
	t := &unix.Termios{Iflag: e.GetCIflag(), Oflag: e.GetCOflag(), Cflag: e.GetCCflag(), Lflag: e.GetCLflag(), Line: uint8(e.GetCLine())}
	var cc []byte
	for _, word := range e.GetCCc() {
		cc = binary.NativeEndian.AppendUint32(cc, word)
	}
	copy(t.Cc[:], cc)
	return t
}

// encodeDevice is a device number as stat(2) gives it on 64-bit machines, cut to
// the 32 bits of an image, which hold all numbers of terminals.
func encodeDevice(dev uint64) uint32 { return uint32(dev) }
