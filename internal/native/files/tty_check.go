// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"path"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// check refuses terminals that cannot be made again.
func (ttyKind) check(x *index, e *fdinfo.FileEntry) error {
	info := x.ttys[e.GetTty().GetTtyInfoId()]
	if info == nil {
		return fmt.Errorf("%w: there is no terminal %d", criuimg.ErrDamaged, e.GetTty().GetTtyInfoId())
	}
	end := infoEnd(info)
	switch info.GetType() {
	case tty.TtyType_PTY:
		switch {
		case info.GetPty() == nil || info.GetPty().GetIndex() > maxPTYIndex:
			return fmt.Errorf("%w: a pseudo terminal with the number %d", criuimg.ErrDamaged, info.GetPty().GetIndex())
		case end != master && end != slave:
			return fmt.Errorf("%w: a pseudo terminal that is device %#x", criuimg.ErrDamaged, info.GetRdev())
		}
	case tty.TtyType_CTTY:
		if end != current {
			return fmt.Errorf("%w: /dev/tty that is device %#x", criuimg.ErrDamaged, info.GetRdev())
		}
	default:
		return fmt.Errorf("%w: a terminal of type %s", criuimg.ErrUnsupported, info.GetType())
	}
	name := x.terminalPath(e)
	if why := wrongTerminalPath(name, end, int(info.GetPty().GetIndex())); why != "" {
		return fmt.Errorf("%w: its path is %q: %s", criuimg.ErrDamaged, name, why)
	}
	if end == master && len(x.ends(int(info.GetPty().GetIndex()), master)) > 1 {
		return fmt.Errorf("%w: pseudo terminal %d has two masters", criuimg.ErrDamaged, info.GetPty().GetIndex())
	}
	return nil
}

// wrongTerminalPath says why a terminal cannot have a path, or "".
func wrongTerminalPath(name string, end terminalEnd, index int) string {
	want := map[terminalEnd]string{master: "ptmx", slave: strconv.Itoa(index), current: "tty"}[end]
	switch {
	case !cleanPath(name):
		return "it is no path"
	case path.Base(name) != want:
		return "its last part should be " + want
	default:
		return ""
	}
}

// infoEnd tells which end of a terminal an entry of tty-info.img is of.
func infoEnd(info *tty.TtyInfoEntry) terminalEnd { return endOf(uint64(info.GetRdev())) }

// terminalPath is the path of a terminal. Images of old versions of CRIU have
// none.
func (x *index) terminalPath(e *fdinfo.FileEntry) string {
	if reg := x.files[e.GetTty().GetRegfId()].GetReg(); reg != nil && e.GetTty().RegfId != nil {
		return reg.GetName()
	}
	info := x.ttys[e.GetTty().GetTtyInfoId()]
	switch infoEnd(info) {
	case master:
		return "/dev/ptmx"
	case slave:
		return "/dev/pts/" + strconv.Itoa(int(info.GetPty().GetIndex()))
	default:
		return "/dev/tty"
	}
}

// ends lists the files of one end of a pseudo terminal that some process has a
// descriptor of.
func (x *index) ends(index int, end terminalEnd) []*fdinfo.FileEntry {
	var list []*fdinfo.FileEntry
	for _, e := range x.set.Files {
		if e.GetTty() == nil {
			continue
		}
		if _, held := x.holders[e.GetId()]; !held {
			continue
		}
		info := x.ttys[e.GetTty().GetTtyInfoId()]
		if info.GetPty() != nil && int(info.GetPty().GetIndex()) == index && infoEnd(info) == end {
			list = append(list, e)
		}
	}
	return list
}

// sessionTerminal is the number of the pseudo terminal that is the controlling
// one of a session led by a process of the tree.
func (x *index) sessionTerminal(leader uint32) (info *tty.TtyInfoEntry, ok bool) {
	for _, t := range x.set.TTYInfo {
		if t.GetSid() == leader && t.GetPty() != nil && x.leads(leader) && len(x.ends(int(t.GetPty().GetIndex()), master)) > 0 {
			return t, true
		}
	}
	return nil, false
}

// leads reports whether a process of the tree leads a session.
func (x *index) leads(pid uint32) bool {
	for _, p := range x.set.Tree {
		if p.GetPid() == pid {
			return p.GetSid() == pid
		}
	}
	return false
}

// hasGroup reports whether some process of the tree is in a process group.
func (x *index) hasGroup(group uint32) bool {
	for _, p := range x.set.Tree {
		if p.GetPgid() == group && group != 0 {
			return true
		}
	}
	return false
}

// sessionOf is the session of a process of the tree.
func (x *index) sessionOf(pid uint32) uint32 {
	for _, p := range x.set.Tree {
		if p.GetPid() == pid {
			return p.GetSid()
		}
	}
	return 0
}
