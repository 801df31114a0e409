// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"fmt"

	"github.com/crtime/crtime/clockstate"
)

// A tree is frozen on a host that has run for an hour, and is to go on a
// minute later on one that has just been started.
func Example() {
	const second clockstate.Nanos = 1_000_000_000
	good := clockstate.WallClock{Known: true, Synchronised: true, MaxError: second / 100}

	// The dump records the host's clocks and, for every process, its own.
	freeze := clockstate.HostReading{
		Readings: clockstate.Readings{
			Monotonic:       3600 * second,
			MonotonicRaw:    3600 * second,
			MonotonicCoarse: 3600*second - 3_000_000,
			Boottime:        3600 * second,
		},
		Realtime:  1_700_000_000 * second,
		WallClock: good,
		BootID:    "first",
	}
	state := &clockstate.State{
		Host:         clockstate.Host{BootID: "first", Hostname: "alpha"},
		Freeze:       freeze,
		FreezeSource: clockstate.FreezeWatched,
		RootPID:      4321,
		Namespaces:   []clockstate.Namespace{{ID: 4026531834}},
		Processes: []clockstate.Process{{
			PID: 4321, OuterPID: 4321, Comm: "ticker", Threads: 1,
			Namespace: 4026531834, NamespaceForChildren: 4026531834,
			Readings: freeze.Readings,
		}},
	}
	image, err := clockstate.Encode(state)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The restore reads it back, and the clocks of its own host.
	state, err = clockstate.Decode(image)
	if err != nil {
		fmt.Println(err)
		return
	}
	here := clockstate.HostReading{
		Readings: clockstate.Readings{
			Monotonic:       10 * second,
			MonotonicRaw:    10 * second,
			MonotonicCoarse: 10*second - 1_000_000,
			Boottime:        10 * second,
		},
		Realtime:  1_700_000_060 * second,
		WallClock: good,
		Tick:      clockstate.Tick{Edge: 9 * second, Period: 4_000_000, Lag: 1_000_000},
		BootID:    "second",
	}
	plan, err := clockstate.NewPlan(state, here, clockstate.PlanOptions{Policy: clockstate.Suspend, Lead: second / 50})
	if err != nil {
		fmt.Println(err)
		return
	}
	ns := plan.Namespaces[0]
	fmt.Println("resume at", plan.Resume.Monotonic)
	fmt.Println("outage", plan.Outage.Duration, "by", plan.Outage.Source, "to within", plan.Outage.Error)
	fmt.Println("offsets", ns.Offsets.Monotonic, ns.Offsets.Boottime)
	fmt.Println("MONOTONIC", plan.Resume.Monotonic+ns.Offsets.Monotonic)
	for _, c := range ns.Corrections {
		fmt.Println("moved forward by", c.Forward, "for", c.Clock)
	}
	// Output:
	// resume at 10.0201s
	// outage 1m0.0201s by wall-clock to within 20ms
	// offsets 59m49.979910052s 1h0m50s
	// MONOTONIC 1h0m0.000010052s
	// moved forward by 10.052µs for CLOCK_MONOTONIC_RAW
}
