// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
	"github.com/crtime/crtime/internal/image"
)

// kills is how often crtime is killed in each of the tests below. 'make kills' says it.
func kills(c *harness.Case) int {
	c.Helper()
	return repeats{"CRTIME_E2E_KILLS", 6, 8, 9 * time.Second}.times(c)
}

// victim starts what is dumped while crtime is killed: with the native engine a tree of
// four processes and more than 20 threads that checks itself. Through CRIU sleeps end
// with EINTR, which it takes for wrong.
func victim(c *harness.Case) *harness.Tree {
	c.Helper()
	if c.Crtime.Engine == engineCRIU {
		return c.Start(c.Ticker("-t", "4", "-m", "4"))
	}
	program, err := c.Checker(c.Context)
	c.Check(err)
	return c.Start(program)
}

// signalAfter starts crtime and sends a signal to it, and to nothing else, after
// a while. What crtime then ends with is not judged.
func signalAfter(c *harness.Case, signal unix.Signal, after time.Duration, args ...string) {
	c.Helper()
	cmd := exec.CommandContext(c.Context, c.Crtime.Path, append(args, "--engine", c.Crtime.Engine)...)
	cmd.Env = append(os.Environ(), "CRTIME_CRIU="+c.CRIU.Path)
	c.Check(cmd.Start())
	timer := time.AfterFunc(after, func() {
		// A process that has already ended is fine.
		_ = cmd.Process.Signal(signal)
	})
	err := cmd.Wait()
	timer.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.Fatalf("crtime %v: %v", args, err)
	}
}

// randomly returns a duration up to most, drawn from a generator with a seed
// that the test prints.
func randomly(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most)))
}

func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestKilledDump kills crtime at random moments of a dump. Whatever the moment,
// the program either goes on as if nothing had been, or the dump is complete
// and restores. A second attempt works.
func TestKilledDump(t *testing.T) { eachEngine(t, testKilledDump) }

func testKilledDump(c *harness.Case) {
	random := newRand(c.TB)
	ticker := victim(c)
	images := c.Path("images")
	whole := timeOf(func() { c.Dump(ticker, images) })
	c.Restore(ticker, images)
	c.Check(os.RemoveAll(images))
	// Some of the kills come too late on purpose.
	whole += whole / 4
	const often = 20
	var survived, complete, interrupted int
	n := kills(c)
	for i := range n {
		signalAfter(c, unix.SIGKILL, randomly(random, whole), "dump", "-t", fmt.Sprint(ticker.PID), "-D", images)
		if alive := settle(c, ticker, images); alive {
			survived++
		} else {
			complete++
			c.Restore(ticker, images)
		}
		c.WaitRecords(ticker, 20)
		c.Check(os.RemoveAll(images))
		cycle(c, ticker, 0)
		if i%often == often-1 {
			interrupted += interruptions(c, ticker)
			truncate(c, ticker) // Or each look at it would take longer than the one before.
		}
	}
	interrupted += interruptions(c, ticker)
	truncate(c, ticker)
	if most := 1 + n/100; interrupted > most {
		c.Errorf("%d calls were interrupted, at most %d may be", interrupted, most)
	}
	c.Logf("%d kills in the first %v: the program went on after %d, the dump was complete after %d; %d calls were interrupted",
		n, whole, survived, complete, interrupted)
}

// interruptions counts the calls that ended with EINTR because crtime was killed in the
// moment between the stop of a thread and the mending of its call.
func interruptions(c *harness.Case, t *harness.Tree) int {
	c.Helper()
	log, err := t.Log()
	c.Check(err)
	n := 0
	for _, note := range log.Notes {
		if note == "interrupted" {
			n++
		}
	}
	return n
}

// timeOf measures a call.
func timeOf(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

// settle waits until a killed dump has come to its end. It reports whether the
// program runs; if not, the dump is there.
func settle(c *harness.Case, t *harness.Tree, images string) (alive bool) {
	c.Helper()
	c.Settle()
	if t.Alive() {
		return true
	}
	if _, err := os.Stat(filepath.Join(images, image.FileManifest)); err != nil {
		c.Fatalf("after crtime was killed, the tree is %s, and the dump is not complete: %v", t.State(), err)
	}
	c.Check(t.Reap(c.Context))
	return false
}

// TestInterruptedDump is the same with SIGTERM, after which crtime cleans up
// behind itself, before it ends.
func TestInterruptedDump(t *testing.T) { eachEngine(t, testInterruptedDump) }

func testInterruptedDump(c *harness.Case) {
	random := newRand(c.TB)
	ticker := c.Start(c.Ticker("-m", "4"))
	images := c.Path("images")
	whole := timeOf(func() { c.Dump(ticker, images) })
	c.Restore(ticker, images)
	c.Check(os.RemoveAll(images))
	var survived int
	n := kills(c)
	for range n {
		signalAfter(c, unix.SIGTERM, randomly(random, whole), "dump", "-t", fmt.Sprint(ticker.PID), "-D", images)
		c.NoLeftovers()
		if settle(c, ticker, images) {
			survived++
			if _, err := os.Stat(images); err == nil {
				c.Fatal("the program runs, and yet there are images")
			}
		} else {
			c.Restore(ticker, images)
			c.Check(os.RemoveAll(images))
		}
		c.WaitRecords(ticker, 10)
	}
	c.GoodLog(ticker)
	c.Logf("%d signals in the first %v: the program went on after %d", n, whole, survived)
}

// TestKilledRestore kills crtime at random moments of a restore. Whatever the
// moment, the tree then either runs as a whole and right, or not at all. A
// second attempt works.
func TestKilledRestore(t *testing.T) { eachEngine(t, testKilledRestore) }

func testKilledRestore(c *harness.Case) {
	random := newRand(c.TB)
	ticker := victim(c)
	images := c.Path("images")
	c.Dump(ticker, images)
	whole := timeOf(func() { c.Restore(ticker, images) })
	c.Check(ticker.Kill())
	truncate(c, ticker)
	// Some of the kills come too late on purpose.
	whole += whole / 4
	var ran, none int
	n := kills(c)
	for range n {
		signalAfter(c, unix.SIGKILL, randomly(random, whole), "restore", "-d", "-D", images)
		c.Settle()
		// The kernel ends one process after the other, which takes its time under load.
		for deadline := time.Now().Add(10 * time.Second); !ticker.Alive() && len(ticker.PIDs()) > 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		switch live := len(ticker.PIDs()); {
		case live == 0:
			none++
			// What was made and ended again is ours to reap.
			c.Check(ticker.Reap(c.Context))
			c.Restore(ticker, images)
		case !ticker.Alive():
			c.Fatalf("after crtime was killed, the tree is %s, and of it still live\n%s", ticker.State(), whoLives(ticker))
		default:
			ran++
		}
		c.WaitRecords(ticker, 20)
		c.Check(ticker.Kill())
		truncate(c, ticker)
	}
	c.Logf("%d kills in the first %v: the tree ran after %d, there was none after %d",
		n, whole, ran, none)
}

// whoLives says what each process of a tree that lives is doing, and what the tree has
// said last.
func whoLives(t *harness.Tree) string {
	var b strings.Builder
	for _, pid := range t.PIDs() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		status, _, _ := strings.Cut(string(text), "VmPeak")
		fmt.Fprintf(&b, "%d: %s%v\n", pid, strings.ReplaceAll(status, "\n", " "), err)
	}
	log, err := os.ReadFile(t.Output)
	fmt.Fprintf(&b, "%s\n%v", lastLines(string(log)), err)
	return b.String()
}

// truncate checks the log of a tree, and empties it. After a tree that has ended, the
// next restore from the same images starts at the dump again, so one log over several
// restores would not be in order.
func truncate(c *harness.Case, t *harness.Tree) {
	c.Helper()
	log, err := t.Log()
	c.Check(err)
	for _, note := range log.Complaints() {
		c.Errorf("%s says: %s", t.Name, note)
	}
	for _, b := range log.Backward() {
		// Each restore begins anew at the number of the dump.
		if b.Seq != log.Records[0].Seq {
			c.Errorf("%s: %v", t.Name, b)
		}
	}
	c.Check(os.Truncate(t.Output, 0))
}
