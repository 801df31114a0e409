// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"runtime"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fown"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// owner returns who is signalled when the file can be read or written
// (F_SETOWN, F_SETSIG), from any descriptor of the description.
func (c *Collection) owner(d *descriptor) (*fown.FownEntry, error) {
	e := noOwner()
	if d.fd < 0 || d.info.flags&unix.O_PATH != 0 {
		return e, nil
	}
	fd, err := c.file(d)
	if err != nil {
		return nil, err
	}
	signal, err := unix.FcntlInt(uintptr(fd), unix.F_GETSIG, 0)
	if err != nil {
		return nil, fmt.Errorf("ask for the owner's signal: %w", err)
	}
	e.Signum = proto.Uint32(uint32(signal))
	owner, err := getOwnerEx(fd)
	if err != nil {
		return nil, fmt.Errorf("ask for the owner: %w", err)
	}
	if owner.pid == 0 {
		return e, nil
	}
	uids, err := ownerUIDs(fd)
	if err != nil {
		return nil, fmt.Errorf("ask for the owner's user: %w", err)
	}
	e.PidType, e.Pid = proto.Uint32(uint32(owner.kind)), proto.Uint32(uint32(owner.pid))
	e.Uid, e.Euid = proto.Uint32(uids[0]), proto.Uint32(uids[1])
	return e, nil
}

// noOwner is the entry of a file without an owner.
func noOwner() *fown.FownEntry {
	return &fown.FownEntry{
		Uid: proto.Uint32(0), Euid: proto.Uint32(0), Signum: proto.Uint32(0),
		PidType: proto.Uint32(0), Pid: proto.Uint32(0),
	}
}

// setOwner gives a file its owner back. The owner, a thread perhaps, must exist.
func setOwner(fd int, e *fown.FownEntry) error {
	if signal := e.GetSignum(); signal != 0 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETSIG, int(signal)); err != nil {
			return fmt.Errorf("set the owner's signal %d: %w", signal, err)
		}
	}
	if e.GetPid() == 0 {
		return nil
	}
	return asUser(e.GetUid(), e.GetEuid(), func() error {
		owner := fOwnerEx{kind: int32(e.GetPidType()), pid: int32(e.GetPid())}
		if err := setOwnerEx(fd, owner); err != nil {
			return fmt.Errorf("set the owner to process %d: %w", owner.pid, err)
		}
		return nil
	})
}

// asUser calls f with the real and effective user of its thread changed. The
// kernel notes them with the owner of a file, and later checks them against the
// receiver of the signal. The raw call changes one thread alone, other than
// syscall.Setresuid.
func asUser(uid, euid uint32, f func() error) error {
	ruid, reuid := unix.Getuid(), unix.Geteuid()
	if int(uid) == ruid && int(euid) == reuid {
		return f()
	}
	const keep = ^uintptr(0)
	runtime.LockOSThread()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(euid), keep); errno != 0 {
		runtime.UnlockOSThread()
		return fmt.Errorf("become user %d for a moment: %w", uid, errno)
	}
	err := f()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(ruid), uintptr(reuid), keep); errno != 0 {
		// The thread stays locked, and ends with its goroutine.
		return fmt.Errorf("become the own user again: %w", errno)
	}
	runtime.UnlockOSThread()
	// A change of user makes a process undumpable, and the new processes could
	// not fetch descriptors from crtime any more.
	if undo := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err == nil && undo != nil {
		return fmt.Errorf("become dumpable again: %w", undo)
	}
	return err
}
