// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"strings"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/extra"
)

// markFor finds a mark by a word of its name.
func markFor(t *testing.T, word string) *mark {
	t.Helper()
	for _, marks := range [][]mark{threadMarks(), processMarks()} {
		for i := range marks {
			if strings.Contains(marks[i].what, word) {
				return &marks[i]
			}
		}
	}
	t.Fatalf("no mark is called %q", word)
	return nil
}

func TestMarkNote(t *testing.T) {
	for _, tt := range []struct {
		mark           string
		result, memory uint64
		want           uint64
		saved          bool
	}{
		{mark: "PR_SET_TSC", memory: unix.PR_TSC_ENABLE},
		{mark: "PR_SET_TSC", memory: unix.PR_TSC_SIGSEGV, want: unix.PR_TSC_SIGSEGV, saved: true},
		{mark: "PR_MCE_KILL", result: unix.PR_MCE_KILL_DEFAULT},
		{mark: "PR_MCE_KILL", result: unix.PR_MCE_KILL_LATE, want: unix.PR_MCE_KILL_LATE, saved: true},
		{mark: "store bypass", result: unix.PR_SPEC_NOT_AFFECTED},
		{mark: "store bypass", result: unix.PR_SPEC_FORCE_DISABLE},
		{mark: "store bypass", result: unix.PR_SPEC_PRCTL | unix.PR_SPEC_ENABLE},
		{mark: "store bypass", result: unix.PR_SPEC_PRCTL | unix.PR_SPEC_DISABLE_NOEXEC, want: unix.PR_SPEC_DISABLE_NOEXEC, saved: true},
		{mark: "indirect branches", result: unix.PR_SPEC_PRCTL | unix.PR_SPEC_FORCE_DISABLE, want: unix.PR_SPEC_FORCE_DISABLE, saved: true},
		{mark: "L1D", result: unix.PR_SPEC_PRCTL | unix.PR_SPEC_DISABLE},
		{mark: "L1D", result: unix.PR_SPEC_PRCTL | unix.PR_SPEC_ENABLE, want: unix.PR_SPEC_ENABLE, saved: true},
		{mark: "PR_SET_IO_FLUSHER", result: 1, want: 1, saved: true},
		{mark: "PR_SET_MEMORY_MERGE", result: 1, want: 1, saved: true},
	} {
		m := markFor(t, tt.mark)
		image := &criu_core.ThreadCoreEntry{}
		if err := m.note(image, tt.result, tt.memory); err != nil {
			t.Errorf("%s: %v", tt.mark, err)
		}
		if got, saved := extra.Value(image, m.field); got != tt.want || saved != tt.saved {
			t.Errorf("%s, the kernel says %#x and %#x: got %d (%v), want %d (%v)", tt.mark, tt.result, tt.memory, got, saved, tt.want, tt.saved)
		}
	}
	m := &mark{what: "thing", why: "there is no place for it"}
	if err := m.note(&criu_core.ThreadCoreEntry{}, 0, 0); err != nil {
		t.Errorf("a normal value of a mark without a field: %v", err)
	}
	if err := m.note(&criu_core.ThreadCoreEntry{}, 1, 0); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("a mark without a field: %v", err)
	}
}

func TestSpeculationFits(t *testing.T) {
	const choice = unix.PR_SPEC_PRCTL
	for _, tt := range []struct {
		here   int
		err    error
		v      uint64
		needed bool
		ok     bool
	}{
		{here: choice | unix.PR_SPEC_ENABLE, v: unix.PR_SPEC_DISABLE, needed: true, ok: true},
		{here: unix.PR_SPEC_NOT_AFFECTED, v: unix.PR_SPEC_DISABLE, ok: true},
		{here: unix.PR_SPEC_FORCE_DISABLE, v: unix.PR_SPEC_DISABLE, ok: true},
		{here: unix.PR_SPEC_ENABLE, v: unix.PR_SPEC_DISABLE},
		{here: unix.PR_SPEC_FORCE_DISABLE, v: unix.PR_SPEC_ENABLE},
		{err: unix.ENODEV, v: unix.PR_SPEC_DISABLE},
	} {
		needed, err := speculationFits(tt.here, tt.err, tt.v)
		if needed != tt.needed || (err == nil) != tt.ok {
			t.Errorf("%#x (%v) wanted where the machine says %#x: got %v, %v", tt.v, tt.err, tt.here, needed, err)
		}
	}
}

// TestInheritedMarks has crtime itself carry a mark that a restored thread must not.
func TestInheritedMarks(t *testing.T) {
	marks := []mark{*markFor(t, "PR_MCE_KILL"), *markFor(t, "PR_SET_TSC")}
	b := &batch{}
	image := &criu_core.ThreadCoreEntry{}
	extra.Set(image, fieldTimeStamps, unix.PR_TSC_SIGSEGV)
	if err := writeMarks(b, image, marks, []uint64{unix.PR_MCE_KILL_EARLY, unix.PR_TSC_ENABLE}); err != nil {
		t.Fatal(err)
	}
	if len(b.calls) != 2 || b.calls[0].Args[2] != unix.PR_MCE_KILL_DEFAULT || b.calls[0].Must || b.calls[1].Args[1] != unix.PR_TSC_SIGSEGV || !b.calls[1].Must {
		t.Errorf("got %+v", b.calls)
	}
	b = &batch{}
	if err := writeMarks(b, &criu_core.ThreadCoreEntry{}, threadMarks(), ownMarks(threadMarks())); err != nil || len(b.calls) > 0 {
		t.Errorf("for a thread like crtime's own: %v, %+v", err, b.calls)
	}
}

func TestClamps(t *testing.T) {
	for _, tt := range []struct {
		policy, least, most uint32
		plain               bool
	}{
		{unix.SCHED_NORMAL, 0, 0, true}, // A kernel without.
		{unix.SCHED_NORMAL, 0, 1024, true},
		{unix.SCHED_FIFO, 1024, 1024, true},
		{unix.SCHED_NORMAL, 1024, 1024, false},
		{unix.SCHED_NORMAL, 0, 512, false},
		{unix.SCHED_FIFO, 0, 512, false},
	} {
		tc := &criu_core.ThreadCoreEntry{}
		saveClamps(&unix.SchedAttr{Policy: tt.policy, Util_min: tt.least, Util_max: tt.most}, tc)
		most, saved := extra.Value(tc, fieldClampMax)
		if saved == tt.plain || saved && most != uint64(tt.most) {
			t.Errorf("%+v: got %d (%v)", tt, most, saved)
		}
		if err := checkClamps(tc); err != nil {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// TestClampsOfThisKernel gives the test's own thread clamps, where that can be.
func TestClampsOfThisKernel(t *testing.T) {
	pid, _ := startOdd(t, "plain")
	tc := &criu_core.ThreadCoreEntry{SchedNice: proto.Int32(0)}
	extra.Set(tc, fieldClampMin, 100)
	extra.Set(tc, fieldClampMax, 200)
	err := setAttributes(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, tc)
	if errors.Is(err, unix.EOPNOTSUPP) {
		if !strings.Contains(err.Error(), "this kernel does not have") {
			t.Errorf("got %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	attr, err := unix.SchedGetAttr(pid, 0)
	if err != nil || attr.Util_min != 100 || attr.Util_max != 200 {
		t.Errorf("got %+v, %v", attr, err)
	}
}
