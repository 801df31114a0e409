// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	"golang.org/x/sys/unix"
)

// openOnce are flags that only matter at the open that made the file. O_TMPFILE
// holds O_DIRECTORY too, which must stay where it stands alone.
const openOnce = unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC | unix.O_TMPFILE&^unix.O_DIRECTORY

// reopenFlags turns recorded flags into those for opening the file again in
// crtime.
func reopenFlags(flags uint32) int {
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		flags &^= unix.O_DIRECTORY
	}
	return int(flags&^openOnce) | unix.O_CLOEXEC | unix.O_NOCTTY
}

// reopen opens the file behind one of crtime's own descriptors another time: a
// new description of the same file.
func reopen(fd int, flags uint32) (int, error) {
	// The link of /proc is followed in any case; O_NOFOLLOW would refuse it.
	how := reopenFlags(flags) &^ unix.O_NOFOLLOW
	return unix.Open("/proc/self/fd/"+strconv.Itoa(fd), how, 0)
}

func (regularKind) open(r *Rebuild, e *fdinfo.FileEntry) (int, error) {
	reg := e.GetReg()
	fd, err := r.openRegular(reg, reg.GetFlags())
	if err != nil {
		return -1, err
	}
	if reg.GetFlags()&unix.O_PATH == 0 && reg.GetPos() != noPosition {
		if _, err := unix.Seek(fd, int64(reg.GetPos()), unix.SEEK_SET); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("go to position %d: %w", int64(reg.GetPos()), err)
		}
	}
	return fd, nil
}

// openRegular opens a file by its path, or what stands for it, and makes sure
// that it is the one that the dump saw. The caller owns the descriptor.
func (r *Rebuild) openRegular(reg *regfile.RegFileEntry, flags uint32) (int, error) {
	var fd int
	var err error
	if remap := r.index.remaps[reg.GetId()]; remap != nil {
		var anchor int
		if anchor, err = r.ghost(reg, remap); err != nil {
			return -1, err
		}
		fd, err = reopen(anchor, flags)
	} else {
		fd, err = unix.Open(reg.GetName(), reopenFlags(flags), 0)
	}
	if err != nil {
		return -1, err
	}
	if err := verify(fd, reg); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// verify compares an opened file with what was recorded. The size tells a file
// that was changed since, which the program would not expect.
func verify(fd int, reg *regfile.RegFileEntry) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at it: %w", err)
	}
	if reg.Mode != nil && st.Mode != reg.GetMode() {
		return fmt.Errorf("its mode is %#o now, and was %#o at the dump: restore the file as it was", st.Mode, reg.GetMode())
	}
	if reg.Size != nil && uint64(st.Size) != reg.GetSize() {
		return fmt.Errorf("its size is %d now, and was %d at the dump: restore the file as it was", st.Size, reg.GetSize())
	}
	return nil
}
