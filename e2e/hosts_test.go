// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
	"github.com/crtime/crtime/internal/image"
)

// rewrite changes the clocks that a dump recorded, as if another host had made
// it. The readings of the processes follow those of the host.
func rewrite(c *harness.Case, images string, change func(*clockstate.HostReading)) {
	c.Helper()
	path := filepath.Join(images, clockstate.FileName)
	data, err := os.ReadFile(path)
	c.Check(err)
	state, err := clockstate.Decode(data)
	c.Check(err)
	state.Host.BootID = "00000000-0000-4000-8000-000000000000"
	state.Host.Hostname = "elsewhere"
	state.Freeze.BootID = state.Host.BootID
	change(&state.Freeze)
	offsets := map[uint64]clockstate.Offsets{}
	for _, n := range state.Namespaces {
		offsets[n.ID] = n.Offsets
	}
	for i := range state.Processes {
		p := &state.Processes[i]
		p.Readings, err = state.Freeze.Shift(offsets[p.Namespace])
		c.Check(err)
	}
	data, err = clockstate.Encode(state)
	c.Check(err)
	c.Check(os.WriteFile(path, data, 0o600))
	reseal(c, images)
}

// fromOtherHost rewrites a dump as if its host's MONOTONIC, RAW and COARSE had
// been ahead of this one's by monotonic, and its BOOTTIME by boottime. The wall
// clock stays, so the outage is known.
//
// The program read other values on this host than the dump then says, so after
// a restore its own log shows a jump by as much, and nothing else.
func fromOtherHost(c *harness.Case, images string, monotonic, boottime time.Duration) {
	c.Helper()
	rewrite(c, images, func(h *clockstate.HostReading) {
		by := clockstate.Offsets{Monotonic: clockstate.Nanos(monotonic), Boottime: clockstate.Nanos(boottime)}
		var err error
		h.Readings, err = h.Shift(by)
		c.Check(err)
		h.Tick = clockstate.Tick{}
	})
}

// reseal makes the manifest fit the images again.
func reseal(c *harness.Case, images string) {
	c.Helper()
	path := filepath.Join(images, image.FileManifest)
	data, err := os.ReadFile(path)
	c.Check(err)
	old, err := image.ParseManifest(data)
	c.Check(err)
	names := make([]string, len(old))
	for i, e := range old {
		names[i] = e.Name
	}
	sealed, err := image.Checksums(images, names)
	c.Check(err)
	c.Check(os.WriteFile(path, sealed.Encode(), 0o600))
}

// TestOtherHosts restores where the clocks are far from those of the dump.
func TestOtherHosts(t *testing.T) {
	const year = 365 * 24 * time.Hour
	up, err := uptime()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		// What the source's clocks were ahead of this host's.
		monotonic, boottime time.Duration
	}{
		{"destination days behind", 30 * 24 * time.Hour, 31 * 24 * time.Hour},
		{"destination decades behind", 40 * year, 41 * year},
		{"destination an hour ahead, source just booted", -up + 5*time.Second, -up + 5*time.Second},
		{"source slept, destination did not", -up + 5*time.Second, 100 * 24 * time.Hour},
	}
	for _, test := range tests {
		for _, policy := range []string{"suspend", "freeze", "elapsed"} {
			t.Run(test.name+"/"+policy, func(t *testing.T) {
				eachEngine(t, func(c *harness.Case) {
					ticker := c.Start(c.Ticker())
					images := c.Path("images")
					c.Dump(ticker, images)
					fromOtherHost(c, images, test.monotonic, test.boottime)
					time.Sleep(300 * time.Millisecond)
					r := c.Restore(ticker, images, "--policy", policy)
					c.WaitRecords(ticker, 30)
					if r.Outage.Source != "wall-clock" {
						c.Errorf("the outage was measured by %q", r.Outage.Source)
					}
					log, err := ticker.Log()
					c.Check(err)
					steps, err := log.Outages(1)
					c.Check(err)
					moved := steps[0]
					// Take out the jump that this test itself made.
					moved.Before.At[clocklog.Monotonic] += int64(test.monotonic)
					moved.Before.At[clocklog.MonotonicRaw] += int64(test.monotonic)
					moved.Before.At[clocklog.MonotonicCoarse] += int64(test.monotonic)
					moved.Before.At[clocklog.Boottime] += int64(test.boottime)
					checkPolicy(c, moved, policy, r)
				})
			})
		}
	}
}

// checkPolicy judges a step over an outage.
func checkPolicy(c *harness.Case, s clocklog.Step, policy string, r harness.RestoreResult) {
	c.Helper()
	for _, clock := range clocklog.Shifted() {
		if d := s.Advance(clock); d < 0 {
			c.Errorf("%v went back by %v", clock, -d)
		}
	}
	if policy == "elapsed" {
		followed(c, s, clocklog.Monotonic, r)
	} else {
		stood(c, s, clocklog.Monotonic, r)
	}
	if policy == "freeze" {
		stood(c, s, clocklog.Boottime, r)
	} else {
		followed(c, s, clocklog.Boottime, r)
	}
}

// TestHostPolicyElsewhere checks that the least shift is none where this host
// is ahead, and the whole difference where it is behind.
func TestHostPolicyElsewhere(t *testing.T) {
	up, err := uptime()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		ahead time.Duration
	}{{"destination ahead", -up + 5*time.Second}, {"destination behind", 1000 * time.Hour}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCase(t)
			ticker := c.Start(c.Ticker())
			images := c.Path("images")
			c.Dump(ticker, images)
			fromOtherHost(c, images, test.ahead, test.ahead)
			r := c.Restore(ticker, images, "--policy", "host")
			c.WaitRecords(ticker, 30)
			log, err := ticker.Log()
			c.Check(err)
			steps, err := log.Outages(1)
			c.Check(err)
			s := steps[0]
			if test.ahead < 0 {
				followed(c, s, clocklog.Monotonic, r)
				return
			}
			s.Before.At[clocklog.Monotonic] += int64(test.ahead)
			stood(c, s, clocklog.Monotonic, r)
		})
	}
}

// TestSlewedSource restores a tree whose host had its clocks slewed, so that
// CLOCK_MONOTONIC_RAW is further ahead of CLOCK_MONOTONIC there than here. One
// offset serves both: to keep RAW from going back, both must go forward, and
// crtime must say so.
func TestSlewedSource(t *testing.T) { eachEngine(t, testSlewedSource) }

func testSlewedSource(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	c.Dump(ticker, images)
	const slew = 150 * time.Millisecond
	rewrite(c, images, func(h *clockstate.HostReading) { h.MonotonicRaw += clockstate.Nanos(slew) })
	r := c.Restore(ticker, images)
	c.WaitRecords(ticker, 30)
	step := oneOutage(c, ticker)
	if raw := step.Advance(clocklog.MonotonicRaw); raw < slew {
		c.Errorf("CLOCK_MONOTONIC_RAW advanced %v, so it went back from where the dump recorded it", raw)
	}
	stood(c, step, clocklog.Monotonic, r)
	if forward := r.Forward(clocklog.Monotonic); forward < slew || forward > slew+20*time.Millisecond {
		c.Errorf("crtime reports corrections of %v, want about %v: %+v", forward, slew, r.Corrections)
	}
}

// TestWallClockBehind restores where the wall clock is behind that of the dump.
// It cannot be shifted, so the user chooses.
func TestWallClockBehind(t *testing.T) { eachEngine(t, testWallClockBehind) }

func testWallClockBehind(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	c.Dump(ticker, images)
	ahead := func(d time.Duration) {
		rewrite(c, images, func(h *clockstate.HostReading) {
			h.Realtime += clockstate.Nanos(d)
			h.TAI += clockstate.Nanos(d)
		})
	}
	ahead(time.Hour)
	_, err := c.Crtime.Restore(c.Context, images, "--wall-clock", "fail")
	refused(c, err, exitPromise, "wall clock", "behind")
	if live := ticker.PIDs(); len(live) != 0 {
		c.Fatalf("the refused restore made processes %v", live)
	}
	r := c.Restore(ticker, images)
	if r.Outage.Duration != 0 || len(r.Warnings) == 0 {
		c.Errorf("an hour behind: outage %v, warnings %v", r.Outage.Duration, r.Warnings)
	}
	c.WaitRecords(ticker, 30)
	c.Check(ticker.Kill())

	ahead(-time.Hour + 3*time.Second)
	begin := time.Now()
	r = c.Restore(ticker, images, "--wall-clock", "wait")
	c.Logf("waited %v for the wall clock; outage %v", time.Since(begin), r.Outage.Duration)
	c.WaitRecords(ticker, 30)
	log, err := ticker.Log()
	c.Check(err)
	if complaints := log.Complaints(); len(complaints) > 0 {
		c.Error(complaints)
	}
}

// TestRangeIsRefused asks for clocks beyond what the kernel can show: the error
// comes before any process is made.
func TestRangeIsRefused(t *testing.T) {
	c := newCase(t)
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	c.Dump(ticker, images)
	// The kernel's limit is 4611686018 s, about 146 years.
	const limit = 4611686018 * time.Second
	up, err := uptime()
	c.Check(err)
	fromOtherHost(c, images, 0, limit-up-100*time.Millisecond)
	time.Sleep(200 * time.Millisecond)
	_, err = c.Crtime.Restore(c.Context, images)
	refused(c, err, exitFailed, "CLOCK_BOOTTIME")
	if len(ticker.PIDs()) != 0 {
		t.Error("the refused restore made a process")
	}
}

// uptime reads this host's CLOCK_BOOTTIME; the tests run in its initial time
// namespace.
func uptime() (time.Duration, error) {
	now, err := harness.Now()
	return time.Duration(now.Boottime), err
}
