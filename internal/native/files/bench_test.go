// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"os"
	"testing"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// benchmarks are the trees that are measured.
var benchmarks = []struct {
	name, mode string
	words      int
}{
	{"200 files", "many", 5},
	{"300 watched counters", "epolls", 5},
	{"20 sockets", "socketpairs", 6},
	{"4 processes of 150", "shared", 24},
	{"100 processes", "crowd", 104},
}

// BenchmarkSurvey looks at a running tree.
func BenchmarkSurvey(b *testing.B) {
	for _, one := range benchmarks {
		b.Run(one.name, func(b *testing.B) {
			h := hold(b, one.mode, one.words)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Survey(h.pids, everything); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCollect collects a tree: all of it is time for which the tree stands
// still.
func BenchmarkCollect(b *testing.B) {
	for _, one := range benchmarks {
		b.Run(one.name, func(b *testing.B) {
			h := hold(b, one.mode, one.words)
			b.ReportAllocs()
			for b.Loop() {
				_, c, err := h.collect(everything)
				if err != nil {
					b.Fatal(err)
				}
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRestore opens the files of a tree, installs and arms them. The
// processes are made and ended outside the measured time.
func BenchmarkRestore(b *testing.B) {
	for _, one := range benchmarks {
		b.Run(one.name, func(b *testing.B) {
			h := hold(b, one.mode, one.words)
			s, c := h.mustCollect(everything)
			s = write(b, s, c)
			if err := c.Close(); err != nil {
				b.Fatal(err)
			}
			h.end()
			dir, err := os.Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer dir.Close()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := restoreOnce(b, s, dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// restoreOnce restores the files of a set, with the time measured only where
// this package works.
func restoreOnce(b *testing.B, s *criuimg.Set, dir *os.File) error {
	b.StopTimer()
	return ptrace.Run(func(tr *ptrace.Tracer) (err error) {
		r, err := NewRebuild(s, dir)
		if err != nil {
			return err
		}
		processes := &birth{set: s, files: r, stubs: map[uint32]*remote.Stub{}}
		defer func() { err = errors.Join(err, processes.end(), r.Close()) }()
		if err := processes.all(tr); err != nil {
			return err
		}
		b.StartTimer()
		defer b.StopTimer()
		if err := r.OpenAll(); err != nil {
			return err
		}
		return restoreInto(r, processes, nil)
	})
}
