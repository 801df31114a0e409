// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/urgent"
)

// Options say what to restore and how its clocks shall go on. The zero value of
// every field works.
type Options struct {
	engine.Options
	PlanOptions

	WallClock WallClock
	WaitLimit time.Duration // Longest wait for the wall clock; 0: one minute.
	// Lead is how far after the offsets are fixed the tree resumes. 0: what the
	// engine expects to need. One that is too short makes MONOTONIC jump by the
	// rest; one that is too long makes the restore take longer.
	Lead time.Duration
	// Sibling makes the tree's root a child of the calling process's parent.
	Sibling bool
}

// Report says what a restore did.
type Report struct {
	PID    int // Root of the tree, in the caller's pid namespace.
	Engine string
	Plan   *clockstate.Plan
	Proof  clockstate.Proof // From the clocks right before the release.
	// Released is the host's clocks right before the release, ResumedBy those
	// when the engine reported that every thread runs.
	Released, ResumedBy clockstate.HostReading
	// Jump is how much later than planned the tree was released: the most that
	// MONOTONIC jumps forward, apart from the plan's corrections.
	Jump clockstate.Nanos
	// Missed is by how much the offsets that the tree has got are not those that were
	// planned: 0 but for a Notify. Plan is the plan as it was carried out.
	Missed clockstate.Offsets
	// Held is how long the complete tree waited for the planned instant.
	Held     clockstate.Nanos
	Duration clockstate.Nanos // From begin to end.
}

// Restore rebuilds the tree in images. Its root becomes a child of the calling
// process, unless o says otherwise. On an error nothing of it is left. When ctx ends before the release,
// the restore is undone.
func Restore(ctx context.Context, r engine.Restorer, im *Images, o Options) (*Report, error) {
	clocks, err := hostclock.NewReader()
	if err != nil {
		return nil, err
	}
	begin, err := clocks.Read()
	if err != nil {
		return nil, err
	}
	if !o.TrustImages {
		if err := image.CheckOwner(im.Dir); err != nil {
			return nil, err
		}
	}
	// The tick does not matter to whether there is a plan at all.
	if _, err := clockstate.NewPlan(im.State, begin, clockstate.PlanOptions{Policy: o.Policy, Link: o.Link}); err != nil {
		return nil, err
	}
	if err := heedWallClock(ctx, im, clocks, o); err != nil {
		return nil, err
	}
	if err := awaitPIDs(ctx, im.State); err != nil {
		return nil, err
	}
	holders, err := makeNamespaces(im.State)
	if err != nil {
		return nil, err
	}
	defer holders.Close()
	run := &restore{Options: o, images: im, clocks: clocks, holders: holders, tick: clocks.WatchTick(ctx)}
	defer run.tick.Stop()
	done, err := r.Restore(ctx, engine.RestoreRequest{
		Options:    o.Options,
		Images:     im.Images,
		State:      im.State,
		Namespaces: holders,
		RootPID:    rootPID(im.State),
		Sibling:    o.Sibling,
	}, engine.RestoreHooks{
		FixClocks: func(lead clockstate.Nanos) (*clockstate.Plan, error) { return run.fixClocks(ctx, lead) },
		Built: func(_ int, tail clockstate.Nanos) (err error) {
			urgent.Do(func() { err = run.built(ctx, tail) })
			return err
		},
		// Too late to refuse: a cancelled context must not let the tree go early.
		Release: func() { urgent.Do(func() { run.release(context.WithoutCancel(ctx)) }) },
	})
	if err != nil {
		return nil, fmt.Errorf("restore from %s: %w", im.Dir, err)
	}
	return run.report(done, r.Name(), begin), nil
}

// rootPID is the number that the tree's root gets in our pid namespace, or 0 if
// it brings a pid namespace along.
func rootPID(s *clockstate.State) int {
	if root, err := s.Root(); err == nil && root.PID == root.OuterPID {
		return int(root.PID)
	}
	return 0
}

// restore is one restore under way. Its hooks are called by the engine, one
// after the other.
type restore struct {
	Options
	images  *Images
	clocks  *hostclock.Reader
	holders namespaces
	tick    *hostclock.TickWatch

	plan      *clockstate.Plan
	waited    clockstate.HostReading // When the gate began to hold.
	released  clockstate.HostReading
	releasing error // Why the gate could not read or wait; nil normally.
}

// fixClocks makes the plan and writes the offsets.
func (r *restore) fixClocks(ctx context.Context, lead clockstate.Nanos) (*clockstate.Plan, error) {
	if r.Lead > 0 {
		lead = clockstate.Nanos(r.Lead)
	}
	tick, err := r.tick.Tick(ctx)
	if err != nil {
		return nil, err
	}
	r.plan, err = planFrom(r.images.State, r.clocks, tick, clockstate.PlanOptions{
		Policy: r.Policy, Lead: lead, Link: r.Link,
	})
	if err != nil {
		return nil, err
	}
	return r.plan, r.holders.setOffsets(r.plan)
}

// built holds the complete tree until shortly before the planned instant. It is
// the last moment at which the restore can still be refused.
func (r *restore) built(ctx context.Context, tail clockstate.Nanos) error {
	var err error
	if r.waited, err = r.clocks.Read(); err != nil {
		return err
	}
	// For practice: the first proof takes memory that nobody has touched, and page
	// faults between the planned instant and the release make the tree late.
	_ = r.plan.Prove(r.waited)
	return r.clocks.WaitUntil(ctx, r.plan.Resume.Monotonic-tail)
}

// release holds the tree until the planned instant has come and no clock would
// read less than it did.
func (r *restore) release(ctx context.Context) {
	if err := r.clocks.WaitUntil(ctx, r.plan.Resume.Monotonic); err != nil {
		r.releasing = err
	}
	r.released, r.releasing = r.awaitPromise()
}

// awaitPromise reads the clocks until the proof holds. It takes longer than one
// reading only when COARSE lags more than the plan foresaw, and at most one tick
// then: it is bounded all the same.
func (r *restore) awaitPromise() (clockstate.HostReading, error) {
	now, err := awaitKept(r.clocks, r.plan)
	return now, errors.Join(r.releasing, err)
}

// awaitKept reads the clocks until a plan's promise is kept, and returns the last
// reading. Some time after the planned instant it gives up, without an error.
func awaitKept(clocks *hostclock.Reader, plan *clockstate.Plan) (clockstate.HostReading, error) {
	const longest = 100 * clockstate.Nanos(time.Millisecond)
	for {
		now, err := clocks.Glance()
		if err != nil {
			return now, err
		}
		if plan.Prove(now).Kept || now.Monotonic-plan.Resume.Monotonic > longest {
			return now, nil
		}
	}
}

// report sums up a restore that succeeded. The tree runs: clocks that cannot be read
// any more make an invalid proof, not an error.
func (r *restore) report(done engine.Restored, engineName string, begin clockstate.HostReading) *Report {
	end, err := r.clocks.Read()
	proof := r.plan.Prove(r.released)
	if err := errors.Join(r.releasing, err); err != nil {
		proof = clockstate.Proof{Invalid: fmt.Sprintf("the clocks could not be read at the release: %v", err)}
	}
	return &Report{
		PID:       done.PID,
		Engine:    engineName,
		Plan:      r.plan,
		Proof:     proof,
		Released:  r.released,
		ResumedBy: end,
		Jump:      max(0, r.released.Monotonic-r.plan.Resume.Monotonic),
		Held:      max(0, r.plan.Resume.Monotonic-r.waited.Monotonic),
		Duration:  end.Monotonic - begin.Monotonic,
	}
}
