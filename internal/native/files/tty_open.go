// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/extra"
)

// openPTY makes a pseudo terminal with its recorded number, and all its ends.
func (r *Rebuild) openPTY(number int) error {
	head := r.index.ends(number, master)[0]
	if _, ok := r.fds[head.GetId()]; ok {
		return nil
	}
	info := r.index.ttys[head.GetTty().GetTtyInfoId()]
	ptmx := r.index.terminalPath(head)
	fd, err := newMaster(ptmx, number, head.GetTty().GetFlags())
	if err != nil {
		return err
	}
	r.put(head.GetId(), fd)
	pts := slavePath(ptmx, number)
	slaves := r.index.ends(number, slave)
	if err := ownPTY(pts, r.slaveInfo(slaves), r.slaveMode(slaves)); err != nil {
		return err
	}
	if err := setModes(fd, info); err != nil {
		return err
	}
	for _, e := range slaves {
		if err := r.openSlave(e, number); err != nil {
			return err
		}
	}
	if _, hung := extra.Value(info, fieldHungUp); hung && len(slaves) == 0 {
		end, err := openSlaveAt(pts, number, unix.O_RDWR)
		if err != nil {
			return err
		}
		unix.Close(end)
	}
	return finishMaster(fd, info)
}

// openSlave opens one file of a slave end.
func (r *Rebuild) openSlave(e *fdinfo.FileEntry, number int) error {
	fd, err := openSlaveAt(r.index.terminalPath(e), number, e.GetTty().GetFlags())
	if err != nil {
		return err
	}
	r.put(e.GetId(), fd)
	return nil
}

// openHungUp makes the slave ends of a terminal whose master end was closed. Its
// number may be in use again: then it gets another.
func (r *Rebuild) openHungUp(number int) error {
	slaves := r.index.ends(number, slave)
	ptmx := masterPath(r.index.terminalPath(slaves[0]))
	fd, err := newMaster(ptmx, number, unix.O_RDWR)
	if err != nil {
		if fd, err = openMaster(ptmx, unix.O_RDWR); err != nil {
			return err
		}
		if number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
			unix.Close(fd)
			return fmt.Errorf("ask for the number of a new terminal: %w", err)
		}
	}
	defer unix.Close(fd)
	for _, e := range slaves {
		end, err := openSlaveAt(slavePath(ptmx, number), number, e.GetTty().GetFlags())
		if err != nil {
			return err
		}
		r.put(e.GetId(), end)
	}
	return nil
}

// newMaster opens the master end of a new pseudo terminal with a certain number.
// The kernel gives the lowest that is free.
func newMaster(ptmx string, number int, flags uint32) (int, error) {
	var below []int
	defer func() {
		for _, fd := range below {
			unix.Close(fd)
		}
	}()
	for {
		fd, err := openMaster(ptmx, flags)
		if err != nil {
			return -1, err
		}
		got, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
		if err == nil && got == number {
			return fd, nil
		}
		below = append(below, fd)
		switch {
		case err != nil:
			return -1, fmt.Errorf("ask for the number of a new terminal: %w", err)
		case got > number:
			return -1, fmt.Errorf("pseudo terminal %s is in use: end the program that has it", slavePath(ptmx, number))
		}
	}
}

// openMaster opens the master end of a new pseudo terminal and unlocks it.
func openMaster(ptmx string, flags uint32) (int, error) {
	fd, err := unix.Open(ptmx, reopenFlags(flags), 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", ptmx, hint(err))
	}
	if err := isDevice(fd, unix.Mkdev(majorTTYAux, minorPTMX)); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%s: %w", ptmx, err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("unlock a new terminal: %w", err)
	}
	return fd, nil
}

// openSlaveAt opens the slave end of a pseudo terminal.
func openSlaveAt(pts string, number int, flags uint32) (int, error) {
	fd, err := unix.Open(pts, reopenFlags(flags), 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", pts, hint(err))
	}
	if err := isDevice(fd, unix.Mkdev(majorPTS, uint32(number))); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%s: %w", pts, err)
	}
	return fd, nil
}

// isDevice makes sure that a path from an image led to a terminal.
func isDevice(fd int, want uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != want {
		return errors.New("it is not that terminal")
	}
	return nil
}

// slaveInfo is the entry in tty-info.img of a terminal's slave end; nil: no
// process has it open.
func (r *Rebuild) slaveInfo(slaves []*fdinfo.FileEntry) *tty.TtyInfoEntry {
	if len(slaves) == 0 {
		return nil
	}
	return r.index.ttys[slaves[0].GetTty().GetTtyInfoId()]
}

// slaveMode is the mode that the file of a slave end had; 0: it is not known.
func (r *Rebuild) slaveMode(slaves []*fdinfo.FileEntry) uint32 {
	if len(slaves) == 0 {
		return 0
	}
	return r.index.files[slaves[0].GetTty().GetRegfId()].GetReg().GetMode() & permissions
}

// ownPTY gives the file of a slave end its owner and mode, as far as they are
// known.
func ownPTY(pts string, info *tty.TtyInfoEntry, mode uint32) error {
	if info != nil && info.Uid != nil && info.Gid != nil {
		if err := unix.Chown(pts, int(info.GetUid()), int(info.GetGid())); err != nil {
			return fmt.Errorf("give %s to user %d: %w", pts, info.GetUid(), err)
		}
	}
	if mode == 0 {
		return nil
	}
	if err := unix.Chmod(pts, mode); err != nil {
		return fmt.Errorf("give %s its mode: %w", pts, err)
	}
	return nil
}

// setModes sets what a terminal had been set to, from its master end.
func setModes(fd int, info *tty.TtyInfoEntry) error {
	if info.GetTermios() == nil {
		return nil
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, termiosOf(info.GetTermios())); err != nil {
		return fmt.Errorf("set its modes: %w", err)
	}
	if locked := termiosOf(info.GetTermiosLocked()); *locked != (unix.Termios{}) {
		if err := unix.IoctlSetTermios(fd, tiocSLockedTermios, locked); err != nil {
			return fmt.Errorf("lock its modes: %w", err)
		}
	}
	size := info.GetWinsize()
	err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{
		Row: uint16(size.GetWsRow()), Col: uint16(size.GetWsCol()), Xpixel: uint16(size.GetWsXpixel()), Ypixel: uint16(size.GetWsYpixel()),
	})
	if err != nil {
		return fmt.Errorf("set its size: %w", err)
	}
	return nil
}

// finishMaster sets what would have stood in the way before.
func finishMaster(fd int, info *tty.TtyInfoEntry) error {
	if info.GetPacketMode() {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCPKT, 1); err != nil {
			return fmt.Errorf("set packet mode: %w", err)
		}
	}
	if info.GetExclusive() {
		if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
			return fmt.Errorf("forbid others to open it: %w", err)
		}
	}
	if info.GetLocked() {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 1); err != nil {
			return fmt.Errorf("lock it: %w", err)
		}
	}
	return nil
}

// withoutStop calls f on a thread that the kernel does not stop (SIGTTOU) for
// changing a terminal in whose background crtime is.
func withoutStop(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	block := unix.Sigset_t{}
	block.Val[0] = 1 << (unix.SIGTTOU - 1)
	var old unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &old); err != nil {
		return fmt.Errorf("block SIGTTOU: %w", err)
	}
	err := f()
	if undo := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); undo != nil {
		err = errors.Join(err, fmt.Errorf("unblock SIGTTOU: %w", undo))
	}
	return err
}
