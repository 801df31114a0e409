// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

func TestVDSORange(t *testing.T) {
	const maps = "7ffd0000-7ffd4000 r--p 00000000 00:00 0                          [vvar]\n" +
		"7ffd4000-7ffd6000 r-xp 00000000 00:00 0                          [vdso]\n"
	if from, to, ok := vdsoRange([]byte(maps)); from != 0x7ffd4000 || to != 0x7ffd6000 || !ok {
		t.Errorf("got %x-%x, %v", from, to, ok)
	}
	for _, text := range []string{"", "x [vdso]\n", "1-g r [vdso]", "1000-2000 r-xp 0 0:0 0 /lib/libc.so\n"} {
		if from, to, ok := vdsoRange([]byte(text)); ok {
			t.Errorf("%q: got %x-%x", text, from, to)
		}
	}
	own, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if from, to, ok := vdsoRange(own); !ok || from >= to {
		t.Errorf("this process: %x-%x, %v", from, to, ok)
	}
}

func TestProgramCounter(t *testing.T) {
	tests := []struct {
		line string
		want uint64
		ok   bool
	}{
		{"running\n", 0, false},
		{"-1 0x7ffd12 0x7f34ab\n", 0x7f34ab, true},
		{"230 0x0 0x0 0x7ffd 0x7ffd 0x0 0x5 0x7ffd12 0x7f34ab\n", 0x7f34ab, true},
		{"-1 0x1 zzz\n", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		if got, ok := programCounter([]byte(tt.line)); got != tt.want || ok != tt.ok {
			t.Errorf("%q: got %x, %v", tt.line, got, ok)
		}
	}
}

func TestClockReaderOfSleeper(t *testing.T) {
	pid := startSleep(t).Process.Pid
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	defer unix.PtraceDetach(pid)
	if err := unix.PtraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	s, err := proc.Scan(pid)
	if err != nil {
		t.Fatal(err)
	}
	if tid, err := clockReader(s); tid != 0 || err != nil {
		t.Errorf("a process in a system call: got thread %d, %v", tid, err)
	}
}
