// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// TestGenerations dumps and restores one tree five times: what one restore
// gets wrong, the next would add to.
func TestGenerations(t *testing.T) { eachEngine(t, testGenerations) }

func testGenerations(c *harness.Case) {
	ticker := c.Start(c.GoTicker())
	const generations = 5
	restores := make([]harness.RestoreResult, generations)
	for i := range restores {
		_, restores[i] = cycle(c, ticker, 300*time.Millisecond)
	}
	steps, err := c.GoodLog(ticker).Outages(generations)
	c.Check(err)
	for i, s := range steps {
		stood(c, s, clocklog.Monotonic, restores[i])
		followed(c, s, clocklog.Boottime, restores[i])
	}
}

// TestGenerationsOfDifferentPolicies checks that a policy concerns its own
// restore only.
func TestGenerationsOfDifferentPolicies(t *testing.T) {
	eachEngine(t, testGenerationsOfDifferentPolicies)
}

func testGenerationsOfDifferentPolicies(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	policies := []string{"suspend", "freeze", "elapsed", "freeze"}
	restores := make([]harness.RestoreResult, len(policies))
	for i, policy := range policies {
		_, restores[i] = cycle(c, ticker, 300*time.Millisecond, "--policy", policy)
	}
	steps, err := c.GoodLog(ticker).Outages(len(policies))
	c.Check(err)
	for i, s := range steps {
		check := map[bool]func(*harness.Case, clocklog.Step, clocklog.Clock, harness.RestoreResult){true: followed, false: stood}
		check[policies[i] == "elapsed"](c, s, clocklog.Monotonic, restores[i])
		check[policies[i] != "freeze"](c, s, clocklog.Boottime, restores[i])
	}
}

// TestEndurance is many short cycles of one program that looks at its clocks
// about five million times a second and keeps the least step of each.
func TestEndurance(t *testing.T) { eachEngine(t, testEndurance) }

func testEndurance(c *harness.Case) {
	cycles := repeats{"CRTIME_E2E_CYCLES", 10, 100, 2 * time.Second}.times(c)
	spinner := c.Start(c.Spinner(c.Folder))
	var worst time.Duration
	for i := range cycles {
		c.Check(spinner.ResetBoard(c.Context))
		dump, restored := cycle(c, spinner, 0)
		b, err := spinner.ReadBoard()
		c.Check(err)
		worst = max(worst, b.Outage.Advance(clocklog.Monotonic))
		for _, back := range b.Backward() {
			c.Fatalf("cycle %d: %v; the dump %+v; the restore %+v; the program's own view %+v",
				i, back, dump, restored, b)
		}
	}
	c.Logf("%d cycles, nothing backward; the widest jump of CLOCK_MONOTONIC was %v", cycles, worst)
}

// TestLeaveRunning dumps twice from a program that goes on, and restores the
// first dump after the program has ended.
func TestLeaveRunning(t *testing.T) { eachEngine(t, testLeaveRunning) }

func testLeaveRunning(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	first, second := c.Path("first"), c.Path("second")
	for _, dir := range []string{first, second} {
		if _, err := c.Crtime.Dump(c.Context, ticker.PID, dir, "--leave-running"); err != nil {
			c.Fatal(err)
		}
		c.WaitRecords(ticker, 30)
	}
	c.GoodLog(ticker)
	c.Check(ticker.Kill())
	c.Restore(ticker, second)
	c.WaitRecords(ticker, 30)
}
