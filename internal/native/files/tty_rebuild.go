// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"golang.org/x/sys/unix"
)

// ttyRebuild is what a restore knows of its terminals.
type ttyRebuild struct {
	given   int          // What UseTerminal was given, plus 1.
	inherit map[int]bool // Numbers of terminals whose place that one takes.
	taken   map[uint32]bool
}

// UseTerminal says which of crtime's own descriptors is the terminal that takes
// the place of the one that a shell job had, whose processes must be in crtime's
// session. It stays the caller's. Without it OpenAll fails if the images are of a
// shell job.
func (r *Rebuild) UseTerminal(fd int) { noteOf[ttyRebuild](r.notes).given = fd + 1 }

func (ttyKind) open(r *Rebuild, e *fdinfo.FileEntry) (int, error) {
	info := r.index.ttys[e.GetTty().GetTtyInfoId()]
	number := int(info.GetPty().GetIndex())
	switch {
	case infoEnd(info) == current:
		return r.openCurrent(e)
	case len(r.index.ends(number, master)) > 0:
		if err := r.openPTY(number); err != nil {
			return -1, err
		}
	case info.GetTermios() == nil:
		if err := r.openHungUp(number); err != nil {
			return -1, err
		}
	default:
		return r.inheritTerminal(e, number)
	}
	// All ends were put; the caller puts this one again.
	return r.fds[e.GetId()], nil
}

// late: /dev/tty is the terminal of whoever opens it. For a session of the tree
// its leader does that: see TakeTerminal.
func (ttyKind) late(r *Rebuild, e *fdinfo.FileEntry) bool {
	if infoEnd(r.index.ttys[e.GetTty().GetTtyInfoId()]) != current {
		return false
	}
	return r.index.leads(r.index.sessionOf(r.index.holders[e.GetId()].pid))
}

// openCurrent opens /dev/tty for a shell job. For a session of the tree its
// leader has opened it: see TakeTerminal.
func (r *Rebuild) openCurrent(e *fdinfo.FileEntry) (int, error) {
	holder := r.index.holders[e.GetId()]
	if session := r.index.sessionOf(holder.pid); r.index.leads(session) {
		return -1, fmt.Errorf("session %d of process %d has no terminal that could be made again", session, holder.pid)
	}
	fd, err := unix.Open(r.index.terminalPath(e), reopenFlags(e.GetTty().GetFlags()), 0)
	if errors.Is(err, unix.ENXIO) {
		err = fmt.Errorf("%w: restore the tree from a terminal", err)
	}
	return fd, err
}

// inheritTerminal opens the terminal that UseTerminal was given in place of one
// whose master end was outside the tree.
func (r *Rebuild) inheritTerminal(e *fdinfo.FileEntry, number int) (int, error) {
	note := noteOf[ttyRebuild](r.notes)
	if note.given == 0 {
		return -1, errors.New("it is the terminal of a session outside the tree: restore with --shell-job from a terminal")
	}
	own := note.given - 1
	if _, err := unix.IoctlGetTermios(own, unix.TCGETS); err != nil {
		return -1, fmt.Errorf("take crtime's own terminal (is its input one?): %w", err)
	}
	if note.inherit == nil {
		note.inherit = map[int]bool{}
	}
	note.inherit[number] = true
	return reopen(own, e.GetTty().GetFlags())
}

// arm gives a terminal that was inherited the modes of the one in whose place it
// is: the user's terminal is not touched before everything else has succeeded.
// Its size stays what it is.
func (ttyKind) arm(r *Rebuild, e *fdinfo.FileEntry, fd int) error {
	note := noteOf[ttyRebuild](r.notes)
	info := r.index.ttys[e.GetTty().GetTtyInfoId()]
	number := int(info.GetPty().GetIndex())
	if infoEnd(info) != slave || !note.inherit[number] {
		return nil
	}
	delete(note.inherit, number)
	return withoutStop(func() error {
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, termiosOf(info.GetTermios())); err != nil {
			return fmt.Errorf("set the modes of crtime's terminal: %w", err)
		}
		return r.giveForeground(fd, info)
	})
}

// giveForeground makes the group that could read from the terminal the one that
// can, if it is part of the tree and crtime's session has this terminal.
func (r *Rebuild) giveForeground(fd int, info *tty.TtyInfoEntry) error {
	own, err := unix.Getsid(0)
	if err != nil {
		return err
	}
	session, err := unix.IoctlGetInt(fd, unix.TIOCGSID)
	if err != nil || session != own || !r.index.hasGroup(info.GetPgrp()) {
		return nil //nolint:nilerr // It is not the controlling terminal, and has no foreground.
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, int(info.GetPgrp())); err != nil {
		return fmt.Errorf("bring process group %d to the foreground of crtime's terminal: %w", info.GetPgrp(), err)
	}
	return nil
}
