// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// estimates predict how long CRIU needs to rebuild a tree. The offsets of the
// time namespace are fixed before CRIU starts, for an instant at which it is
// expected to be done: an estimate that is too short makes MONOTONIC jump by the
// difference, one that is too long makes the restore wait.
//
// They are learned: the last restores on this machine are kept in a file. They
// are only ever estimates, so a file that cannot be read counts as empty.
type estimates struct {
	path    string
	samples []sample // Oldest first.
}

// load is what a restore takes long for.
type load struct {
	Bytes int64 `json:"bytes"` // Size of all images.
	// Spaces are the kinds of namespaces that the tree has for itself, such as
	// "mnt net": making them takes longer than a small tree.
	Spaces string `json:"spaces,omitempty"`
}

// sample is one restore.
type sample struct {
	load

	Build time.Duration `json:"build_ns"` // From fixing the clocks to a complete tree.
	Tail  time.Duration `json:"tail_ns"`  // From leaving the first gate to reaching the second.
}

// Where the samples are in the state directory, how many are kept, and how many
// are consulted.
const (
	estimatesFile = "criu-restores.json"
	keep          = 64
	consult       = 16
)

// The assumption for a machine that has restored nothing yet. Observed with
// CRIU 4.2 on Linux 6.18: 60 ms for the smallest tree, 0.7 s for 1 GiB, and from 250 ms
// on for a container of runc's, to 600 ms for one with a network or users of its own.
const (
	assumedBase  = 80 * time.Millisecond
	assumedSpace = 300 * time.Millisecond // For each namespace of the slow kinds.
	assumedRate  = 1 << 30                // Bytes a second.
	assumedTail  = 2 * time.Millisecond
)

// The tail is bounded: in it CRIU does not undo a restore any more, and timers that it
// has armed run already. Where the tree has a network of its own, CRIU opens that for
// traffic in between, which takes up to some tenths of a second.
const (
	longestTail        = 20 * time.Millisecond
	longestNetworkTail = 500 * time.Millisecond
)

// has reports whether the tree has a kind of namespace for itself.
func (l load) has(kind string) bool { return slices.Contains(strings.Fields(l.Spaces), kind) }

// loadEstimates reads what this machine has learned.
func loadEstimates() *estimates {
	e := &estimates{path: filepath.Join(stateDir(), estimatesFile)}
	data, err := os.ReadFile(e.path)
	if err == nil && json.Unmarshal(data, &e.samples) != nil {
		e.samples = nil
	}
	e.samples = slices.DeleteFunc(e.samples, func(s sample) bool {
		return s.Bytes < 0 || s.Build <= 0 || s.Build > time.Hour || s.Tail < 0
	})
	return e
}

// assumed is the estimate without any experience.
func assumed(l load) time.Duration {
	base := assumedBase
	for _, slow := range []string{"mnt", "net", "user"} {
		if l.has(slow) {
			base += assumedSpace
		}
	}
	return base + time.Duration(float64(l.Bytes)/assumedRate*float64(time.Second))
}

// build predicts how long a restore takes, with enough added that most are ready in
// time.
func (e *estimates) build(l load) time.Duration {
	const margin = 2 * time.Millisecond
	slow, seen := e.slow(l, func(s sample) float64 { return float64(s.Build) / float64(assumed(s.load)) })
	if seen == 0 {
		slow = 1
	}
	guess := time.Duration(slow * float64(assumed(l)))
	// The less has been seen, the less it says.
	return guess + guess/time.Duration(4*(seen+1)) + margin
}

// tail predicts the time between the two gates, likewise.
func (e *estimates) tail(l load) time.Duration {
	slow, seen := e.slow(l, func(s sample) float64 { return float64(s.Tail) })
	if seen == 0 {
		return assumedTail
	}
	const margin = 200 * time.Microsecond
	longest := longestTail
	if l.has("net") {
		longest = longestNetworkTail
	}
	return min(time.Duration(slow)+margin, longest)
}

// slow returns a value that nine in ten of the last restores of about that load
// did not exceed, and how many there were.
func (e *estimates) slow(l load, value func(sample) float64) (slowest float64, seen int) {
	var values []float64
	for _, s := range slices.Backward(e.samples) {
		if alike(s.load, l) && len(values) < consult {
			values = append(values, value(s))
		}
	}
	if len(values) == 0 {
		return 0, 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, len(values)*9/10)], len(values)
}

// alike reports whether restores take about as long: within a factor of two, beside
// what every restore costs.
func alike(a, b load) bool {
	x, y := assumed(a), assumed(b)
	return a.Spaces == b.Spaces && x <= 2*y && y <= 2*x
}

// add keeps one more sample. Two restores that end at once may lose one.
func (e *estimates) add(s sample) error {
	e.samples = append(e.samples, s)
	if extra := len(e.samples) - keep; extra > 0 {
		e.samples = e.samples[extra:]
	}
	data, err := json.Marshal(e.samples)
	if err != nil {
		return fmt.Errorf("keep the restore's time: %w", err)
	}
	if err := writeState(e.path, data); err != nil {
		return fmt.Errorf("keep the restore's time: %w", err)
	}
	return nil
}
