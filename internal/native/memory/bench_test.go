// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// sizes are how much memory the benchmarks dump and restore.
var sizes = []struct {
	name  string
	bytes int
}{{"100MB", 100 << 20}, {"1GiB", 1 << 30}}

// tmpfs is a directory in memory.
func tmpfs(b *testing.B) *os.File {
	b.Helper()
	b.Setenv("TMPDIR", "/dev/shm")
	dir, err := os.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { dir.Close() })
	return dir
}

// allCores calls f for each block of a size, by all cores.
func allCores(size int, f func(at, end int)) {
	const block = 1 << 20
	var next atomic.Int64
	var work sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for {
				at := int(next.Add(block)) - block
				if at >= size {
					return
				}
				f(at, min(at+block, size))
			}
		})
	}
	work.Wait()
}

// filled is memory of this process with something in it.
func filled(b *testing.B, size int) []byte {
	b.Helper()
	m := fresh(b, size)
	allCores(size, func(at, end int) {
		for i := at; i < end; i += pageSize {
			m[i] = byte(i>>12) | 1
		}
	})
	return m
}

func fresh(b *testing.B, size int) []byte {
	b.Helper()
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkDumpFloor is the least that a dump into tmpfs can cost: own memory is
// written there, by all cores.
func BenchmarkDumpFloor(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			dir := tmpfs(b)
			m := filled(b, size.bytes)
			defer unix.Munmap(m)
			b.SetBytes(int64(size.bytes))
			meter := &meter{b: b, bytes: size.bytes}
			defer meter.end()
			for b.Loop() {
				meter.start()
				f, err := os.Create(dir.Name() + "/floor")
				if err != nil {
					b.Fatal(err)
				}
				allCores(size.bytes, func(at, end int) {
					if _, err := f.WriteAt(m[at:end], int64(at)); err != nil {
						b.Error(err)
					}
				})
				meter.stop()
				f.Close()
				os.Remove(f.Name())
				b.StartTimer()
			}
		})
	}
}

// BenchmarkDump collects and writes the memory of a stopped process.
func BenchmarkDump(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			h := hold(b, 1, "bytes", strconv.Itoa(size.bytes))
			dir := tmpfs(b)
			b.SetBytes(int64(size.bytes))
			benchmarkDump(b, h, dir, size.bytes)
		})
	}
	b.Run("500mappings", func(b *testing.B) {
		benchmarkDump(b, hold(b, 1, "mappings", "500"), tmpfs(b), 4<<20)
	})
}

func benchmarkDump(b *testing.B, h *holder, dir *os.File, bytes int) {
	nativetest.Frozen(h.t, h.pids[0], func(_ *ptrace.Tree, runners []*remote.Runner) error {
		s := h.newSet()
		c, err := files.Collect([]files.Target{{PID: h.pids[0], Remote: runners[0]}}, s, files.Limits{})
		if err != nil {
			return err
		}
		defer c.Close()
		var collect, write time.Duration
		meter := &meter{b: b, bytes: bytes}
		for b.Loop() {
			meter.start()
			begin := time.Now()
			s.SharedMemory = map[uint64]*criuimg.Pagemap{}
			plan, err := Collect([]Target{{PID: h.pids[0], Remote: runners[0]}}, c, s)
			if err != nil {
				return err
			}
			collect += time.Since(begin)
			begin = time.Now()
			if err := plan.Write(context.Background(), dir); err != nil {
				return err
			}
			write += time.Since(begin)
			meter.stop()
			for _, w := range plan.Written() {
				os.Remove(dir.Name() + "/" + w.Name)
			}
			plan.Close()
			b.StartTimer()
		}
		report(b, "collect", collect)
		report(b, "write", write)
		meter.end()
		return nil
	})
}

// cpu is how much time this process has had from all cores. Unlike the time that
// passes it hardly depends on what else the machine does: the target stands still
// and does nothing of the work.
func cpu() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// meter adds up what is worked while it runs.
type meter struct {
	b    *testing.B
	used time.Duration
	from time.Duration

	peak  int // The most memory that a round had, in bytes.
	bytes int // How much memory a round takes, about.

	steps [3]time.Duration // What passed in each step of a restore.
}

// stop ends it.
func (m *meter) stop() {
	m.b.StopTimer()
	m.used += cpu() - m.from
	m.peak = max(m.peak, peak())
}

// start begins a part that counts. Free memory is touched first: a virtual machine
// may have given it back to its host, and to get it again costs as much as the copy
// itself (seen: 1.0 s a gigabyte in place of 0.4 s when pages were free for 4 s).
func (m *meter) start() {
	m.b.StopTimer()
	if warm, err := unix.Mmap(-1, 0, m.bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE); err == nil {
		unix.Munmap(warm)
	}
	resetPeak(m.b)
	m.from = cpu()
	m.b.StartTimer()
}

// end reports.
func (m *meter) end() {
	report(m.b, "cpu", m.used)
	m.b.ReportMetric(float64(m.peak)/(1<<20), "peak-MiB")
}

// resetPeak makes the kernel forget how much memory this process has had.
func resetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// peak is the most memory that this process has had since.
func peak() (bytes int) {
	text, err := readProc(os.Getpid(), "status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if n, err := fmt.Sscanf(line, "VmHWM: %d kB", &bytes); err == nil && n == 1 {
			return bytes << 10
		}
	}
	return 0
}

// report gives what one of the rounds took on average.
func report(b *testing.B, what string, total time.Duration) {
	b.ReportMetric(float64(total.Microseconds())/1000/float64(b.N), what+"-ms/op")
}

// BenchmarkRestoreFloor is the least that a restore out of tmpfs can cost: a file
// is read into fresh memory, by all cores.
func BenchmarkRestoreFloor(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			dir := tmpfs(b)
			m := filled(b, size.bytes)
			if err := os.WriteFile(dir.Name()+"/floor", m, 0o600); err != nil {
				b.Fatal(err)
			}
			unix.Munmap(m)
			f, err := os.Open(dir.Name() + "/floor")
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			b.SetBytes(int64(size.bytes))
			meter := &meter{b: b, bytes: size.bytes}
			defer meter.end()
			for b.Loop() {
				meter.start()
				m := fresh(b, size.bytes)
				allCores(size.bytes, func(at, end int) {
					if _, err := f.ReadAt(m[at:end], int64(at)); err != nil {
						b.Error(err)
					}
				})
				meter.stop()
				unix.Munmap(m)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkRestore rebuilds the memory of a process in a stub.
func BenchmarkRestore(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(size.bytes))
			benchmarkRestore(b, size.bytes, "bytes", strconv.Itoa(size.bytes))
		})
	}
	b.Run("500mappings", func(b *testing.B) { benchmarkRestore(b, 4<<20, "mappings", "500") })
}

func benchmarkRestore(b *testing.B, bytes int, args ...string) {
	h := hold(b, 1, args...)
	d := &dumped{dir: tmpfs(b)}
	err := h.collect(func(s *criuimg.Set, p *Plan) error {
		d.set = s
		return p.Write(context.Background(), d.dir)
	})
	if err != nil {
		b.Fatal(err)
	}
	h.end()
	area, err := Area(d.set, remote.AreaSize)
	if err != nil {
		b.Fatal(err)
	}
	meter := &meter{b: b, bytes: bytes}
	err = ptrace.Run(func(tr *ptrace.Tracer) error {
		for b.Loop() {
			if err := restoreOnce(meter, tr, d, area); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for i, what := range []string{"map", "fill", "finish"} {
		report(b, what, meter.steps[i])
	}
	meter.end()
}

func restoreOnce(m *meter, tr *ptrace.Tracer, d *dumped, area uint64) error {
	m.b.StopTimer()
	defer m.b.StartTimer()
	pid := int(d.set.PIDs()[0])
	stub, err := remote.Spawn(tr, pid, area)
	if err != nil {
		return err
	}
	defer stub.Kill()
	opener, err := files.NewRebuild(d.set, d.dir)
	if err != nil {
		return err
	}
	defer opener.Close()
	m.start()
	r, err := NewRebuild(d.set, d.dir, opener)
	if err != nil {
		return err
	}
	defer r.Close()
	for i, step := range []func() error{
		func() error { return r.Map(pid, stub, 0) },
		func() error { return r.Fill(context.Background(), pid) },
		func() error { return r.Finish(pid, stub) },
	} {
		begin := time.Now()
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		m.steps[i] += time.Since(begin)
	}
	m.stop()
	return nil
}
