// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/remote"
)

// TakeTerminal gives the leader of a session its controlling terminal, if the
// images have one for it and the terminal is made anew; otherwise it does
// nothing. It must be called for every session leader, right after its setsid
// and before it forks those of its children that are in the session, because
// they inherit the terminal: later nobody can give it to them.
func (r *Rebuild) TakeTerminal(pid int, stub *remote.Runner) error {
	info, ok := r.index.sessionTerminal(uint32(pid))
	if !ok {
		return nil
	}
	if err := r.takeTerminal(pid, info, stub); err != nil {
		return fmt.Errorf("give process %d its controlling terminal: %w", pid, err)
	}
	return nil
}

func (r *Rebuild) takeTerminal(pid int, info *tty.TtyInfoEntry, stub runner) error {
	number := int(info.GetPty().GetIndex())
	if err := r.openPTY(number); err != nil {
		return err
	}
	head := r.index.ends(number, master)[0]
	own, err := openSlaveAt(slavePath(r.index.terminalPath(head), number), number, unix.O_RDWR)
	if err != nil {
		return err
	}
	defer unix.Close(own)
	p := &planner{}
	terminal := p.fetchAnywhere(own, "terminal")
	p.must("take the terminal (TIOCSCTTY)", unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0).From[0] = terminal
	p.closeFetched(terminal)
	if err := stub.Run(p.calls); err != nil {
		return err
	}
	note := noteOf[ttyRebuild](r.notes)
	if note.taken == nil {
		note.taken = map[uint32]bool{}
	}
	note.taken[uint32(pid)] = true
	for _, e := range r.currentOf(uint32(pid)) {
		if err := r.openCurrentIn(e, pid, stub); err != nil {
			return err
		}
	}
	return nil
}

// currentOf lists the files /dev/tty of a session.
func (r *Rebuild) currentOf(session uint32) []*fdinfo.FileEntry {
	var list []*fdinfo.FileEntry
	for _, e := range r.held() {
		if e.GetTty() != nil && infoEnd(r.index.ttys[e.GetTty().GetTtyInfoId()]) == current &&
			r.index.sessionOf(r.index.holders[e.GetId()].pid) == session {
			list = append(list, e)
		}
	}
	return list
}

// openCurrentIn opens /dev/tty in the leader of a session, and takes it from
// there.
func (r *Rebuild) openCurrentIn(e *fdinfo.FileEntry, pid int, stub runner) (err error) {
	r.process = stub
	defer func() { r.process = nil }()
	defer stub.Reset()
	path, err := r.place([]byte(r.index.terminalPath(e) + "\x00"))
	if err != nil {
		return err
	}
	calls := []remote.Call{{
		Name: "open /dev/tty", Nr: unix.SYS_OPENAT, Must: true,
		Args: [6]uint64{atCWD, path, uint64(reopenFlags(e.GetTty().GetFlags()))},
	}}
	if err := stub.Run(calls); err != nil {
		return err
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(process)
	fd, err := unix.PidfdGetfd(process, int(calls[0].Ret), 0)
	if err != nil {
		return fmt.Errorf("take /dev/tty from process %d: %w", pid, err)
	}
	r.put(e.GetId(), fd)
	return stub.Run([]remote.Call{{Name: "close /dev/tty", Nr: unix.SYS_CLOSE, Args: [6]uint64{uint64(calls[0].Ret)}, Must: true}})
}

// atCWD is AT_FDCWD as an argument of a call.
const atCWD = ^uint64(99)

// errNoTerminal says that TakeTerminal was not called.
var errNoTerminal = errors.New("it leads a session and was given no terminal")

// foreground makes the group that could read from the terminal of a session the
// one that can. Its leader does it, once all groups exist.
func (r *Rebuild) foreground(pid uint32, stub runner) error {
	info, ok := r.index.sessionTerminal(pid)
	if !ok || info.GetPgrp() == 0 || !r.index.hasGroup(info.GetPgrp()) {
		return nil
	}
	if !noteOf[ttyRebuild](r.notes).taken[pid] {
		return errNoTerminal
	}
	number := int(info.GetPty().GetIndex())
	own := -1
	for _, e := range r.index.ends(number, slave) {
		own = r.fds[e.GetId()]
	}
	if own < 0 {
		var err error
		head := r.index.ends(number, master)[0]
		if own, err = openSlaveAt(slavePath(r.index.terminalPath(head), number), number, unix.O_RDWR); err != nil {
			return err
		}
		defer unix.Close(own)
	}
	group, err := r.place(wordBytes(info.GetPgrp()))
	if err != nil {
		return err
	}
	p := &planner{}
	terminal := p.fetchAnywhere(own, "terminal")
	c := p.must("set the terminal's foreground group (TIOCSPGRP)", unix.SYS_IOCTL, 0, unix.TIOCSPGRP, group)
	c.From[0] = terminal
	p.closeFetched(terminal)
	return stub.Run(p.calls)
}

// fetchAnywhere adds the calls by which a process gets one of crtime's
// descriptors at any number, and returns the number of the call that has it.
func (p *planner) fetchAnywhere(own int, what string) uint8 {
	p.must("open the restorer", unix.SYS_PIDFD_OPEN, uint64(os.Getpid()), 0)
	restorer := uint8(len(p.calls))
	fetch := p.must("fetch the "+what, unix.SYS_PIDFD_GETFD, 0, uint64(own), 0)
	fetch.From[0] = restorer
	return restorer + 1
}

// closeFetched closes what fetchAnywhere, whose last call has the given number,
// opened.
func (p *planner) closeFetched(call uint8) {
	p.must("close what was fetched", unix.SYS_CLOSE, 0).From[0] = call
	p.must("close the restorer's descriptor", unix.SYS_CLOSE, 0).From[0] = call - 1
}
