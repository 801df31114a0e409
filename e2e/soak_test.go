// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// TestSoak dumps and restores programs in a loop, with random pauses, policies and
// loads, and asserts every promise: by what the programs saw, by crtime's own proof
// and by crtime verify. It takes some seconds, or as long as CRTIME_E2E_SOAK says:
// 'make soak' sets it.
func TestSoak(t *testing.T) {
	length := 8 * time.Second
	if testing.Short() {
		length = 2 * time.Second
	}
	c := newCase(t)
	if text := os.Getenv("CRTIME_E2E_SOAK"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		c.Check(err)
	}
	longer(c, length)
	s := soak{Case: c, random: newRand(t), end: time.Now().Add(length)}
	for i := 0; i == 0 || time.Now().Before(s.end) && !c.Failed(); i++ {
		s.life(s.programs()[i%len(s.programs())])
	}
	c.Logf("%d restores and %d dumps of programs that ran on, in %d lives; MONOTONIC jumped %v at most",
		s.restores, s.dumpsOnly, s.lives, s.widest)
}

// soak is one run of TestSoak.
type soak struct {
	*harness.Case
	random *rand.Rand
	end    time.Time

	restores, dumpsOnly, lives int
	widest                     time.Duration
}

// programs are those that take turns.
func (s *soak) programs() []harness.Program {
	s.Helper()
	checker, err := s.Checker(s.Context)
	s.Check(err)
	return []harness.Program{
		checker, s.Ticker("-t", "16", "-m", "16", "-p", "3", "-v", "50", "-f", "50"), s.GoTicker(), s.Pipeline(),
	}
}

// life starts a program, dumps and restores it some times, and reads what it says.
func (s *soak) life(program harness.Program) {
	s.Helper()
	s.lives++
	tree := s.Start(program)
	const longest = 12 // Cycles; the log is to be read in one go.
	var policies []string
	var restores []harness.RestoreResult
	for n := 1 + s.random.IntN(longest); len(restores) < n && (len(restores) == 0 || time.Now().Before(s.end)); {
		time.Sleep(randomly(s.random, 200*time.Millisecond))
		stop := s.load()
		if s.random.IntN(5) == 0 {
			s.dumpOnly(tree)
		} else {
			policy := []string{"suspend", "suspend", "freeze", "elapsed"}[s.random.IntN(4)]
			policies, restores = append(policies, policy), append(restores, s.cycle(tree, policy))
		}
		s.WaitRecords(tree, 30)
		stop()
	}
	if n := interruptions(s.Case, tree); n > 0 {
		s.Errorf("%d calls were interrupted", n)
	}
	steps, err := s.GoodLog(tree).Outages(len(restores))
	s.Check(err)
	for i, step := range steps {
		s.judge(step, policies[i], restores[i])
	}
	s.Check(tree.Kill())
	s.Check(os.Remove(tree.Output))
}

// load keeps some processors busy until it is told to stop.
func (s *soak) load() (stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context)
	var burners []*exec.Cmd
	for range max(0, s.random.IntN(5)-2) {
		burner := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		s.Check(burner.Start())
		burners = append(burners, burner)
	}
	return func() {
		cancel()
		for _, burner := range burners {
			_ = burner.Wait() // It was killed.
		}
	}
}

// dumpOnly dumps a program that runs on.
func (s *soak) dumpOnly(tree *harness.Tree) {
	s.Helper()
	images := s.Path("images")
	_, err := s.Crtime.Dump(s.Context, tree.PID, images, "--leave-running")
	s.Check(err)
	s.Check(os.RemoveAll(images))
	s.dumpsOnly++
}

// cycle dumps and restores a program, and has its clocks verified.
func (s *soak) cycle(tree *harness.Tree, policy string) harness.RestoreResult {
	s.Helper()
	images := s.Path("images")
	s.Dump(tree, images)
	// Longer than anything that keeps a program from printing.
	time.Sleep(200*time.Millisecond + randomly(s.random, 400*time.Millisecond))
	r := s.Restore(tree, images, "--policy", policy)
	if _, err := s.Crtime.Run(s.Context, "verify", strconv.Itoa(tree.PID), images); err != nil {
		s.Errorf("verify: %v", err)
	}
	s.Check(os.RemoveAll(images))
	s.restores++
	s.widest = max(s.widest, r.Jump)
	return r
}

// judge holds a step in a program's log against the policy of its restore.
func (s *soak) judge(step clocklog.Step, policy string, r harness.RestoreResult) {
	s.Helper()
	if policy == "elapsed" {
		followed(s.Case, step, clocklog.Monotonic, r)
	} else {
		stood(s.Case, step, clocklog.Monotonic, r)
	}
	if policy == "freeze" {
		stood(s.Case, step, clocklog.Boottime, r)
	} else {
		followed(s.Case, step, clocklog.Boottime, r)
	}
}
