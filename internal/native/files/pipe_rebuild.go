// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// largefile is O_LARGEFILE as the kernel shows it; x/sys/unix has 0 for 64-bit
// machines, where programs need not give it. An end that came from open, of a
// /proc link, has it, and the two that pipe(2) made do not.
const largefile = 0o100000

// check refuses what no pipe could have.
func (pipeKind) check(_ *index, e *fdinfo.FileEntry) error {
	return checkUsers(e.GetPipe(), fieldOwnerUID, fieldOwnerGID)
}

// open makes a pipe with all its ends at once.
func (pipeKind) open(r *Rebuild, e *fdinfo.FileEntry) (int, error) {
	id := e.GetPipe().GetPipeId()
	var pair [2]int
	if err := unix.Pipe2(pair[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return -1, err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := fillPipe(pair[1], r.index.pipeData[id]); err != nil {
		return -1, err
	}
	if err := r.giveBack(pair[0], e.GetId(), e.GetPipe()); err != nil {
		return -1, err
	}
	var given [2]bool
	own := -1
	for _, end := range r.index.pipes[id] {
		if _, held := r.index.holders[end.GetId()]; !held {
			continue
		}
		fd, err := pipeEnd(pair, &given, end.GetPipe().GetFlags())
		if err != nil {
			return -1, err
		}
		if end == e {
			own = fd
			continue
		}
		r.put(end.GetId(), fd)
	}
	return own, nil
}

// pipeEnd returns a descriptor for one end: one of the original two, once each,
// or one that is opened anew.
func pipeEnd(pair [2]int, given *[2]bool, flags uint32) (int, error) {
	side := 0
	if writeOnly(flags) {
		side = 1
	}
	original := flags&largefile == 0 && flags&unix.O_ACCMODE != unix.O_RDWR && !given[side]
	var fd int
	var err error
	if original {
		given[side] = true
		fd, err = unix.FcntlInt(uintptr(pair[side]), unix.F_DUPFD_CLOEXEC, 0)
	} else {
		// Packet mode can be set only on the open pipe.
		fd, err = reopen(pair[0], flags&^(unix.O_DIRECT|unix.O_ASYNC)|unix.O_NONBLOCK)
	}
	if err != nil {
		return -1, fmt.Errorf("open an end of a pipe: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, int(flags&statusFlags)); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set the flags %#o: %w", flags, err)
	}
	return fd, nil
}

// statusFlags are what F_SETFL can change, without O_ASYNC: that is set in the
// process itself, because the kernel notes the descriptor's number with it.
const statusFlags = unix.O_APPEND | unix.O_NONBLOCK | unix.O_DIRECT | unix.O_NOATIME

// fillPipe gives a pipe its size and contents; nil: nothing is known of them. The
// descriptor must not block.
func fillPipe(fd int, contents *criuimg.PipeData) error {
	if contents == nil {
		return nil
	}
	if contents.Entry.Size != nil {
		if err := setPipeSize(fd, int(contents.Entry.GetSize())); err != nil {
			return err
		}
	}
	packets, err := packetsOf(contents)
	if err != nil {
		return err
	}
	parts := packets
	if packets == nil {
		parts = [][]byte{contents.Data}
	} else {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_DIRECT|unix.O_NONBLOCK); err != nil {
			return fmt.Errorf("set packet mode: %w", err)
		}
	}
	for _, part := range parts {
		for len(part) > 0 {
			n, err := unix.Write(fd, part)
			if err != nil {
				return fmt.Errorf("put %d bytes into a pipe: %w", len(contents.Data), err)
			}
			part = part[n:]
		}
	}
	return nil
}

// checkPipeData refuses contents that no pipe could have held.
func (x *index) checkPipeData() error {
	for name, list := range map[string][]*criuimg.PipeData{"pipes-data.img": x.set.PipeData, "fifo-data.img": x.set.FIFOData} {
		for i, p := range list {
			if p.Entry == nil {
				return fmt.Errorf("%s: entry %d: %w: it is empty", name, i, criuimg.ErrDamaged)
			}
			if size := p.Entry.GetSize(); p.Entry.Size != nil && (size > maxPipeBytes || uint32(len(p.Data)) > size) {
				return fmt.Errorf("%s: entry %d: %w: %d bytes in a pipe of %d", name, i, criuimg.ErrDamaged, len(p.Data), size)
			}
			if _, err := packetsOf(p); err != nil {
				return fmt.Errorf("%s: entry %d: %w", name, i, err)
			}
		}
	}
	return nil
}

// maxPipeBytes is the largest size that F_SETPIPE_SZ takes, 2^31.
const maxPipeBytes = 1 << 31
