// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"math"
	"os"
	"testing"

	core_x86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/internal/native/extra"
)

// TestExtensions fails when go-criu learns a field that is taken for unknown.
func TestExtensions(t *testing.T) {
	for _, tt := range []struct {
		m     proto.Message
		field protowire.Number
	}{
		{&creds.CredsEntry{}, fieldNoNewPrivs},
		{&creds.CredsEntry{}, fieldCapAmb},
		{&criu_core.TaskCoreEntry{}, fieldMembarriers},
		{&core_x86.UserX86XsaveEntry{}, fieldCET},
		{&criu_core.ThreadCoreEntry{}, fieldAffinity},
		{&criu_core.ThreadCoreEntry{}, fieldTimerSlack},
		{&criu_core.ThreadCoreEntry{}, fieldCall},
		{&criu_core.ThreadCoreEntry{}, fieldIOPriority},
		{&criu_core.TaskCoreEntry{}, fieldCoreFilter},
	} {
		fields := tt.m.ProtoReflect().Descriptor().Fields()
		if f := fields.ByNumber(tt.field); f != nil {
			t.Errorf("go-criu knows field %d of %s by the name %s: use it", tt.field, tt.m.ProtoReflect().Descriptor().FullName(), f.Name())
		}
	}
}

func TestExtraSurvivesMarshalling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.Uint64()).Draw(t, "values")
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		want := call{
			number: rapid.Int64Range(0, 600).Draw(t, "number"),
			result: rapid.Int64Range(-4095, 0).Draw(t, "result"),
		}
		for i := range want.args {
			want.args[i] = rapid.Uint64().Draw(t, "argument")
		}
		if want.known = rapid.Bool().Draw(t, "known"); want.known {
			clocks := []int32{unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_REALTIME, unix.CLOCK_TAI}
			want.rest = Rest{
				Clock: rapid.SampledFrom(clocks).Draw(t, "clock"),
				Left:  rapid.Int64().Draw(t, "left"),
				Fuzz:  rapid.Int64Min(0).Draw(t, "fuzz"),
			}
		}
		m := &criu_core.ThreadCoreEntry{FutexRla: proto.Uint64(1), FutexRlaLen: proto.Uint32(2)}
		for _, v := range values {
			extra.Set(m, fieldTimerSlack, v)
		}
		extra.SetBytes(m, fieldAffinity, data)
		setCall(m, want)
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again := &criu_core.ThreadCoreEntry{}
		if err := proto.Unmarshal(b, again); err != nil {
			t.Fatal(err)
		}
		if got := extra.All(again, fieldTimerSlack); fmt.Sprint(got) != fmt.Sprint(values) {
			t.Errorf("got %v, want %v", got, values)
		}
		if got := extra.Bytes(again, fieldAffinity); string(got) != string(data) {
			t.Errorf("got %v, want %v", got, data)
		}
		if got, ok := getCall(again); !ok || got != want {
			t.Errorf("got %+v, %v, want %+v", got, ok, want)
		}
	})
}

// TestPackedExtras reads what CRIU's compiler writes.
func TestPackedExtras(t *testing.T) {
	m := &creds.CredsEntry{}
	packed := protowire.AppendVarint(protowire.AppendVarint(nil, 1<<10), 3)
	extra.SetBytes(m, fieldCapAmb, packed)
	if got := capSet(extra.All(m, fieldCapAmb)); got != 3<<32|1<<10 {
		t.Errorf("got %#x", got)
	}
	// An unfinished number says no more than those before it.
	extra.SetBytes(m, fieldCapAmb, []byte{0x80})
	if got := extra.All(m, fieldCapAmb); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func FuzzGetCall(f *testing.F) {
	m := &criu_core.ThreadCoreEntry{}
	setCall(m, call{number: unix.SYS_FUTEX, result: restartBlocked, args: [6]uint64{1, 2, 3, 4, 5, 6}})
	f.Add(extra.Bytes(m, fieldCall))
	limited := call{number: unix.SYS_FUTEX, result: restartBlocked, known: true, rest: Rest{Clock: unix.CLOCK_MONOTONIC, Left: -5, Fuzz: 1}}
	setCall(m, limited)
	f.Add(extra.Bytes(m, fieldCall))
	f.Add([]byte{0x08})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &criu_core.ThreadCoreEntry{}
		extra.SetBytes(m, fieldCall, b)
		c, ok := getCall(m)
		if !ok && c != (call{}) {
			t.Errorf("got %+v out of what is damaged", c)
		}
		if !ok {
			return
		}
		setCall(m, c)
		if again, ok := getCall(m); !ok || again != c {
			t.Errorf("got %+v, and %+v, %v from that", c, again, ok)
		}
	})
}

func TestParseLimits(t *testing.T) {
	text, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		t.Fatal(err)
	}
	limits, err := parseLimits(text)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range limits.Rlimits {
		var want unix.Rlimit
		if err := unix.Prlimit(0, i, nil, &want); err != nil {
			t.Fatal(err)
		}
		equal(t, limitNames()[i], fmt.Sprint(r.GetCur(), r.GetMax()), fmt.Sprint(want.Cur, want.Max))
	}
	for _, bad := range []string{"", "Max cpu time 1 2 seconds\n", "Max cpu time x unlimited seconds\n", "Max cpu time\n"} {
		if _, err := parseLimits([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzParseLimits(f *testing.F) {
	text, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		limits, err := parseLimits(text)
		if (limits == nil) != (err != nil) {
			t.Errorf("got %v and %v", limits, err)
		}
		if limits != nil && len(limits.Rlimits) != 16 {
			t.Errorf("got %d limits", len(limits.Rlimits))
		}
	})
}

func TestParseStatus(t *testing.T) {
	const text = "Name:\ta b\\\\c\nUmask:\t0027\nTracerPid:\t7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n" +
		"CapInh:\t0000000000000001\nCapPrm:\t000001ffffffffff\nCapEff:\t0\nCapBnd:\tff\nCapAmb:\t2\n" +
		"NoNewPrivs:\t1\nSeccomp:\t2\nx86_Thread_features:\tshstk wrss \nuntag_mask:\t0x7fffffffffffffff\n"
	st, err := parseStatus([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v", *st)
	want := "{name:a b\\c uid:[1 2 3 4] gid:[5 6 7 8] groups:[9 10] capInh:1 capPrm:2199023255551 capEff:0 capBnd:255 capAmb:2 noNewPrivs:true seccomp:2 umask:23 features:[shstk wrss] tracer:7 tagged:true}"
	equal(t, "status", got, want)
	equal(t, "an odd name", unescape(`back\\slash\nline`), "back\\slash\nline")
	for _, bad := range []string{
		"", "Uid:\t1\t2\t3\t4\n", "Uid:\t1\t2\t3\nGid:\t1\t2\t3\t4\n",
		"Uid:\t1\t2\t3\tx\nGid:\t1\t2\t3\t4\n", "Uid:\t1\t2\t3\t4\nGid:\t1\t2\t3\t4\nCapEff:\t1 2\n", "Uid:\t1\t2\t3\t4\nGid:\t1\t2\t3\t4\nUmask:\t8\n",
	} {
		if _, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		if st, err := parseStatus(text); (st == nil) != (err != nil) {
			t.Errorf("got %v and %v", st, err)
		}
	})
}

func TestParseCPUs(t *testing.T) {
	tests := []struct {
		text, want string
		ok         bool
	}{
		{"0\n", "[[0 0]]", true},
		{"0-3\n", "[[0 3]]", true},
		{"0-1,4,6-7", "[[0 1] [4 4] [6 7]]", true},
		{"", "", false},
		{"0-", "", false},
		{"x", "", false},
	}
	for _, tt := range tests {
		got, err := parseCPUs(tt.text)
		if (err == nil) != tt.ok || tt.ok && fmt.Sprint(got) != tt.want {
			t.Errorf("%q: got %v, %v", tt.text, got, err)
		}
	}
	if !cpuOnline(0) || cpuOnline(1<<20) {
		t.Error("CPU 0 is there, and no CPU has the number of a million")
	}
}

func TestPersonality(t *testing.T) {
	// As the kernel says it, and as CRIU writes it.
	for _, p := range []uint32{0, 8, 0x40000, 0x20000, 0x400000, 0x440000, 0x4000000, 0x8000000, 0x60000} {
		var wrong uint32
		if _, err := fmt.Sscanf(fmt.Sprintf("%08x", p), "%08d", &wrong); err != nil {
			t.Fatal(err)
		}
		for _, written := range []uint32{p, wrong} {
			if got := personalityOf(&criu_core.TaskCoreEntry{Personality: &written}); got != p {
				t.Errorf("%d: got %#x, want %#x", written, got, p)
			}
		}
	}
}

func TestLimitText(t *testing.T) {
	equal(t, "no limit", limitText(math.MaxUint64), "unlimited")
	equal(t, "a limit", limitText(5), "5")
}

// TestDifferences is about the judge of other tests: it must see what differs.
func TestDifferences(t *testing.T) {
	a := &criu_core.TaskCoreEntry{Comm: proto.String("a"), ExitCode: proto.Uint32(1)}
	b := proto.CloneOf(a)
	none := func(string) bool { return false }
	equal(t, "of equal ones", len(differences(a, b, none)), 0)
	*b.Comm = "b"
	extra.Set(b, fieldMembarriers, 3)
	equal(t, "of two fields", fmt.Sprint(differences(a, b, none)), "[.22: nothing and 03  comm: a and b]")
	b.Comm = nil
	equal(t, "of one that is skipped", len(differences(a, b, func(path string) bool { return path == ".22" })), 1)
}
