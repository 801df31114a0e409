// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/binary"
	"fmt"

	file_lock "github.com/checkpoint-restore/go-criu/v7/crit/images/file-lock"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/remote"
)

// lock takes the locks of F_OFD_SETLK, which belong to an open file and to no process. It
// does not wait: whoever holds one that conflicts may be the dumped tree itself, still
// running.
func (r *Rebuild) lock(id uint32, fd int) error {
	for _, l := range r.index.locks[id] {
		if l.GetFlag() != lockOFD {
			continue
		}
		region := region(l)
		if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &region); err != nil {
			return fmt.Errorf("somebody else may have locked it since the dump: %w", err)
		}
	}
	return nil
}

// fileLocks are the calls that take a process's locks of flock. They belong to the open
// file, but the kernel shows who has taken them (/proc/locks).
func (r *Rebuild) fileLocks(pid uint32) []remote.Call {
	var calls []remote.Call
	for _, l := range r.set.FileLock {
		if l.GetFlag() != lockFlock || uint32(l.GetPid()) != pid {
			continue
		}
		how := unix.LOCK_SH
		if l.GetType() == unix.F_WRLCK {
			how = unix.LOCK_EX
		}
		calls = append(calls, remote.Call{
			Name: fmt.Sprintf("lock the file of descriptor %d of process %d again (somebody else may have locked it since the dump)", l.GetFd(), pid),
			Nr:   unix.SYS_FLOCK, Args: [6]uint64{uint64(l.GetFd()), uint64(how | unix.LOCK_NB)}, Must: true,
		})
	}
	return calls
}

// region is the part of a file that a lock covers.
func region(l *file_lock.FileLockEntry) unix.Flock_t {
	return unix.Flock_t{Type: int16(l.GetType()), Whence: unix.SEEK_SET, Start: l.GetStart(), Len: l.GetLen()}
}

// posixLocks are the calls that take a process's POSIX locks. They must be the
// last that has to do with files: a process loses them when it closes any
// descriptor of the same file.
func (r *Rebuild) posixLocks(pid uint32) ([]remote.Call, error) {
	var calls []remote.Call
	for _, l := range r.set.FileLock {
		if l.GetFlag() != lockPOSIX || uint32(l.GetPid()) != pid {
			continue
		}
		region := region(l)
		addr, err := r.place(flockBytes(&region))
		if err != nil {
			return nil, err
		}
		calls = append(calls, remote.Call{
			Name: fmt.Sprintf("lock the file of descriptor %d of process %d again (somebody else may have locked it since the dump)", l.GetFd(), pid),
			Nr:   unix.SYS_FCNTL, Args: [6]uint64{uint64(l.GetFd()), unix.F_SETLK, addr}, Must: true,
		})
	}
	return calls, nil
}

// wordBytes is a number as the kernel reads it.
func wordBytes(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// flockBytes is struct flock of a 64-bit machine as it lies in memory:
// l_type and l_whence (2 bytes each), 4 of padding, l_start, l_len, l_pid,
// padding.
func flockBytes(f *unix.Flock_t) []byte {
	const size = 32
	b := make([]byte, 0, size)
	b = binary.NativeEndian.AppendUint16(b, uint16(f.Type))
	b = binary.NativeEndian.AppendUint16(b, uint16(f.Whence))
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint64(b, uint64(f.Start))
	b = binary.NativeEndian.AppendUint64(b, uint64(f.Len))
	return append(b, make([]byte, size-len(b))...)
}
