// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
	"github.com/crtime/crtime/e2e/kernels/vm"
	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

const (
	// commandTime is what a dump or restore may take in an emulated machine.
	commandTime = time.Minute
	// exactness is for what the clocks of an emulated machine differ by themselves.
	exactness = 5 * time.Millisecond
	// away is how long a program is not there at least.
	away = time.Second
	// settled is what a program prints before, between and after.
	settled = 30
)

// program is one that prints clock records, see package clocklog.
type program struct {
	name string
	argv []string
}

func programs() [3]program {
	return [3]program{
		{"static", []string{"/bin/static-ticker", "-i", "2000"}},
		{"threads", []string{"/bin/ticker", "-i", "2000", "-t", "3", "-m", "8"}},
		{"go", []string{"/bin/goticker", "-interval", "2ms", "-goroutines", "50"}},
	}
}

// journey is a program that is dumped and restored.
type journey struct {
	*testing.T
	engine string
	at     *vm.Machine
	pid    int
	dir    string // Of its files, in every guest.
	stays  []stay
}

// stay is what crtime said of a restore.
type stay struct {
	policy string
	harness.RestoreResult
}

// begin starts a program in a machine.
func begin(t *testing.T, m *vm.Machine, x trip) *journey {
	t.Helper()
	j := &journey{T: t, engine: x.engine, at: m, dir: "/tmp/journey"}
	j.check(m.Remove(j.dir))
	j.run("mkdir", j.dir)
	var err error
	j.pid, err = m.Start(wire.Command{Argv: x.program.argv, Dir: j.dir, Output: j.output()})
	j.check(err)
	t.Cleanup(func() {
		if err := j.at.Kill(j.pid); err != nil {
			t.Error(err)
		}
		if err := j.at.Remove(j.dir); err != nil {
			t.Error(err)
		}
	})
	j.wait(settled)
	return j
}

func (j *journey) output() string { return path.Join(j.dir, "output") }
func (j *journey) images() string { return path.Join(j.dir, "images") }

func (j *journey) check(err error) {
	j.Helper()
	check(j.T, err)
}

// run runs a command where the program is, and returns what it printed.
func (j *journey) run(argv ...string) []byte {
	j.Helper()
	o, err := j.at.Run(wire.Command{Argv: argv, Timeout: commandTime, Env: []string{"CRTIME_CRIU=" + theLab.criu}})
	j.check(err)
	if o.Status != 0 {
		j.Fatalf("%s: %s: %s: %s\n%s", j.at.Kernel.Name, strings.Join(argv, " "), o.Words, o.Errors, j.engineLog())
	}
	return o.Output
}

// engineLog is the end of the log that CRIU leaves behind when it fails.
func (j *journey) engineLog() string {
	o, err := j.at.Run(wire.Command{
		Argv:    []string{"sh", "-c", "cat " + j.images() + "/*.log " + j.dir + "/*.log"},
		Timeout: commandTime,
	})
	if err != nil {
		return err.Error()
	}
	return string(o.Output[max(0, len(o.Output)-3000):])
}

// log reads what the program has printed.
func (j *journey) log() clocklog.Log {
	j.Helper()
	text, err := j.at.Text(j.output())
	j.check(err)
	log, err := clocklog.Parse(strings.NewReader(text))
	j.check(err)
	return log
}

// wait waits until the program has printed n records more.
func (j *journey) wait(n int) {
	j.Helper()
	begin := len(j.log().Records)
	for deadline := time.Now().Add(commandTime); ; time.Sleep(50 * time.Millisecond) {
		log := j.log()
		if len(log.Records) >= begin+n {
			return
		}
		if time.Now().After(deadline) {
			j.Fatalf("%s: the program printed %d records in %v, not %d; its last notes are %q", j.at.Kernel.Name,
				len(log.Records)-begin, commandTime, n, log.Notes[max(0, len(log.Notes)-5):])
		}
	}
}

// dump dumps the program, which ends it.
func (j *journey) dump() {
	j.Helper()
	j.run(crtime, "dump", "--engine", j.engine, "-t", fmt.Sprint(j.pid), "-D", j.images(), "-W", j.dir)
}

// restore brings it back.
func (j *journey) restore(policy string) {
	j.Helper()
	s := stay{policy: policy}
	out := j.run(crtime, "restore", "--json", "-d", "--engine", j.engine, "--policy", policy, "-D", j.images(), "-W", j.dir)
	j.check(json.Unmarshal(out, &s.RestoreResult))
	if s.PID != j.pid || !s.Kept || s.Engine != j.engine {
		j.Fatalf("crtime reports %s", out)
	}
	j.stays = append(j.stays, s)
	j.check(j.at.Remove(j.images()))
	j.wait(settled)
}

// move takes the dumped program to another machine, as a shared file system would:
// its images and its files. The wall clocks of both are set from the host's, as
// time synchronisation would.
func (j *journey) move(to *vm.Machine) {
	j.Helper()
	files, err := j.at.Fetch(j.dir)
	j.check(err)
	j.check(to.Remove(j.dir))
	j.check(to.Send(files))
	j.at = to
}

// judge says whether the program's clocks did what the policies promise.
func (j *journey) judge() {
	j.Helper()
	log := j.log()
	j.check(log.Complete())
	for _, b := range log.Backward() {
		j.Errorf("a broken promise: %v", b)
	}
	for _, c := range log.Complaints() {
		j.Errorf("the program complains: %s", c)
	}
	outages, err := log.Outages(len(j.stays))
	j.check(err)
	for i, s := range outages {
		r := j.stays[i]
		j.Logf("%s: %v by the wall clock, MONOTONIC +%v, BOOTTIME +%v; crtime says %v away (%s), a jump of %v, MONOTONIC %v forward",
			r.policy, s.Wall(), s.Advance(clocklog.Monotonic), s.Advance(clocklog.Boottime),
			r.Outage.Duration, r.Outage.Source, r.Jump, r.Forward(clocklog.Monotonic))
		if r.Outage.Duration < away/2 {
			j.Errorf("crtime says %v away, while it was %v at least", r.Outage.Duration, away)
		}
		j.judgeStep(s, r)
	}
}

// judgeStep checks one outage: each clock either stood still or followed the wall
// clock. Emulated programs are seconds late at times, and then all their clocks
// are, so this looks at how much less than the wall clock a clock advanced: by the
// outage if it stood, by nothing if it followed, and by what crtime corrected.
func (j *journey) judgeStep(s clocklog.Step, r stay) {
	j.Helper()
	followers := map[string][]clocklog.Clock{
		"suspend": {clocklog.Boottime},
		"freeze":  nil,
		"elapsed": {clocklog.Monotonic, clocklog.Boottime},
	}[r.policy]
	for _, clock := range []clocklog.Clock{clocklog.Monotonic, clocklog.Boottime} {
		want := r.Outage.Duration - r.Forward(clock)
		if slices.Contains(followers, clock) {
			want = -r.Forward(clock)
		}
		off := s.Wall() - s.Advance(clock) - want
		if allowed := exactness + s.Uncertainty(); off.Abs() > allowed {
			j.Errorf("policy %s: %v advanced %v in an outage of %v, %v from what it should; %v is allowed",
				r.policy, clock, s.Advance(clock), s.Wall(), off, allowed)
		}
	}
}

// trip is what a test does with a program: an engine, and the policies of its
// restores.
type trip struct {
	engine   string
	program  program
	policies []string
}

// trips lists what is worth its time: dumps and restores take seconds in an
// emulated machine.
func trips() []trip {
	found := []trip{
		{"native", programs()[0], []string{"suspend", "freeze", "elapsed"}},
		{"native", programs()[1], []string{"suspend"}},
		{"native", programs()[2], []string{"suspend"}},
	}
	if theLab.criu != "" {
		found = append(found, trip{"criu", programs()[1], []string{"suspend"}})
	}
	return found
}

// forEachTrip runs a test for each trip.
func forEachTrip(t *testing.T, test func(t *testing.T, x trip)) {
	t.Helper()
	for _, x := range trips() {
		t.Run(x.engine+"/"+x.program.name, func(t *testing.T) { test(t, x) })
	}
}

// TestRestore dumps and restores programs on each kernel.
func TestRestore(t *testing.T) {
	forEachKernel(t, func(t *testing.T, m *vm.Machine) {
		forEachTrip(t, func(t *testing.T, x trip) {
			j := begin(t, m, x)
			for _, policy := range x.policies {
				j.dump()
				time.Sleep(away)
				j.restore(policy)
			}
			j.judge()
		})
	})
}

// TestMove takes programs from each kernel to each other, and back.
func TestMove(t *testing.T) {
	needLab(t)
	if len(theLab.kernels) < 2 {
		t.Skipf("only one kernel is named, %s: a move needs two", theLab.kernels[0].Name)
	}
	for i, a := range theLab.kernels {
		for _, b := range theLab.kernels[i+1:] {
			t.Run(a.Name+"-"+b.Name, func(t *testing.T) { moveBetween(t, theLab.boot(t, a), theLab.boot(t, b)) })
		}
	}
}

func moveBetween(t *testing.T, a, b *vm.Machine) {
	t.Helper()
	first, err := a.Greet()
	check(t, err)
	second, err := b.Greet()
	check(t, err)
	t.Logf("%s runs for %v, %s for %v", a.Kernel.Name, first.Boottime, b.Kernel.Name, second.Boottime)
	forEachTrip(t, func(t *testing.T, x trip) {
		for _, m := range []*vm.Machine{a, b} {
			check(t, m.SetRealtime())
		}
		j := begin(t, a, x)
		for _, policy := range x.policies {
			for _, to := range []*vm.Machine{b, a} {
				j.dump()
				j.move(to)
				time.Sleep(away)
				j.restore(policy)
			}
		}
		j.judge()
	})
}
