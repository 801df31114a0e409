// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
	"github.com/crtime/crtime/e2e/sleeplog"
)

// sleepLimit is how long the sleepers of the tests sleep; one that sleeps anew after
// a stop is later by what had passed of it, which is more than sleepLate.
const (
	sleepLimit = 2500 * time.Millisecond
	sleepLate  = 700 * time.Millisecond
)

// startSleepers starts the program, and returns when a second of the sleeps has passed.
func startSleepers(c *harness.Case) *harness.Tree {
	c.Helper()
	program, err := theLab.Sleepers(c.Context, sleepLimit)
	c.Check(err)
	tree := c.StartSilent(program)
	for !strings.HasPrefix(sleeperOutput(c, tree), sleeplog.Ready) && c.Context.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Second)
	return tree
}

func sleeperOutput(c *harness.Case, tree *harness.Tree) string {
	c.Helper()
	text, err := os.ReadFile(tree.Output)
	c.Check(err)
	return string(text)
}

// wokenSleepers waits until all have woken, and reads what they say.
func wokenSleepers(c *harness.Case, tree *harness.Tree) sleeplog.Log {
	c.Helper()
	for !strings.HasSuffix(sleeperOutput(c, tree), sleeplog.Done) && c.Context.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	log, err := sleeplog.Parse(sleeperOutput(c, tree))
	c.Check(err)
	return log
}

// missed is how late a sleeper must be because its time was over, on a clock that goes on
// during an outage, before the program was back.
func missed(log sleeplog.Log, s sleeplog.End) time.Duration {
	if s.Clock == unix.CLOCK_MONOTONIC {
		return 0
	}
	return max(0, time.Duration(log.To-s.Begun)-sleepLimit)
}

// checkSlept checks that each sleeper has slept until its time was over, and saw what
// it would have seen had it not been saved.
func checkSlept(c *harness.Case, log sleeplog.Log) {
	c.Helper()
	if len(log.Ends) < 55 {
		c.Errorf("only %d sleepers have woken", len(log.Ends))
	}
	for _, s := range log.Ends {
		late := s.Late - missed(log, s)
		if strings.Contains(s.Name, "timer") && s.Result != 0 {
			c.Errorf("%s has expired %d times more often than it was to", s.Name, s.Result)
		}
		if s.Name == "recv_data" && s.Result != 1 {
			c.Errorf("%s returned %d", s.Name, s.Result)
		}
		if s.Errno == syscall.EINTR || s.Late < 0 || late > sleepLate {
			c.Errorf("%s returned %d (errno %d), %v later than its time", s.Name, s.Result, s.Errno, s.Late)
		}
		c.Logf("%s: %d (errno %d), %v late", s.Name, s.Result, s.Errno, s.Late)
	}
}

// TestSleeps restores threads that sleep in every way: each goes on with what was left
// of its time, and none sees that it was interrupted.
func TestSleeps(t *testing.T) {
	for _, outage := range []time.Duration{0, 2 * time.Second} {
		t.Run(outage.String(), func(t *testing.T) {
			c := newCase(t)
			c.UseEngine(engineNative)
			tree := startSleepers(c)
			images := c.Path("images")
			c.Dump(tree, images)
			time.Sleep(outage)
			c.Restore(tree, images)
			checkSlept(c, wokenSleepers(c, tree))
		})
	}
}

// TestSleepsAgain restores threads that had been stopped before, by another dump. The
// kernel calls what they do restart_syscall then.
func TestSleepsAgain(t *testing.T) {
	c := newCase(t)
	c.UseEngine(engineNative)
	tree := startSleepers(c)
	_, err := c.Crtime.Dump(c.Context, tree.PID, c.Path("first"), "--leave-running")
	c.Check(err)
	images := c.Path("images")
	c.Dump(tree, images)
	c.Restore(tree, images)
	checkSlept(c, wokenSleepers(c, tree))
}

// TestSleepsOn dumps such threads twice while they live.
func TestSleepsOn(t *testing.T) {
	c := newCase(t)
	c.UseEngine(engineNative)
	tree := startSleepers(c)
	for i := range 2 {
		_, err := c.Crtime.Dump(c.Context, tree.PID, c.Path(fmt.Sprintf("images%d", i)), "--leave-running")
		c.Check(err)
	}
	checkSlept(c, wokenSleepers(c, tree))
}

// TestTimersThroughCRIU restores timers with CRIU, which arms those that were set to a
// point in time up to a second early, and knows of no clock that counts an outage. The
// images that it is given are made so that they come out right.
func TestTimersThroughCRIU(t *testing.T) {
	c := newCase(t)
	c.UseEngine(engineCRIU)
	tree := startSleepers(c)
	images := c.Path("images")
	c.Dump(tree, images)
	const outage = time.Second
	time.Sleep(outage)
	c.Restore(tree, images)
	const fires, held = 8, 150 * time.Millisecond
	checked := 0
	log := wokenSleepers(c, tree)
	for _, s := range log.Ends {
		if !strings.Contains(s.Name, "timerfd") {
			continue
		}
		checked++
		late := s.Late - missed(log, s)
		// CRIU does not save how often one has expired that was not read.
		if s.Result != 0 && !strings.HasPrefix(s.Name, "periodic") || s.Late < 0 || late > held+sleepLate {
			c.Errorf("%s returned %d (errno %d), %v later than its time", s.Name, s.Result, s.Errno, s.Late)
		}
		c.Logf("%s: %d, %v late", s.Name, s.Result, s.Late)
	}
	if checked != fires {
		c.Errorf("%d timers have fired, want %d", checked, fires)
	}
}
