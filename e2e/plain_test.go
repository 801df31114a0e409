// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// plainDump dumps a tree by CRIU alone, which ends it.
func plainDump(c *harness.Case, t *harness.Tree, images string) {
	c.Helper()
	c.Check(os.Mkdir(images, 0o700))
	t.PIDs()
	_, err := c.CRIU.Dump(c.Context, t.PID, images, t.Flags...)
	c.Check(err)
	c.Check(t.Reap(c.Context))
}

// shown is the state that crtime finds in images.
func shown(c *harness.Case, images string) clockstate.State {
	c.Helper()
	out, err := c.Crtime.Run(c.Context, "show", "--json", images)
	c.Check(err)
	var r struct {
		State clockstate.State `json:"state"`
	}
	c.Check(json.Unmarshal(out, &r))
	return r.State
}

// continued fails the test unless MONOTONIC advanced by no more than what crtime knows
// of, and BOOTTIME as the wall clock did. CRIU reads the clocks some time after the
// freeze, and the date of a file is that of the last tick of the clock.
func continued(c *harness.Case, s clocklog.Step, r harness.RestoreResult, state clockstate.State) {
	c.Helper()
	const tick = 10 * time.Millisecond
	window := time.Duration(state.FreezeWindow)
	if got, allowed := s.Advance(clocklog.Monotonic), window+r.Jump+r.Forward(clocklog.Monotonic)+slack; got < 0 || got > allowed {
		c.Errorf("CLOCK_MONOTONIC advanced %v in an outage of %v, at most %v allowed", got, s.Wall(), allowed)
	}
	off := s.Advance(clocklog.Boottime) - s.Wall()
	if allowed := tick + time.Millisecond + r.Forward(clocklog.Boottime) + s.Uncertainty(); off.Abs() > allowed {
		c.Errorf("CLOCK_BOOTTIME is off by %v after an outage of %v, at most %v allowed", off, s.Wall(), allowed)
	}
	c.Logf("after an outage of %v CLOCK_MONOTONIC advanced %v (window %v, jump %v, forward %v), CLOCK_BOOTTIME is off by %v",
		s.Wall(), s.Advance(clocklog.Monotonic), window, r.Jump, r.Forward(clocklog.Monotonic), off)
}

// TestPlainDump restores what CRIU alone has dumped.
func TestPlainDump(t *testing.T) { eachEngine(t, testPlainDump) }

func testPlainDump(c *harness.Case) {
	ticker := c.Start(c.Ticker("-t", "4"))
	images := c.Path("images")
	plainDump(c, ticker, images)
	state := shown(c, images)
	if state.FreezeSource != clockstate.FreezeImported || int(state.RootPID) != ticker.PID || state.FreezeWindow == 0 {
		c.Errorf("recorded: %+v", state)
	}
	time.Sleep(2 * time.Second)
	r := c.Restore(ticker, images)
	c.WaitRecords(ticker, 30)
	if r.Outage.Source != "wall-clock" || r.Outage.Bounded {
		c.Errorf("the outage is said to be %+v", r.Outage)
	}
	for _, code := range []string{clockstate.WarnNotRecorded, clockstate.WarnFreezeLate, clockstate.WarnUnsynchronised} {
		if !slices.ContainsFunc(r.Warnings, func(w harness.Warning) bool { return w.Code == code }) {
			c.Errorf("no warning %s in %+v", code, r.Warnings)
		}
	}
	if slices.ContainsFunc(r.Clocks, func(p harness.ProvenClock) bool { return p.Clock == clocklog.MonotonicRaw.String() }) {
		c.Errorf("something is claimed of a clock that was not recorded: %+v", r.Clocks)
	}
	continued(c, oneOutage(c, ticker), r, state)
	_, err := c.Crtime.Run(c.Context, "verify", images)
	c.Check(err)
}

// TestPlainDumpOfRestoredTree has CRIU dump what crtime has restored, which lives in
// a time namespace of its own.
func TestPlainDumpOfRestoredTree(t *testing.T) { eachEngine(t, testPlainDumpOfRestoredTree) }

func testPlainDumpOfRestoredTree(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	cycle(c, ticker, 2*time.Second)
	images := c.Path("plain")
	plainDump(c, ticker, images)
	state := shown(c, images)
	time.Sleep(2 * time.Second)
	r := c.Restore(ticker, images)
	c.WaitRecords(ticker, 30)
	steps, err := c.GoodLog(ticker).Outages(2)
	c.Check(err)
	continued(c, steps[1], r, state)
}

// TestPlainDumpNotTrusted has somebody else able to write the images.
func TestPlainDumpNotTrusted(t *testing.T) {
	c := newCase(t)
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	plainDump(c, ticker, images)
	c.Check(os.Chmod(images, 0o777))
	_, err := c.Crtime.Restore(c.Context, images)
	refused(c, err, exitImages, "others could have written")
	c.Restore(ticker, images, "--trust-images")
	c.WaitRecords(ticker, 30)
}

// TestPlainRestore has CRIU alone restore what crtime has dumped. It moves no clock
// for the sake of RAW and COARSE, so nothing is asked of these.
func TestPlainRestore(t *testing.T) { eachEngine(t, testPlainRestore) }

func testPlainRestore(c *harness.Case) {
	ticker := c.Start(c.Ticker("-t", "4"))
	images := c.Path("images")
	c.Dump(ticker, images)
	time.Sleep(time.Second)
	_, err := c.CRIU.Restore(c.Context, images, ticker.Flags...)
	c.Check(err)
	c.WaitRecords(ticker, 30)
	log, err := ticker.Log()
	c.Check(err)
	for _, b := range log.Backward() {
		if b.Clock == clocklog.Monotonic || b.Clock == clocklog.Boottime {
			c.Error(b)
		}
	}
	c.Check(log.Complete())
	steps, err := log.Outages(1)
	c.Check(err)
	c.Logf("after an outage of %v CLOCK_MONOTONIC advanced %v, CLOCK_BOOTTIME %v",
		steps[0].Wall(), steps[0].Advance(clocklog.Monotonic), steps[0].Advance(clocklog.Boottime))
}
