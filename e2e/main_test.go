// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// slack is what the tests allow for a machine that does other things as well:
// for a program to be scheduled, twice.
const slack = 250 * time.Millisecond

// theLab is set once, before the first test; errNoLab says why there is none.
var (
	theLab   *harness.Lab
	errNoLab error
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	err := harness.Enter()
	if errors.Is(err, unix.EPERM) {
		// Every test then says that it was skipped.
		errNoLab = fmt.Errorf("%w (the right to mount): %w", harness.ErrMissing, err)
		return m.Run()
	}
	if err == nil {
		theLab, err = harness.Open(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	status := m.Run()
	if err := theLab.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return status
}

// newCase prepares a test, or skips it where there is no lab.
func newCase(t *testing.T) *harness.Case {
	t.Helper()
	if errNoLab != nil {
		(&harness.Case{TB: t}).Need(errNoLab)
	}
	return theLab.Case(t)
}

// The engines, as --engine names them.
const (
	engineCRIU   = "criu"
	engineNative = "native"
)

// eachEngine runs a test once with each engine.
func eachEngine(t *testing.T, test func(c *harness.Case)) {
	t.Helper()
	for _, engine := range []string{engineCRIU, engineNative} {
		t.Run(engine, func(t *testing.T) {
			c := newCase(t)
			c.UseEngine(engine)
			test(c)
		})
	}
}

// repeats says how often a test does something.
type repeats struct {
	variable     string // Of the environment, which says it before all else.
	short, usual int
	each         time.Duration // It takes up to so long.
}

// times is how often that is now.
func (r repeats) times(c *harness.Case) int {
	c.Helper()
	n := r.usual
	switch text := os.Getenv(r.variable); {
	case text != "":
		var err error
		n, err = strconv.Atoi(text)
		c.Check(err)
	case testing.Short():
		n = r.short
	}
	longer(c, time.Duration(n)*r.each)
	return n
}

// longer gives a test so much more than its usual time.
func longer(c *harness.Case, more time.Duration) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute+more)
	c.Cleanup(cancel)
	c.Context = ctx
}

// cycle dumps a tree, lets the outage pass, restores it and lets it run a
// while. What it returns is what crtime said.
func cycle(c *harness.Case, t *harness.Tree, outage time.Duration, flags ...string) (harness.DumpResult, harness.RestoreResult) {
	c.Helper()
	images := c.Path("images")
	dump := c.Dump(t, images)
	time.Sleep(outage)
	restored := c.Restore(t, images, flags...)
	c.WaitRecords(t, 30)
	c.Check(os.RemoveAll(images))
	return dump, restored
}

// oneOutage returns the step over the only outage of a good log.
func oneOutage(c *harness.Case, t *harness.Tree) clocklog.Step {
	c.Helper()
	steps, err := c.GoodLog(t).Outages(1)
	c.Check(err)
	return steps[0]
}

// followed fails the test unless a clock advanced as the wall clock did, to
// within a millisecond and what crtime itself named as its error.
func followed(c *harness.Case, s clocklog.Step, clock clocklog.Clock, r harness.RestoreResult) {
	c.Helper()
	off := s.Advance(clock) - s.Wall()
	if allowed := time.Millisecond + r.Outage.Error + r.Forward(clock) + s.Uncertainty(); off.Abs() > allowed {
		c.Errorf("%v advanced %v while %v passed: %v off, %v allowed",
			clock, s.Advance(clock), s.Wall(), off, allowed)
	}
	c.Logf("%v off by %v after an outage of %v", clock, off, s.Wall())
}

// stood fails the test unless a clock advanced only by what crtime reported,
// and by what the program ran before and after the outage.
func stood(c *harness.Case, s clocklog.Step, clock clocklog.Clock, r harness.RestoreResult) {
	c.Helper()
	if got, allowed := s.Advance(clock), r.Jump+r.Forward(clock)+slack; got < 0 || got > allowed {
		c.Errorf("%v advanced %v in an outage of %v, at most %v allowed", clock, got, s.Wall(), allowed)
	}
	c.Logf("%v advanced %v over an outage of %v; crtime reported a jump of %v and %v forward",
		clock, s.Advance(clock), s.Wall(), r.Jump, r.Forward(clock))
}
