// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timerfd"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// timerfdKind is timers with a descriptor, timerfd_create(2). The image holds
// the remaining time of each, whether it was set to an absolute time or not.
type timerfdKind struct{}

func (timerfdKind) handles(d *descriptor) bool  { return d.link == "anon_inode:[timerfd]" }
func (timerfdKind) obstacle(*descriptor) string { return "" }
func (timerfdKind) types() []fdinfo.FdTypes     { return []fdinfo.FdTypes{fdinfo.FdTypes_TIMERFD} }

func (timerfdKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	fd, err := c.file(d)
	if err != nil {
		return nil, err
	}
	t, seen, err := readTimerfd(fd)
	if err != nil {
		return nil, err
	}
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	t.Id, t.Flags, t.Fown = proto.Uint32(c.lastID), proto.Uint32(d.info.flags&^unix.O_CLOEXEC), owner
	found := foundTimer{entry: t, place: timerPlace{d.pid, d.fd}}
	if left := timerLeft(t); left > 0 {
		found.deadline = saturatingAdd(seen, left)
	}
	note := noteOf[timerfds](c.notes)
	note.list = append(note.list, found)
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_TIMERFD.Enum(), Tfd: t}, nil
}

// readTimerfd reads the state of a timer through crtime's own duplicate. seen
// is what its timeline read at that moment, in nanoseconds.
func readTimerfd(fd int) (t *timerfd.TimerfdEntry, seen int64, err error) {
	// A periodic timer that has expired shows no remaining time until somebody
	// looks: the kernel then counts what was missed and starts it anew, which
	// changes nothing that its owner could see. It may expire again before fdinfo
	// is read, so it is looked at until it shows a time.
	const attempts = 100
	for range attempts {
		var now unix.ItimerSpec
		if err := unix.TimerfdGettime(fd, &now); err != nil {
			return nil, 0, fmt.Errorf("ask for the timer's time: %w", err)
		}
		text, err := readFdinfo(os.Getpid(), fd)
		if err != nil {
			return nil, 0, err
		}
		if t, err = parseTimerfd(text.rest); err != nil {
			return nil, 0, err
		}
		if seen, err = timelineNow(t); err != nil {
			return nil, 0, err
		}
		if timerLeft(t) > 0 || timerInterval(t) == 0 {
			return t, seen, nil
		}
	}
	if t.GetTicks() == 0 {
		return t, seen, nil // It was stopped, and given a period all the same.
	}
	return nil, 0, fmt.Errorf("its period of %d ns is too short to be saved: let the program stop the timer first", timerInterval(t))
}

// parseTimerfd reads the lines of fdinfo that belong to a timer.
func parseTimerfd(lines []string) (*timerfd.TimerfdEntry, error) {
	var numbers [3]uint64
	for i, line := range []struct {
		name string
		base int
	}{{"clockid", 10}, {"ticks", 10}, {"settime flags", 8}} {
		var err error
		if numbers[i], err = lineNumber(lines, line.name, line.base); err != nil {
			return nil, err
		}
	}
	t := &timerfd.TimerfdEntry{
		Clockid: proto.Uint32(uint32(numbers[0])), Ticks: proto.Uint64(numbers[1]),
		SettimeFlags: proto.Uint32(uint32(numbers[2])),
	}
	var err error
	if t.Vsec, t.Vnsec, err = lineTime(lines, "it_value"); err != nil {
		return nil, err
	}
	t.Isec, t.Insec, err = lineTime(lines, "it_interval")
	return t, err
}

// lineTime finds the line "name: (seconds, nanoseconds)" of a fdinfo file.
func lineTime(lines []string, name string) (sec, nsec *uint64, err error) {
	for _, line := range lines {
		value, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		var s, ns uint64
		if _, err := fmt.Sscanf(strings.TrimSpace(value), "(%d, %d)", &s, &ns); err != nil {
			return nil, nil, fmt.Errorf("line %q: %w", line, err)
		}
		if ns >= nanosPerSecond {
			return nil, nil, fmt.Errorf("line %q: %d nanoseconds are more than a second", line, ns)
		}
		return &s, &ns, nil
	}
	return nil, nil, fmt.Errorf("%s: %w", name, errNoLine)
}

const nanosPerSecond = 1_000_000_000

// countable reports whether the kernel can count a time in nanoseconds. What a
// program asks for beyond that becomes the largest such time (KTIME_MAX).
func countable(sec, nsec uint64) bool {
	const most = math.MaxInt64 / nanosPerSecond
	return nsec < nanosPerSecond && (sec < most || sec == most && nsec <= math.MaxInt64%nanosPerSecond)
}

// check refuses what the kernel would not take.
func (timerfdKind) check(_ *index, e *fdinfo.FileEntry) error {
	t := e.GetTfd()
	for _, part := range [][2]uint64{{t.GetVsec(), t.GetVnsec()}, {t.GetIsec(), t.GetInsec()}} {
		if !countable(part[0], part[1]) {
			return fmt.Errorf("%w: a timer of %d s and %d ns", criuimg.ErrDamaged, part[0], part[1])
		}
	}
	switch t.GetClockid() {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME,
		unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM:
		return nil
	default:
		return fmt.Errorf("%w: a timer on clock %d", criuimg.ErrUnsupported, t.GetClockid())
	}
}

// open makes a timer that does not run yet.
func (timerfdKind) open(_ *Rebuild, e *fdinfo.FileEntry) (int, error) {
	fd, err := unix.TimerfdCreate(int(e.GetTfd().GetClockid()), unix.TFD_CLOEXEC)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w: timers that wake the machine need CAP_WAKE_ALARM", err)
	}
	if err != nil {
		return -1, fmt.Errorf("make a timer on clock %d: %w", e.GetTfd().GetClockid(), err)
	}
	return withStatus(fd, e.GetTfd().GetFlags())
}
