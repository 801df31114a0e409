// SPDX-License-Identifier: Apache-2.0

package files

import (
	"slices"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"

	"github.com/crtime/crtime/internal/native/remote"
)

// kind is one sort of open file. Its values hold no state of their own: what a
// kind has to remember during a dump or a restore it keeps by noteOf.
type kind interface {
	// handles reports whether a descriptor is of this kind, from its link text
	// and fstat. The first kind of the table that says yes has it.
	handles(d *descriptor) bool
	// obstacle says why this one cannot be saved, and what the user can do, or
	// "". Survey calls it while the tree runs, Collect again when it is stopped;
	// it looks at /proc alone.
	obstacle(d *descriptor) string
	// collect returns the entry of an open file that no earlier descriptor
	// shares. The caller fills in Id.
	collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error)
	// types are the types of entries that open takes.
	types() []fdinfo.FdTypes
	// open makes the file anew in crtime itself and returns a descriptor with
	// CLOEXEC, which the caller owns. A kind that must make several files at
	// once (both ends of a pair) hands the others to Rebuild.put, and open is
	// not called for those any more.
	open(r *Rebuild, e *fdinfo.FileEntry) (int, error)
}

// surveyor is a kind that names its obstacles better than by the link text.
type surveyor interface {
	// what names the object, without the descriptor's number: "TCP socket
	// 127.0.0.1:80".
	what(d *descriptor) string
}

// checker is a kind that can refuse entries of an image before there is any
// process. All entries of its types are passed to it one by one.
type checker interface {
	check(x *index, e *fdinfo.FileEntry) error
}

// preparer is a kind that needs to see all its descriptors before any of them
// is collected.
type preparer interface {
	prepare(c *Collection, own []*descriptor)
}

// finisher is a kind whose entries can be completed only when every file of the
// tree has its id, such as an epoll instance, which names the files it watches.
type finisher interface {
	finish(c *Collection) error
}

// installer is a kind that needs calls in a process which has the descriptor,
// once all descriptors of that process are installed. They are made once for
// each open file, in the first process that has it, with fd its number there.
type installer interface {
	install(r *Rebuild, e *fdinfo.FileEntry, fd int) ([]remote.Call, error)
}

// armer is a kind that is started last, after the time namespace was joined. It
// is called once for each open file, with crtime's own descriptor.
type armer interface {
	arm(r *Rebuild, e *fdinfo.FileEntry, fd int) error
}

// lateKind is a kind some of whose files can be opened only when the processes
// exist: those are opened by the first Install, not by OpenAll.
type lateKind interface {
	late(r *Rebuild, e *fdinfo.FileEntry) bool
}

// settler is a kind with work that needs all files of the tree to be open in
// crtime: queued data, links between files. It is called once for each file,
// with crtime's own descriptor, after the last open.
type settler interface {
	settle(r *Rebuild, e *fdinfo.FileEntry, fd int) error
}

// kinds is every kind, in the order in which they are asked. What none of them
// handles is an obstacle.
var kinds = []kind{ //nolint:gochecknoglobals // A table that is never changed.
	eventfdKind{},
	signalfdKind{},
	timerfdKind{},
	epollKind{},
	inotifyKind{},
	unixKind{},
	pipeKind{},
	memfdKind{},
	ttyKind{},
	nsKind{},
	fifoKind{},
	regularKind{},
	unsupportedKind{},
}

// kindOf returns the kind of a descriptor; nil: none handles it.
func kindOf(d *descriptor) kind {
	if d.kind != nil {
		return d.kind
	}
	for _, k := range kinds {
		if k.handles(d) {
			d.kind = k
			return k
		}
	}
	return nil
}

// kindFor returns the kind that opens entries of a type; nil: none does.
func kindFor(t fdinfo.FdTypes) kind {
	for _, k := range kinds {
		if slices.Contains(k.types(), t) {
			return k
		}
	}
	return nil
}

// notebook is where the kinds keep what they remember, one value of each type.
type notebook map[any]any

// noteOf returns the note of type T, a new zero one if there is none yet.
func noteOf[T any](n notebook) *T {
	var key *T
	if note, ok := n[key].(*T); ok {
		return note
	}
	note := new(T)
	n[key] = note
	return note
}
