// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// setID puts an id where an entry of files.img has it: in the entry itself and
// in the message of its kind. All of these messages call the field "id".
func setID(e *fdinfo.FileEntry, id uint32) {
	e.Id = &id
	if m := body(e); m != nil {
		if field := m.Descriptor().Fields().ByName("id"); field != nil {
			m.Set(field, protoreflect.ValueOfUint32(id))
		}
	}
}

// body returns the message of an entry's kind; nil: it has none. An entry has
// one alone.
func body(e *fdinfo.FileEntry) protoreflect.Message {
	var found protoreflect.Message
	e.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Kind() == protoreflect.MessageKind {
			found = value.Message()
		}
		return found == nil
	})
	return found
}

// bodyField is the field of an entry that has the message of each type which some
// kind opens.
var bodyField = map[fdinfo.FdTypes]protoreflect.Name{ //nolint:gochecknoglobals // A table that is never changed.
	fdinfo.FdTypes_REG: "reg", fdinfo.FdTypes_PIPE: "pipe", fdinfo.FdTypes_FIFO: "fifo", fdinfo.FdTypes_UNIXSK: "usk",
	fdinfo.FdTypes_EVENTFD: "efd", fdinfo.FdTypes_EVENTPOLL: "epfd", fdinfo.FdTypes_INOTIFY: "ify",
	fdinfo.FdTypes_SIGNALFD: "sgfd", fdinfo.FdTypes_TIMERFD: "tfd", fdinfo.FdTypes_MEMFD: "memfd",
	fdinfo.FdTypes_TTY: "tty", fdinfo.FdTypes_NS: "nsf",
}

// checkBody refuses an entry that has not the one message of its type.
func checkBody(e *fdinfo.FileEntry) error {
	want, ok := bodyField[e.GetType()]
	if !ok {
		return nil // No kind opens it, whatever it is.
	}
	found, others := false, 0
	e.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		switch {
		case field.Kind() != protoreflect.MessageKind:
		case field.Name() == want:
			found = true
		default:
			others++
		}
		return true
	})
	if !found || others > 0 {
		return fmt.Errorf("%w: file %d is of type %s, and has not the one message of such a file", criuimg.ErrDamaged, e.GetId(), e.GetType())
	}
	return nil
}

// carrier returns the entry that has an open file's flags and owner: for a FIFO
// that of its path, for all others their own.
func (x *index) carrier(e *fdinfo.FileEntry) *fdinfo.FileEntry {
	if f := e.GetFifo(); f != nil && x.files[fifoPath(f)] != nil {
		return x.files[fifoPath(f)]
	}
	return e
}

// flagsOf returns the open flags of an entry; 0: its kind has none.
func flagsOf(e *fdinfo.FileEntry) uint32 {
	m := body(e)
	if m == nil {
		return 0
	}
	field := m.Descriptor().Fields().ByName("flags")
	if field == nil || field.Kind() != protoreflect.Uint32Kind {
		return 0
	}
	return uint32(m.Get(field).Uint())
}
