// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// TestCompression stops gzip in the midst of a large file. What it has read, the
// tables that it keeps and where it stands in both files must all fit together
// afterwards, or the result is not the file.
func TestCompression(t *testing.T) { eachEngine(t, testCompression) }

func testCompression(c *harness.Case) {
	input, output := c.Path("text"), c.Path("text.gz")
	text := words(32 << 20)
	c.Check(os.WriteFile(input, text, 0o600))
	program, err := c.Gzip(input)
	c.Need(err)
	gzip := c.StartSilent(program)
	await(c, gzip, "some output", func() bool { return sizeOf(c, output) > 1<<20 })
	images := c.Path("images")
	c.Dump(gzip, images)
	written := sizeOf(c, output)
	finish(c, gzip, images, 0)
	if all := sizeOf(c, output); written > all*3/4 {
		c.Fatalf("gzip had written %d of %d bytes: it was not in the midst", written, all)
	}
	command := exec.CommandContext(c.Context, "gunzip", "-c", output)
	got, err := command.Output()
	c.Check(err)
	if !bytes.Equal(got, text) {
		c.Error("the output, unpacked, is not the input")
	}
}

// words makes text of the given size that compresses slowly and not by much.
func words(size int) []byte {
	// The same at each run.
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, "%x ", random.Uint64N(1<<uint(random.IntN(48)+1)))
	}
	return b.Bytes()[:size]
}

// TestCompiler stops gcc while the compiler proper works and the assembler waits
// at its pipe. The object must be the one of a compilation that nothing disturbed.
func TestCompiler(t *testing.T) { eachEngine(t, testCompiler) }

func testCompiler(c *harness.Case) {
	source, object, other := c.Path("large.c"), c.Path("disturbed.o"), c.Path("undisturbed.o")
	c.Check(os.WriteFile(source, largeSource(150), 0o600))
	program, err := c.Compiler(source, object)
	c.Need(err)
	gcc := c.StartSilent(program)
	await(c, gcc, "the compiler and the assembler", func() bool { return len(gcc.PIDs()) == 3 })
	time.Sleep(500 * time.Millisecond)
	images := c.Path("images")
	if dump := c.Dump(gcc, images); dump.Processes != 3 {
		c.Fatalf("%d processes were dumped, want gcc, cc1 and as: it was not in the midst", dump.Processes)
	}
	finish(c, gcc, images, 0)
	undisturbed, err := c.Compiler(source, other)
	c.Check(err)
	c.Check(exec.CommandContext(c.Context, undisturbed.Argv[0], undisturbed.Argv[1:]...).Run())
	got, err := os.ReadFile(object)
	c.Check(err)
	want, err := os.ReadFile(other)
	c.Check(err)
	if len(got) == 0 || !bytes.Equal(got, want) {
		c.Errorf("the object has %d bytes and is not that of an undisturbed compilation, which has %d", len(got), len(want))
	}
}

// largeSource is a C file with so many functions that the optimizer looks at
// each of them for a while.
func largeSource(functions int) []byte {
	var b bytes.Buffer
	for i := range functions {
		fmt.Fprintf(&b, `
unsigned f%[1]d(unsigned *a, unsigned n) {
	unsigned s = %[1]d, t[64] = { 0 };
	for (unsigned i = 0; i < n; i++) {
		for (unsigned j = 0; j < 64; j++)
			t[j] = t[(j * %[2]d + 7) %% 64] ^ a[i] * (j + %[1]d);
		switch ((s ^ a[i]) %% 7) {
		case 0: s += t[a[i] %% 64]; break;
		case 1: s ^= t[(a[i] + %[1]d) %% 64] << 3; break;
		case 2: s = s * %[2]d + t[i %% 64]; break;
		case 3: s -= a[i] / (t[1] | 1); break;
		case 4: s = s << 5 | s >> 27; break;
		default: s ^= a[i] %% (t[2] | %[2]d);
		}
	}
	return s;
}
`, i, 2*i+3)
	}
	return b.Bytes()
}

// TestPython checks threads that wait, a child behind two pipes and a file being
// written. The status that the program was told to end with is that of crtime.
func TestPython(t *testing.T) { eachEngine(t, testPython) }

func testPython(c *harness.Case) {
	const status = 3
	program, err := c.Work(c.Path("written"), 60, status)
	c.Need(err)
	python := c.Start(program)
	images := c.Path("images")
	if dump := c.Dump(python, images); dump.Processes != 2 || dump.Threads < 7 {
		c.Errorf("%d processes with %d threads were dumped, want 2 with 7 or more", dump.Processes, dump.Threads)
	}
	time.Sleep(500 * time.Millisecond)
	r := finish(c, python, images, status)
	step := oneOutage(c, python)
	stood(c, step, clocklog.Monotonic, r)
	followed(c, step, clocklog.Boottime, r)
	if notes := c.GoodLog(python).Notes; !slices.Equal(notes, []string{"done"}) {
		c.Errorf("python says %q, want that it is done", notes)
	}
}

// TestNodeWorkers checks the timers and waits of three threads beside the event
// loop. The outage is longer than what a worker calls a late tick.
func TestNodeWorkers(t *testing.T) {
	slow(t)
	eachEngine(t, testNodeWorkers)
}

func testNodeWorkers(c *harness.Case) {
	program, err := c.NodeWorkers()
	c.Need(err)
	node := c.Start(program)
	if usesIOURing(c, node) {
		refusesIOURing(c, node)
		return
	}
	c.WaitRecords(node, 100)
	_, r := cycle(c, node, 1500*time.Millisecond)
	names := []string{"interval-1", "interval-2", "wait"}
	before := progress(c, node, names)
	await(c, node, "ticks of each worker", func() bool {
		for name, ticks := range progress(c, node, names) {
			if ticks < before[name]+100 {
				return false
			}
		}
		return true
	})
	stood(c, oneOutage(c, node), clocklog.Monotonic, r)
}

// progress returns how many ticks each worker last said that it has made.
func progress(c *harness.Case, node *harness.Tree, names []string) map[string]int64 {
	c.Helper()
	found := make(map[string]int64)
	for _, name := range names {
		found[name] = lastNumber(c, node, "worker "+name)
	}
	return found
}

// TestJavaExecutor checks a fixed rate over an outage while garbage is collected:
// by Java's own clock no tick is early, and none is lost.
func TestJavaExecutor(t *testing.T) {
	slow(t)
	eachEngine(t, testJavaExecutor)
}

func testJavaExecutor(c *harness.Case) {
	program, err := c.JavaRate()
	c.Need(err)
	java := c.Start(program)
	c.WaitRecords(java, 100)
	_, r := cycle(c, java, time.Second)
	collections := lastNumber(c, java, "collections")
	await(c, java, "garbage collections", func() bool { return lastNumber(c, java, "collections") > collections+2 })
	c.WaitRecords(java, 100)
	step := oneOutage(c, java)
	stood(c, step, clocklog.Monotonic, r)

	log := c.GoodLog(java)
	var due, period int64
	if _, err := fmt.Sscanf(log.Notes[0], "due %d %d", &due, &period); err != nil {
		c.Fatalf("the first line beside the ticks is %q: %v", log.Notes[0], err)
	}
	// How late a tick is depends on the machine; how late the most punctual of
	// many is, on the count of ticks alone.
	punctual := map[bool]int64{false: math.MaxInt64, true: math.MaxInt64}
	for _, tick := range log.Records {
		late := tick.At[clocklog.Monotonic] - (due + tick.Seq*period)
		if late < 0 {
			c.Errorf("tick %d was early by %v", tick.Seq, time.Duration(-late))
		}
		after := tick.Seq >= step.After.Seq
		punctual[after] = min(punctual[after], late)
	}
	c.Logf("the most punctual tick was %v late before the outage and %v after it",
		time.Duration(punctual[false]), time.Duration(punctual[true]))
	if lost := punctual[true] - punctual[false]; lost > period {
		c.Errorf("after the outage each tick is late by %v or more: ticks are missing", time.Duration(lost))
	}
}

// TestLargeHeap checks every word of a heap of 1 GiB that a program works through,
// in one whole pass and more after the restore.
func TestLargeHeap(t *testing.T) {
	slow(t)
	eachEngine(t, testLargeHeap)
}

func testLargeHeap(c *harness.Case) {
	program, err := c.Heap(c.Context, 1024)
	c.Need(err)
	heap := c.Start(program)
	dump, r := cycle(c, heap, 300*time.Millisecond)
	if dump.Bytes < 1<<30 {
		c.Errorf("the images have %d bytes, less than the heap", dump.Bytes)
	}
	// The pass that the dump was in, and one more.
	want := lastNumber(c, heap, "pass") + 2
	await(c, heap, "a whole pass", func() bool { return lastNumber(c, heap, "pass") >= want })
	stood(c, oneOutage(c, heap), clocklog.Monotonic, r)
}

// slow leaves a test out with -short.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("slow; left out with -short")
	}
}

// finish restores a tree in the foreground, waits until its root has ended, and
// fails the test unless crtime ends with the given status, which is the root's.
func finish(c *harness.Case, t *harness.Tree, images string, status int) harness.RestoreResult {
	c.Helper()
	args := append([]string{"restore", "--json", "-D", images, "--engine", c.Crtime.Engine}, t.Flags...)
	out, err := c.Crtime.Run(c.Context, args...)
	var failed *harness.CommandError
	if err != nil && !errors.As(err, &failed) {
		c.Fatal(err)
	}
	if code := harness.CodeOf(err); code != status {
		said, readErr := os.ReadFile(t.Output)
		c.Check(readErr)
		c.Fatalf("%s ended with status %d, want %d: %v; it has printed %q",
			t.Name, code, status, err, said[max(0, len(said)-300):])
	}
	var r harness.RestoreResult
	c.Check(json.Unmarshal(out, &r))
	if r.PID != t.PID || !r.Kept {
		c.Errorf("restored pid %d, want %d; promises kept: %v, %+v", r.PID, t.PID, r.Kept, r.Clocks)
	}
	c.Check(t.Reap(c.Context))
	c.Check(os.RemoveAll(images))
	return r
}

// await waits until done says so. A program that ends meanwhile fails the test.
func await(c *harness.Case, t *harness.Tree, what string, done func() bool) {
	c.Helper()
	for !done() {
		if c.Context.Err() != nil || !t.Alive() {
			said, err := os.ReadFile(t.Output)
			c.Check(err)
			c.Fatalf("no %s of %s, which is %s and has printed %q", what, t.Name, t.State(), said[max(0, len(said)-300):])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// sizeOf returns the size of a file, 0 if it is not there.
func sizeOf(c *harness.Case, path string) int64 {
	c.Helper()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	c.Check(err)
	return info.Size()
}

// lastNumber returns the number of the last note that begins with the given
// words, -1 if there is none.
func lastNumber(c *harness.Case, t *harness.Tree, words string) int64 {
	c.Helper()
	log, err := t.Log()
	c.Check(err)
	number := int64(-1)
	for _, note := range log.Notes {
		if rest, ok := strings.CutPrefix(note, words+" "); ok {
			_, err := fmt.Sscan(rest, &number)
			c.Check(err)
		}
	}
	return number
}
