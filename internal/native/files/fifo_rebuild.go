// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fifo"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// fifoPath is the id of the regular file that has a FIFO's path and flags. Old
// images have the same id for both.
func fifoPath(f *fifo.FifoEntry) uint32 {
	if f.RegfId != nil {
		return f.GetRegfId()
	}
	return f.GetId()
}

func (fifoKind) check(x *index, e *fdinfo.FileEntry) error {
	if x.files[fifoPath(e.GetFifo())].GetReg() == nil {
		return fmt.Errorf("%w: the path of a FIFO is not in the images", criuimg.ErrDamaged)
	}
	return nil
}

// fifos are descriptors that keep FIFOs open in both directions, by pipe id:
// the contents go with the last descriptor of a FIFO, and to open one end alone
// waits for the other.
type fifos struct{ fds map[uint32]int }

func (f *fifos) close() error { return (&anchors{fds: f.fds}).close() }

func (fifoKind) open(r *Rebuild, e *fdinfo.FileEntry) (int, error) {
	reg, err := r.index.regular(fifoPath(e.GetFifo()))
	if err != nil {
		return -1, err
	}
	note := noteOf[fifos](r.notes)
	if _, ok := note.fds[e.GetFifo().GetPipeId()]; !ok {
		both, err := r.openRegular(reg, unix.O_RDWR|unix.O_NONBLOCK)
		if err != nil {
			return -1, err
		}
		if note.fds == nil {
			note.fds = map[uint32]int{}
		}
		note.fds[e.GetFifo().GetPipeId()] = both
		if err := fillPipe(both, r.index.fifoData[e.GetFifo().GetPipeId()]); err != nil {
			return -1, err
		}
	}
	// Packet mode (O_DIRECT) can be set only on the open FIFO.
	fd, err := r.openRegular(reg, reg.GetFlags()&^(unix.O_DIRECT|unix.O_ASYNC))
	if err != nil {
		return -1, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, int(reg.GetFlags()&statusFlags)); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set the flags %#o: %w", reg.GetFlags(), err)
	}
	return fd, nil
}
