// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	file_lock "github.com/checkpoint-restore/go-criu/v7/crit/images/file-lock"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Sorts of locks, as the images number them.
const (
	lockPOSIX = 1
	lockFlock = 2
	lockOFD   = 4
)

// heldLock is one "lock:" line of a fdinfo file.
type heldLock struct {
	sort       uint32 // One of the above.
	exclusive  bool
	start, end int64 // First and last byte; end math.MaxInt64: up to the end of the file.
}

// parseLock parses what follows "lock:", which is the form of /proc/locks:
// "1: POSIX  ADVISORY  WRITE 4711 00:1f:3 0 EOF". See proc_locks(5).
func parseLock(line string) (heldLock, error) {
	fields := strings.Fields(line)
	if len(fields) != 8 {
		return heldLock{}, fmt.Errorf("lock %q: it has %d fields, not 8", line, len(fields))
	}
	var l heldLock
	switch fields[1] {
	case "POSIX":
		l.sort = lockPOSIX
	case "FLOCK":
		l.sort = lockFlock
	case "OFDLCK":
		l.sort = lockOFD
	default:
		return l, fmt.Errorf("lock %q: locks of sort %s are not known", line, fields[1])
	}
	switch fields[3] {
	case "READ":
	case "WRITE":
		l.exclusive = true
	default:
		return l, fmt.Errorf("lock %q: its access %s is not known", line, fields[3])
	}
	var err error
	if l.start, err = strconv.ParseInt(fields[6], 10, 64); err != nil {
		return l, fmt.Errorf("lock %q: %w", line, err)
	}
	l.end = math.MaxInt64
	if fields[7] != "EOF" {
		if l.end, err = strconv.ParseInt(fields[7], 10, 64); err != nil {
			return l, fmt.Errorf("lock %q: %w", line, err)
		}
	}
	if l.start < 0 || l.end < l.start {
		return l, fmt.Errorf("lock %q: its range makes no sense", line)
	}
	return l, nil
}

// lockObstacle says why a lock cannot be saved, or "".
func lockObstacle(line string, l Limits) string {
	_, err := parseLock(line)
	switch {
	case err != nil && strings.Contains(line, "LEASE"):
		return "it has a lease (F_SETLEASE), which cannot be saved"
	case err != nil:
		return err.Error()
	case !l.FileLocks:
		return "it is locked: --file-locks allows crtime to save locks"
	default:
		return ""
	}
}

// lockTable notes the locks that have been saved: several descriptors may show
// the same one.
type lockTable struct{ seen map[lockKey]bool }

// lockKey tells locks apart. A POSIX lock belongs to a process, the others to
// an open file.
type lockKey struct {
	heldLock
	pid  int
	file uint32
}

// note saves the locks that a descriptor shows. id is that of its file.
func (t *lockTable) note(c *Collection, d *descriptor, id uint32) error {
	for _, line := range d.info.locks {
		l, err := parseLock(line)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", d, ErrObstacle, err)
		}
		key := lockKey{heldLock: l, file: id}
		if l.sort == lockPOSIX {
			key.pid = d.pid
		}
		if t.seen[key] {
			continue
		}
		if t.seen == nil {
			t.seen = map[lockKey]bool{}
		}
		t.seen[key] = true
		c.set.FileLock = append(c.set.FileLock, l.entry(d.pid, d.fd))
	}
	return nil
}

// entry makes the image of a lock.
func (l heldLock) entry(pid, fd int) *file_lock.FileLockEntry {
	kind, length := uint32(unix.F_RDLCK), int64(0)
	if l.exclusive {
		kind = unix.F_WRLCK
	}
	if l.end != math.MaxInt64 {
		length = l.end - l.start + 1
	}
	return &file_lock.FileLockEntry{
		Flag: proto.Uint32(l.sort), Type: proto.Uint32(kind),
		Pid: proto.Int32(int32(pid)), Fd: proto.Int32(int32(fd)),
		Start: proto.Int64(l.start), Len: proto.Int64(length),
	}
}
