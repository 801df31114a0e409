// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/image/view"
	"github.com/crtime/crtime/internal/proc"
)

// respan sets timers of a tree that stands still to a span again, which CRIU was made to
// set to a point in time because that is exact. They are due when they were: but
// /proc/PID/fdinfo shows how a timer was set, and what is dumped next time is told by it.
// ids are their files.
func respan(root int, images string, ids map[uint32]bool) error {
	if len(ids) == 0 {
		return nil
	}
	tree, err := proc.Scan(root)
	if err != nil {
		return err
	}
	rest := maps.Clone(ids)
	for _, pid := range tree.PIDs() {
		timers, err := timersOf(pid, images, rest)
		if err != nil {
			return err
		}
		for id, fd := range timers {
			if err := respanOne(pid, fd); err != nil {
				return fmt.Errorf("timer with descriptor %d of process %d: %w", fd, pid, err)
			}
			delete(rest, id)
		}
	}
	return nil
}

// timersOf finds descriptors of a process in the images, by their files, of those that are
// wanted.
func timersOf(pid int, images string, wanted map[uint32]bool) (map[uint32]int, error) {
	status, err := proc.ReadStatus(pid)
	if err != nil {
		return nil, err
	}
	own := pid
	if n := len(status.NSPids); n > 0 {
		own = status.NSPids[n-1]
	}
	ids := &criucore.TaskKobjIdsEntry{}
	if _, err := view.ReadEntry(filepath.Join(images, fmt.Sprintf("ids-%d.img", own)), ids); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil // A zombie.
		}
		return nil, err
	}
	found := map[uint32]int{}
	err = eachMessage(filepath.Join(images, fmt.Sprintf("fdinfo-%d.img", ids.GetFilesId())), func(data []byte) error {
		e := &fdinfo.FdinfoEntry{}
		if err := proto.Unmarshal(data, e); err != nil {
			return err
		}
		if e.GetType() == fdinfo.FdTypes_TIMERFD && wanted[e.GetId()] {
			found[e.GetId()] = int(e.GetFd())
		}
		return nil
	})
	return found, err
}

// respanOne sets one timer to a span.
func respanOne(pid, fd int) error {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(process)
	timer, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_getfd", err)
	}
	defer unix.Close(timer)
	return setToSpan(timer)
}

// setToSpan sets a timer to the span that is left of it. What it has counted stays.
func setToSpan(timer int) error {
	// What expires between the looking and the setting would not be counted.
	const near = time.Millisecond
	for {
		var t unix.ItimerSpec
		if err := unix.TimerfdGettime(timer, &t); err != nil {
			return os.NewSyscallError("timerfd_gettime", err)
		}
		looked := time.Now()
		left := time.Duration(t.Value.Nano())
		if 0 < left && left < near {
			time.Sleep(left)
			continue
		}
		// After the look: that counts the periods of a timer that nobody has read.
		ticks, err := ticksOf(timer)
		if err != nil {
			return err
		}
		if left > 0 {
			if left -= time.Since(looked); left <= 0 {
				continue
			}
			t.Value = unix.NsecToTimespec(int64(left))
		}
		if err := unix.TimerfdSettime(timer, 0, &t, nil); err != nil {
			return os.NewSyscallError("timerfd_settime", err)
		}
		if ticks > 0 {
			return setTicks(timer, ticks)
		}
		return nil
	}
}

// ticksOf is how often a timer has expired since it was last read.
func ticksOf(timer int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", timer))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "ticks:"); ok {
			return strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, errors.New("it is no timer")
}
