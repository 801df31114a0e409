// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestParseStat(t *testing.T) {
	const tail = ") S 1 2 3 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 9 0 12345 1000 10 18446744073709551615\n"
	tests := []struct{ name, comm string }{
		{"plain", "sleep"},
		{"space", "tmux: server"},
		{"closing parenthesis", "a) R 1 (b"},
		{"newline", "a\nb"},
		{"empty", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseStat([]byte("42 (" + tt.comm + tail))
			if err != nil {
				t.Fatal(err)
			}
			if s.PID != 42 || s.Comm != tt.comm || s.State != 'S' || s.PPID != 1 || s.NumThr != 9 || s.StartTime != 12345 || s.UTime != 50 || s.STime != 60 {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestParseStatRefuses(t *testing.T) {
	for _, line := range []string{"", "42", "42 (x", "x (y) S", "42 (y) S 1", "42 (y) " + strings.Repeat("x ", 30), ") (", "(x) S"} {
		if s, err := ParseStat([]byte(line)); err == nil {
			t.Errorf("%q: got %+v", line, s)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("1 (a) S"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := ParseStat(data); (s == nil) == (err == nil) {
			t.Errorf("value %v and error %v", s, err)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("NSpid:\nTgid: x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := ParseStatus(data); (s == nil) == (err == nil) {
			t.Errorf("value %v and error %v", s, err)
		}
	})
}

func TestReadOwn(t *testing.T) {
	st, err := ReadStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if st.PPID != os.Getppid() || st.KernelThread() {
		t.Errorf("got %+v", st)
	}
	status, err := ReadStatus(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if status.ThreadGroup != os.Getpid() || status.NSPids[len(status.NSPids)-1] != os.Getpid() || status.UID != os.Getuid() {
		t.Errorf("got %+v", status)
	}
}

func TestReadGone(t *testing.T) {
	const never = 1 << 30 // Above the largest pid_max.
	if _, err := ReadStat(never); !errors.Is(err, ErrGone) {
		t.Errorf("ReadStat: %v", err)
	}
	if _, err := ReadStatus(never); !errors.Is(err, ErrGone) {
		t.Errorf("ReadStatus: %v", err)
	}
	if _, err := Scan(never); !errors.Is(err, ErrGone) {
		t.Errorf("Scan: %v", err)
	}
}

func TestKernelThread(t *testing.T) {
	const kthreadd = 2
	st, err := ReadStat(kthreadd)
	if errors.Is(err, ErrGone) {
		t.Skip("no kthreadd in this pid namespace")
	}
	if err != nil {
		t.Fatal(err)
	}
	if st.Comm == "kthreadd" && !st.KernelThread() {
		t.Errorf("got %+v", st)
	}
}
