// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/eventpoll"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
)

// epollKind is event polls, epoll_create(2). What an instance watches is known
// to it by the open file and the number of the descriptor that was given to
// epoll_ctl, so each is added again by the process itself, with that number.
type epollKind struct{}

func (epollKind) handles(d *descriptor) bool  { return d.link == "anon_inode:[eventpoll]" }
func (epollKind) obstacle(*descriptor) string { return "" }
func (epollKind) types() []fdinfo.FdTypes     { return []fdinfo.FdTypes{fdinfo.FdTypes_EVENTPOLL} }

func (epollKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	watches, err := parseEpoll(d.info.rest)
	if err != nil {
		return nil, err
	}
	if err := findWatched(d, watches); err != nil {
		return nil, err
	}
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_EVENTPOLL.Enum(), Epfd: &eventpoll.EventpollFileEntry{
		Id: proto.Uint32(0), Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC), Fown: owner, Tfd: watches,
	}}, nil
}

// findWatched makes sure that every watched file is still behind a descriptor of
// the process. Where the one that was added is not (it was closed, or replaced,
// while a duplicate lives on), it notes the duplicate's number.
func findWatched(d *descriptor, watches []*eventpoll.EventpollTfdEntry) error {
	// Several watches may have one number, when the descriptor was replaced;
	// the kernel counts them in the order of fdinfo.
	nth := map[uint32]uint32{}
	var fds []int
	for _, w := range watches {
		slot := epollSlot{epoll: uint32(d.fd), target: w.GetTfd(), nth: nth[w.GetTfd()]}
		nth[w.GetTfd()]++
		if watchesFile(d.pid, int(w.GetTfd()), slot) {
			continue
		}
		if fds == nil {
			var err error
			if fds, err = listDescriptors(d.pid); err != nil {
				return err
			}
		}
		found := false
		for _, fd := range fds {
			if found = watchesFile(d.pid, fd, slot); found {
				extra.Set(w, fieldAddedAs, uint64(w.GetTfd()))
				w.Tfd = proto.Uint32(uint32(fd))
				break
			}
		}
		if !found {
			return fmt.Errorf("it watches a file that process %d has no descriptor of any more (it was number %d, and belongs to another process, or was sent away): %w",
				d.pid, w.GetTfd(), ErrObstacle)
		}
	}
	return nil
}

// parseEpoll reads the lines of fdinfo that tell what an epoll instance watches.
func parseEpoll(lines []string) ([]*eventpoll.EventpollTfdEntry, error) {
	var watches []*eventpoll.EventpollTfdEntry
	for _, line := range lines {
		if !strings.HasPrefix(line, "tfd:") {
			continue
		}
		var tfd, events, dev uint32
		var data, ino uint64
		var pos int64
		n, err := fmt.Sscanf(line, "tfd: %d events: %x data: %x pos:%d ino:%x sdev:%x", &tfd, &events, &data, &pos, &ino, &dev)
		if n < 3 {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		w := &eventpoll.EventpollTfdEntry{
			Id: proto.Uint32(0), Tfd: proto.Uint32(tfd), Events: proto.Uint32(events), Data: proto.Uint64(data),
		}
		if n == 6 {
			w.Pos, w.Inode, w.Dev = proto.Uint64(uint64(pos)), proto.Uint64(ino), proto.Uint32(dev)
		}
		watches = append(watches, w)
	}
	return watches, nil
}

// check refuses an instance whose watched descriptors are not there.
func (epollKind) check(x *index, e *fdinfo.FileEntry) error {
	holder, held := x.holders[e.GetId()]
	if !held {
		return nil
	}
	seen := make(map[watchKey]bool, len(e.GetEpfd().GetTfd()))
	for _, w := range e.GetEpfd().GetTfd() {
		target := x.fileAt(holder.pid, w.GetTfd())
		if target == nil {
			return fmt.Errorf("%w: an epoll instance watches descriptor %d of process %d, which it does not have",
				criuimg.ErrDamaged, w.GetTfd(), holder.pid)
		}
		key := watchKey{file: target.GetId(), number: addedAs(w)}
		if seen[key] || key.number > maxDescriptor {
			return fmt.Errorf("%w: an epoll instance watches file %d by number %d twice", criuimg.ErrDamaged, key.file, key.number)
		}
		seen[key] = true
	}
	if n := x.depth(e); n < 1 || n > maxNesting {
		return fmt.Errorf("%w: epoll instances watch each other too deeply, or in a circle", criuimg.ErrDamaged)
	}
	return nil
}

// watchKey is what tells the watches of an instance apart.
type watchKey struct{ file, number uint32 }

// maxNesting is how many epoll instances can watch each other in a row:
// EP_MAX_NESTS of the kernel's fs/eventpoll.c, and the first.
const maxNesting = 5

// depth is how many epoll instances deep one is, itself counted; a large number
// if there is a circle.
func (x *index) depth(e *fdinfo.FileEntry) int {
	if n, ok := x.nesting[e.GetId()]; ok {
		if n == 0 {
			return maxNesting + 1
		}
		return n
	}
	x.nesting[e.GetId()] = 0
	n := 1
	holder, held := x.holders[e.GetId()]
	for _, w := range e.GetEpfd().GetTfd() {
		if inner := x.fileAt(holder.pid, w.GetTfd()); held && inner.GetEpfd() != nil {
			n = max(n, min(x.depth(inner), maxNesting)+1)
		}
	}
	x.nesting[e.GetId()] = n
	return n
}

// fieldAddedAs is a field of crtime's own in eventpoll_tfd_entry: the number by
// which a file was added, where that has been closed or replaced since. The
// entry's own number is then another one of the same file, as CRIU has it.
const fieldAddedAs = 50001

// addedAs is the number by which a watched file was added.
func addedAs(w *eventpoll.EventpollTfdEntry) uint32 {
	if number, ok := extra.Value(w, fieldAddedAs); ok {
		return uint32(min(number, maxDescriptor+1))
	}
	return w.GetTfd()
}

func (epollKind) open(_ *Rebuild, e *fdinfo.FileEntry) (int, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make an epoll instance: %w", err)
	}
	return withStatus(fd, e.GetEpfd().GetFlags())
}
