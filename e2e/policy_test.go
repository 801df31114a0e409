// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// TestPolicies checks what each policy promises of the two independent clocks.
// On one boot of one host that never sleeps, host and elapsed come to the same.
func TestPolicies(t *testing.T) {
	tests := []struct {
		policy              string
		monotonic, boottime bool // Whether the clock goes on during the outage.
	}{
		{"suspend", false, true},
		{"freeze", false, false},
		{"elapsed", true, true},
		{"host", true, true},
	}
	for _, test := range tests {
		t.Run(test.policy, func(t *testing.T) {
			eachEngine(t, func(c *harness.Case) {
				ticker := c.Start(c.Ticker("-t", "4"))
				_, r := cycle(c, ticker, time.Second, "--policy", test.policy)
				if r.Policy != test.policy {
					c.Errorf("restored by policy %q, want %q", r.Policy, test.policy)
				}
				step := oneOutage(c, ticker)
				for clock, goesOn := range map[clocklog.Clock]bool{
					clocklog.Monotonic: test.monotonic, clocklog.Boottime: test.boottime,
				} {
					if goesOn {
						followed(c, step, clock, r)
					} else {
						stood(c, step, clock, r)
					}
				}
			})
		})
	}
}

// TestSuspendIsTheDefault also checks what the restore says about the outage.
func TestSuspendIsTheDefault(t *testing.T) { eachEngine(t, testSuspendIsTheDefault) }

func testSuspendIsTheDefault(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	_, r := cycle(c, ticker, time.Second)
	step := oneOutage(c, ticker)
	if r.Policy != "suspend" || r.Outage.Source != "same-boot" || !r.Outage.Bounded {
		c.Errorf("restored by policy %q, outage %+v", r.Policy, r.Outage)
	}
	// The program's own last and first records enclose the outage.
	if early := step.Wall() - r.Outage.Duration; early < 0 || early > slack {
		c.Errorf("crtime says that the outage was %v, the program saw %v", r.Outage.Duration, step.Wall())
	}
	followed(c, step, clocklog.Boottime, r)
}

// TestJump measures the forward jump of CLOCK_MONOTONIC with a program that
// spins, so that nothing but the restore and the scheduler is in the way. The
// scheduler can be at any time, so the middle one of several is judged.
func TestJump(t *testing.T) { eachEngine(t, testJump) }

func testJump(c *harness.Case) {
	spinner := c.Start(c.Spinner(c.Folder))
	var beyond []time.Duration
	for range 9 {
		c.Check(spinner.ResetBoard(c.Context))
		d, r := cycle(c, spinner, 50*time.Millisecond)
		b, err := spinner.ReadBoard()
		c.Check(err)
		saw := b.Outage.Advance(clocklog.Monotonic)
		c.Logf("the program saw CLOCK_MONOTONIC jump by %v; crtime reported %v late, %v forward; held %v",
			saw, r.Jump, r.Forward(clocklog.Monotonic), r.Held)
		c.Logf("  of it %v from its last turn to the recorded freeze, %v from the release to its next turn",
			time.Duration(d.Freeze.Realtime-b.Outage.Before.At[clocklog.Realtime]),
			time.Duration(b.Outage.After.At[clocklog.Realtime]-r.Planned.Realtime)-r.Jump)
		beyond = append(beyond, saw-r.Jump-r.Forward(clocklog.Monotonic))
		off := b.Outage.BoottimeError()
		if off.Abs() > time.Millisecond+r.Outage.Error+r.Forward(clocklog.Boottime) {
			c.Errorf("CLOCK_BOOTTIME is off by %v", off)
		}
		for _, back := range b.Backward() {
			c.Error(back)
		}
	}
	slices.Sort(beyond)
	const most = 20 * time.Millisecond
	if median := beyond[len(beyond)/2]; median > most {
		c.Errorf("CLOCK_MONOTONIC jumped by %v more than crtime reported, at most %v allowed", median, most)
	}
}
