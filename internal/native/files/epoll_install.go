// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/eventpoll"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/remote"
)

// install adds what the instance watches, in the process: the numbers are its
// own, and a watched signalfd takes the signals of the process that adds it.
//
// A watch that has fired with EPOLLONESHOT, and waits to be armed again, may
// fire once more if its file has an error or was hung up: the kernel always adds
// these two events.
func (epollKind) install(r *Rebuild, e *fdinfo.FileEntry, fd int) ([]remote.Call, error) {
	var plain, moved []*eventpoll.EventpollTfdEntry
	for _, w := range e.GetEpfd().GetTfd() {
		if addedAs(w) == w.GetTfd() {
			plain = append(plain, w)
		} else {
			moved = append(moved, w)
		}
	}
	for watches := range slices.Chunk(plain, watchesAtOnce) {
		calls, err := addWatches(r, watches, fd)
		if err := r.runAndReset(calls, err); err != nil {
			return nil, err
		}
	}
	for _, w := range moved {
		calls, err := r.addAs(w, fd)
		if err := r.runAndReset(calls, err); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// addAs is the calls that add a watch by a number that is another file's, or
// nobody's: the watched file gets it for a moment.
func (r *Rebuild) addAs(w *eventpoll.EventpollTfdEntry, fd int) ([]remote.Call, error) {
	number := uint64(addedAs(w))
	there := r.index.tables[holder{uint32(r.process.PID()), uint32(number)}]
	p := &planner{}
	if there != nil {
		p.must("keep the file of a descriptor", unix.SYS_FCNTL, number, unix.F_DUPFD_CLOEXEC, 0)
	}
	p.must("lend a descriptor's number", unix.SYS_DUP3, uint64(w.GetTfd()), number, unix.O_CLOEXEC)
	as := proto.CloneOf(w)
	as.Tfd = proto.Uint32(uint32(number))
	add, err := addWatches(r, []*eventpoll.EventpollTfdEntry{as}, fd)
	if err != nil {
		return nil, err
	}
	p.calls = append(p.calls, add...)
	if there == nil {
		p.must("take the number back", unix.SYS_CLOSE, number)
		return p.calls, nil
	}
	flags := uint64(0)
	if there.GetFlags()&fdCloexec != 0 {
		flags = unix.O_CLOEXEC
	}
	p.must("put the descriptor back", unix.SYS_DUP3, 0, number, flags).From[0] = 1
	p.must("close the copy", unix.SYS_CLOSE, 0).From[0] = 1
	return p.calls, nil
}

// watchesAtOnce is how many watches are added by one batch of calls: an instance
// may have more than the process has room for at a time.
const watchesAtOnce = 256

// addWatches is the calls that add some watches to the instance behind fd.
func addWatches(r *Rebuild, watches []*eventpoll.EventpollTfdEntry, fd int) ([]remote.Call, error) {
	table := make([]byte, 0, len(watches)*epollEventSize)
	for _, w := range watches {
		table = appendEpollEvent(table, w)
	}
	addr, err := r.place(table)
	if err != nil {
		return nil, fmt.Errorf("write %d watches: %w", len(watches), err)
	}
	calls := make([]remote.Call, len(watches))
	for i, w := range watches {
		calls[i] = remote.Call{
			Name: fmt.Sprintf("epoll_ctl (add descriptor %d to %d)", w.GetTfd(), fd),
			Nr:   unix.SYS_EPOLL_CTL,
			Args: [6]uint64{uint64(fd), unix.EPOLL_CTL_ADD, uint64(w.GetTfd()), addr + uint64(i*epollEventSize)},
			Must: true,
		}
	}
	return calls, nil
}

// appendEpollEvent encodes struct epoll_event.
func appendEpollEvent(b []byte, w *eventpoll.EventpollTfdEntry) []byte {
	b = binary.LittleEndian.AppendUint32(b, w.GetEvents())
	b = append(b, make([]byte, epollEventSize-12)...)
	return binary.LittleEndian.AppendUint64(b, w.GetData())
}
