// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/eventfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// eventfdKind is event counters, eventfd(2).
//
// The image has no field for a semaphore. It is kept as an access mode that no
// open file can have (3) in the entry's flags, which others ignore.
type eventfdKind struct{}

// semaphoreMark in an entry's flags marks a counter made with EFD_SEMAPHORE.
const semaphoreMark = unix.O_ACCMODE

func (eventfdKind) handles(d *descriptor) bool { return d.link == "anon_inode:[eventfd]" }
func (eventfdKind) obstacle(d *descriptor) string {
	if counter, _, err := parseEventfd(d.info.rest); err == nil && counter == math.MaxUint64 {
		return "it has overflowed: let the program read it first"
	}
	return ""
}
func (eventfdKind) types() []fdinfo.FdTypes { return []fdinfo.FdTypes{fdinfo.FdTypes_EVENTFD} }

func (eventfdKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	counter, semaphore, err := parseEventfd(d.info.rest)
	if err != nil {
		return nil, err
	}
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	flags := d.info.flags &^ unix.O_CLOEXEC
	if semaphore {
		flags |= semaphoreMark
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_EVENTFD.Enum(), Efd: &eventfd.EventfdFileEntry{
		Id: proto.Uint32(0), Flags: proto.Uint32(flags), Fown: owner, Counter: proto.Uint64(counter),
	}}, nil
}

// check refuses the one value that no counter can be set to.
func (eventfdKind) check(_ *index, e *fdinfo.FileEntry) error {
	if e.GetEfd().GetCounter() == math.MaxUint64 {
		return fmt.Errorf("%w: an event counter that has overflowed", criuimg.ErrDamaged)
	}
	return nil
}

func (eventfdKind) open(_ *Rebuild, e *fdinfo.FileEntry) (int, error) {
	flags := unix.EFD_CLOEXEC
	if e.GetEfd().GetFlags()&unix.O_ACCMODE == semaphoreMark {
		flags |= unix.EFD_SEMAPHORE
	}
	fd, err := unix.Eventfd(0, flags)
	if err != nil {
		return -1, fmt.Errorf("make an event counter: %w", err)
	}
	if err := addEvents(fd, e.GetEfd().GetCounter()); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return withStatus(fd, e.GetEfd().GetFlags())
}

// withStatus gives a new descriptor its recorded status flags (O_NONBLOCK and
// its like). On an error it is closed.
func withStatus(fd int, flags uint32) (int, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, int(flags&statusFlags)); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set the status flags %#o: %w", flags, err)
	}
	return fd, nil
}

// addEvents counts up a new event counter. eventfd(2) takes 32 bits only.
func addEvents(fd int, n uint64) error {
	if n == 0 {
		return nil
	}
	if _, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, n)); err != nil {
		return fmt.Errorf("set an event counter to %d: %w", n, err)
	}
	return nil
}

// parseEventfd reads the lines of fdinfo that belong to an event counter. Before
// Linux 6.5 there is none that tells a semaphore, which then counts as none.
func parseEventfd(lines []string) (counter uint64, semaphore bool, err error) {
	if counter, err = lineNumber(lines, "eventfd-count", 16); err != nil {
		return 0, false, err
	}
	n, err := lineNumber(lines, "eventfd-semaphore", 10)
	if errors.Is(err, errNoLine) {
		return counter, false, nil
	}
	return counter, n != 0, err
}

// errNoLine says that fdinfo lacks a line.
var errNoLine = errors.New("fdinfo has no such line")

// lineNumber finds the line "name: number" of a fdinfo file. The error is
// errNoLine if there is none.
func lineNumber(lines []string, name string, base int) (uint64, error) {
	for _, line := range lines {
		key, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(key) != name {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), base, 64)
		if err != nil {
			return 0, fmt.Errorf("line %q: %w", line, err)
		}
		return n, nil
	}
	return 0, fmt.Errorf("%s: %w", name, errNoLine)
}
