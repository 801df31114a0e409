// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
)

// Survey names everything that the processes of a tree have open and that
// cannot be saved. It looks at /proc alone and stops nothing, so what it says
// may be outdated at once; Collect asks again. A process that has ended has no
// obstacles.
func Survey(pids []int, l Limits) ([]engine.Obstacle, error) {
	t := newTree(pids, l)
	var found []engine.Obstacle
	for i, err := range t.describe() {
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		pid := pids[i]
		for _, d := range t.described[pid] {
			if why := d.obstacle(); why != "" {
				found = append(found, engine.Obstacle{PID: pid, Comm: comm(pid), What: d.what(), Why: why})
			}
		}
		shared, err := t.sharing(pid)
		if err != nil && !gone(err) {
			return nil, err
		}
		found = append(append(found, shared...), t.lostTerminal(pid)...)
	}
	return found, nil
}

// lostTerminal finds a session whose controlling terminal cannot be given back,
// because nobody in the tree has its master end. Where some process has it open
// the descriptor is an obstacle by itself; this is for where none has.
func (t *tree) lostTerminal(pid int) []engine.Obstacle {
	s, ok := t.stats[pid]
	if !ok || s.session != pid || s.terminal == 0 {
		return nil
	}
	name := fmt.Sprintf("device %d:%d", unix.Major(s.terminal), unix.Minor(s.terminal))
	if unix.Major(s.terminal) == majorPTS {
		if t.terminals().masters[int(unix.Minor(s.terminal))] {
			return nil
		}
		name = "/dev/pts/" + strconv.Itoa(int(unix.Minor(s.terminal)))
	}
	return []engine.Obstacle{{
		PID: pid, Comm: comm(pid), What: "controlling terminal " + name,
		Why: "it leads a session on it, and its other end is outside: dump the terminal emulator or server with it, or dump what runs in the session",
	}}
}

// obstacle says why a file cannot be saved, or "".
func (d *descriptor) obstacle() string {
	k := kindOf(d)
	if k == nil {
		return unknownReason(d)
	}
	return k.obstacle(d)
}

// what names the object for an engine.Obstacle.
func (d *descriptor) what() string {
	what := d.link
	if s, ok := kindOf(d).(surveyor); ok {
		what = s.what(d)
	}
	if d.fd < 0 {
		return what + " (" + d.path[strings.LastIndexByte(d.path, '/')+1:] + ")"
	}
	return what + " (descriptor " + strconv.Itoa(d.fd) + ")"
}

// unknownReason is for what no kind handles.
func unknownReason(d *descriptor) string {
	switch {
	case d.mode() == unix.S_IFBLK:
		return "open block devices cannot be saved: let the program close it first"
	case d.mode() == unix.S_IFCHR:
		return fmt.Sprintf("the state of device %d:%d cannot be saved: let the program close it first",
			unix.Major(d.stat.Rdev), unix.Minor(d.stat.Rdev))
	default:
		return "open files of this sort cannot be saved: let the program close it first"
	}
}

// gone reports whether an error of /proc says that the process, the thread or
// the descriptor has ended.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// comm is a process's name for messages.
func comm(pid int) string {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(string(name), "\n")
}
