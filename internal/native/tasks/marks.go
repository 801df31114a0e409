// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/extra"
)

// mark is a small property of a thread or of a process that one system call sets
// and another one tells, both of them only to the thread itself.
type mark struct {
	what   string           // For errors: "permission to read the time stamp counter (PR_SET_TSC)".
	field  protowire.Number // Where the image keeps it; 0: no image can keep it, and why says so.
	why    string
	normal uint64 // What a program has that never asked for anything else.
	most   uint64 // The largest value that there is.

	ask question
	// keep turns the kernel's answer into what is saved; nil: it is saved as it is.
	keep func(answer uint64) uint64
	give func(v uint64) (nr uintptr, args []uint64)
	// fits reports whether v can be given on this machine, and needs to be; nil: both.
	fits func(v uint64) (needed bool, err error)
}

// question is a system call that tells a mark.
type question struct {
	nr   uintptr
	args [3]uint64
	// into is the argument that points to 8 bytes of memory; 0: none does.
	into int
	// there says that the answer stands in that memory; otherwise it is the result.
	there bool
}

// prctlAsks is a question to prctl(2) that is answered by its result.
func prctlAsks(option uint64, args ...uint64) question {
	q := question{nr: unix.SYS_PRCTL, args: [3]uint64{option}}
	copy(q.args[1:], args)
	return q
}

// prctlGives is a call of prctl(2) that sets v.
func prctlGives(args ...uint64) func(v uint64) (uintptr, []uint64) {
	return func(v uint64) (uintptr, []uint64) { return unix.SYS_PRCTL, append(slices.Clip(args), v) }
}

// The marks, those that each thread has for itself and those that all threads of a
// process have in common.
var (
	threadMarks  = sync.OnceValue(makeThreadMarks)  //nolint:gochecknoglobals // Never changed.
	processMarks = sync.OnceValue(makeProcessMarks) //nolint:gochecknoglobals // Never changed.
)

func makeThreadMarks() []mark {
	return append([]mark{
		{
			what: "answer to memory errors (PR_MCE_KILL)", field: fieldMachineCheck,
			normal: unix.PR_MCE_KILL_DEFAULT, most: unix.PR_MCE_KILL_DEFAULT,
			ask: prctlAsks(unix.PR_MCE_KILL_GET), give: prctlGives(unix.PR_MCE_KILL, unix.PR_MCE_KILL_SET),
		},
		{
			what: "permission to read the time stamp counter (PR_SET_TSC)", field: fieldTimeStamps,
			normal: unix.PR_TSC_ENABLE, most: unix.PR_TSC_SIGSEGV,
			ask:  question{nr: unix.SYS_PRCTL, args: [3]uint64{unix.PR_GET_TSC}, into: 1, there: true},
			give: prctlGives(unix.PR_SET_TSC),
		},
		speculation("speculative store bypass", fieldStoreBypass, unix.PR_SPEC_STORE_BYPASS, unix.PR_SPEC_ENABLE),
		speculation("speculation on indirect branches", fieldIndirectBranch, unix.PR_SPEC_INDIRECT_BRANCH, unix.PR_SPEC_ENABLE),
		speculation("flushing of the L1D cache", fieldFlushL1D, unix.PR_SPEC_L1D_FLUSH, unix.PR_SPEC_DISABLE),
		{
			what: "mark of a thread that serves block devices (PR_SET_IO_FLUSHER)", field: fieldIOFlusher, most: 1,
			ask: prctlAsks(unix.PR_GET_IO_FLUSHER), give: prctlGives(unix.PR_SET_IO_FLUSHER),
			fits: func(uint64) (bool, error) {
				_, err := unix.PrctlRetInt(unix.PR_GET_IO_FLUSHER, 0, 0, 0, 0)
				if err != nil {
					return true, fmt.Errorf("only CAP_SYS_RESOURCE may set it, which crtime does not have: %w", err)
				}
				return true, nil
			},
		},
	}, machineThreadMarks()...)
}

func makeProcessMarks() []mark {
	return append([]mark{{
		what: "request to merge equal pages of memory (PR_SET_MEMORY_MERGE)", field: fieldMergeMemory, most: 1,
		ask: prctlAsks(unix.PR_GET_MEMORY_MERGE), give: prctlGives(unix.PR_SET_MEMORY_MERGE),
	}}, machineProcessMarks()...)
}

// speculation is the mark of one of the features of a processor that
// PR_SET_SPECULATION_CTRL controls.
func speculation(what string, field protowire.Number, feature, normal uint64) mark {
	what += " (PR_SET_SPECULATION_CTRL)"
	return mark{
		what: what, field: field, normal: normal, most: unix.PR_SPEC_DISABLE_NOEXEC,
		ask:  prctlAsks(unix.PR_GET_SPECULATION_CTRL, feature),
		give: prctlGives(unix.PR_SET_SPECULATION_CTRL, feature),
		keep: func(answer uint64) uint64 {
			// Without this bit it is the machine that decides, not the thread.
			if answer&unix.PR_SPEC_PRCTL == 0 {
				return normal
			}
			return answer &^ unix.PR_SPEC_PRCTL
		},
		fits: func(v uint64) (bool, error) {
			here, err := unix.PrctlRetInt(unix.PR_GET_SPECULATION_CTRL, uintptr(feature), 0, 0, 0)
			return speculationFits(here, err, v)
		},
	}
}

// speculationFits reports whether a thread can be given v for a feature that the
// kernel describes as here, and needs to be.
func speculationFits(here int, err error, v uint64) (needed bool, _ error) {
	const off = unix.PR_SPEC_DISABLE | unix.PR_SPEC_FORCE_DISABLE | unix.PR_SPEC_DISABLE_NOEXEC
	switch {
	case err == nil && here&unix.PR_SPEC_PRCTL != 0:
		return true, nil
	case err == nil && (here == unix.PR_SPEC_NOT_AFFECTED || here&off != 0 && v&off != 0):
		return false, nil // It is so anyway.
	case err == nil:
		return false, errors.New("this machine does not let threads choose")
	default:
		return false, fmt.Errorf("this machine does not have the feature: %w", err)
	}
}

// markError says that a mark cannot be given.
func (m *mark) error(err error) error { return fmt.Errorf("its %s cannot be set: %w", m.what, err) }

// askMarks adds the calls that ask for marks. The returned function notes in an
// image, after the batch was run, what is not normal.
func askMarks(b *batch, marks []mark) (func(proto.Message) error, error) {
	const size = 8
	at, err := b.put(make([]byte, size*len(marks)))
	if err != nil {
		return nil, err
	}
	first := len(b.calls)
	for i := range marks {
		q := marks[i].ask
		if q.into > 0 {
			q.args[q.into] = at + uint64(i)*size
		}
		b.may("ask for its "+marks[i].what).call(q.nr, q.args[:]...)
	}
	return func(image proto.Message) error {
		answers := make([]byte, size*len(marks))
		if err := b.in.Read(at, answers); err != nil {
			return err
		}
		for i := range marks {
			// What the kernel does not know cannot have been set; what a process may
			// not ask for it could not set either.
			if c := &b.calls[first+i]; c.Err() == nil {
				if err := marks[i].note(image, uint64(c.Ret), binary.NativeEndian.Uint64(answers[i*size:])); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil
}

// note saves a mark that is not normal.
func (m *mark) note(image proto.Message, result, memory uint64) error {
	v := result
	if m.ask.there {
		v = memory
	}
	if m.keep != nil {
		v = m.keep(v)
	}
	switch {
	case v == m.normal:
	case m.field == 0:
		return fmt.Errorf("%w: it has a %s: %s", engine.ErrUnsavable, m.what, m.why)
	default:
		extra.Set(image, m.field, v)
	}
	return nil
}

// checkMarks refuses marks that cannot be given on this machine.
func checkMarks(image proto.Message, marks []mark) error {
	for i := range marks {
		m := &marks[i]
		v, saved := extra.Value(image, m.field)
		if m.field == 0 || !saved {
			continue
		}
		if v > m.most {
			return fmt.Errorf("the image has %d for its %s", v, m.what)
		}
		if m.fits != nil {
			if _, err := m.fits(v); err != nil {
				return m.error(err)
			}
		}
	}
	return nil
}

// writeMarks adds the calls that give a thread or process the marks of its image.
// inherited are those that it has from crtime, in the same order.
func writeMarks(b *batch, image proto.Message, marks []mark, inherited []uint64) error {
	for i := range marks {
		m := &marks[i]
		if m.field == 0 {
			continue
		}
		v, saved := extra.Value(image, m.field)
		switch {
		case saved:
			needed, err := true, error(nil)
			if m.fits != nil {
				needed, err = m.fits(v)
			}
			if err != nil {
				return m.error(err)
			}
			if needed {
				nr, args := m.give(v)
				b.must("set its %s to %d", m.what, v).call(nr, args...)
			}
		case inherited[i] != m.normal:
			// Some of them cannot be taken back.
			nr, args := m.give(m.normal)
			b.may("reset its "+m.what).call(nr, args...)
		}
	}
	return nil
}

// What every stub has inherited from crtime, asked once.
var (
	inheritedThreadMarks  = sync.OnceValue(func() []uint64 { return ownMarks(threadMarks()) })  //nolint:gochecknoglobals // Never changed.
	inheritedProcessMarks = sync.OnceValue(func() []uint64 { return ownMarks(processMarks()) }) //nolint:gochecknoglobals // Never changed.
)

// ownMarks asks for the marks of the calling thread.
func ownMarks(marks []mark) []uint64 {
	own := make([]uint64, len(marks))
	for i := range marks {
		m := &marks[i]
		own[i] = m.normal
		result, memory, err := askOwn(m.ask)
		if err != nil {
			continue
		}
		if own[i] = result; m.ask.there {
			own[i] = memory
		}
		if m.keep != nil {
			own[i] = m.keep(own[i])
		}
	}
	return own
}
