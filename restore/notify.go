// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/checkpoint-restore/go-criu/v7"
	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/image/view"
	"github.com/crtime/crtime/internal/timens"
	"github.com/crtime/crtime/internal/urgent"
)

// Errors of a Notify that a caller may want to tell apart.
var (
	// ErrBackward says that a clock would have read less after a restore than before.
	ErrBackward = errors.New("a clock would read less than at the freeze")
	// ErrUnprivileged says that in the restore that was asked for CRIU sets no clocks.
	ErrUnprivileged = errors.New("in an unprivileged restore criu leaves the clocks alone")
	// ErrClocksNotSet says that CRIU has not set the tree's clocks at all.
	ErrClocksNotSet = errors.New("criu has not set the tree's clocks")
)

// Notify has a restore that a program makes with go-criu bring the clocks back right. It
// goes between go-criu and the program's own hooks, and passes every call on.
//
// CRIU makes the tree's time namespace itself, from its own record of the clocks: it
// subtracts the clocks of the host, as they are when it comes to that, from what the
// record says. Notify lets CRIU read the images through a view in which that record is
// written only when CRIU opens it: the plan is made then, and CRIU reads what the clocks are
// to read at that very moment.
//
// At PostRestore, after the program's own, the tree is complete and does not run yet.
// Notify asks the kernel which offsets the tree has got, holds the tree until its clocks
// read what was planned, and proves that none reads less than it did. If one does, the
// error has CRIU undo the restore. (CRIU asks once more, right before the tree runs, but
// go-criu answers that itself.)
//
// What remains, apart from the plan's own corrections:
//   - MONOTONIC jumps forward by the time from PostRestore until CRIU lets the tree go,
//     3 to 5 ms for a small tree; by what CRIU takes longer than Lead; and by a tick of
//     the host at most, where COARSE makes the tree wait for the next.
//   - Both offsets are off by what CRIU takes longer or shorter than foreseen from
//     reading the record to reading the clock (see Report.Missed). MONOTONIC is held for
//     it. BOOTTIME stays off by it: up to 1 ms ahead or some 2 ms behind, and behind by as
//     much more as an overloaded machine keeps CRIU from going on. It may be 1 ms further
//     ahead where the policy leaves BOOTTIME - MONOTONIC as it was.
//
// Timers and sleeps come back as CRIU has them, and REALTIME is not looked at.
//
// The exported fields may be set until the restore begins. A Notify serves one restore
// at a time; after one that failed it can serve another.
type Notify struct {
	hooks
	PlanOptions

	// Lead is how long the tree is expected to need from the setting of its clocks
	// until it is complete; 0: what CRIU needs for images of this size on an ordinary
	// machine. One that is too short makes MONOTONIC jump by the rest; one that is too
	// long makes the restore take longer.
	Lead time.Duration
	// ReportOnly lets a tree run whose clocks have gone backward; its Report's Proof
	// tells.
	ReportOnly bool
	// TrustImages is as in Options.
	TrustImages bool

	opts   *rpc.CriuOpts
	before clientDirs
	dir    *os.File // The image directory.
	images *Images
	view   *view.View
	clocks *hostclock.Reader

	setting *setting // nil: no restore is under way.
	begun   clockstate.HostReading
	report  *Report
}

// hooks are the program's own, which get every call that Notify does not take.
type hooks = criu.Notify

var _ criu.Notify = (*Notify)(nil)

// clientDirs are the directories of a client's options.
type clientDirs struct{ images, work *int32 }

// NewNotify makes the hooks for go-criu's Restore with the same opts. It checks every
// image of the directory in opts (ImagesDirFd or ImagesDir) as OpenAny does: package
// checkpoint, crtime or a plain CRIU has written them. It sets ImagesDirFd to a view of
// the directory, and WorkDirFd, if that is not set, to the directory itself, so that
// CRIU's log appears where it would have. own are the program's own hooks; nil: it has
// none.
//
// The caller calls Close after the restore, which puts opts back as they were.
//
// The error is that of OpenAny, or ErrUnprivileged. A tree that lived in several time
// namespaces is refused by PreRestore, with ErrSeveralNamespaces.
func NewNotify(opts *rpc.CriuOpts, own criu.Notify) (*Notify, error) {
	if own == nil {
		own = criu.NoNotify{}
	}
	if opts.GetUnprivileged() {
		return nil, ErrUnprivileged
	}
	dir, err := image.OpenClient(opts.GetImagesDirFd(), opts.GetImagesDir())
	if err != nil {
		return nil, err
	}
	n := &Notify{hooks: own, opts: opts, dir: dir, before: clientDirs{opts.ImagesDirFd, opts.WorkDirFd}}
	if err := n.prepare(); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	opts.ImagesDirFd = proto.Int32(int32(n.view.Dir().Fd()))
	if opts.WorkDirFd == nil {
		opts.WorkDirFd = proto.Int32(int32(dir.Fd()))
	}
	return n, nil
}

// prepare reads the images and makes the view.
func (n *Notify) prepare() (err error) {
	if n.clocks, err = hostclock.NewReader(); err != nil {
		return err
	}
	if n.images, err = OpenAny(n.dir.Name()); err != nil {
		return err
	}
	n.view, err = view.WithClocks(n.images.Dir)
	return err
}

// Report says what the restore did. It is nil until PostRestore has succeeded.
//
// Released and Proof are from the end of PostRestore. ResumedBy is from PostResume, when
// every thread runs: MONOTONIC may have jumped by Jump and the time between the two.
func (n *Notify) Report() *Report { return n.report }

// Close gives the view back and makes opts what they were. The error may say why a
// restore has failed that go-criu knows no reason for: no offsets could be planned when
// CRIU came to the clocks.
func (n *Notify) Close() error {
	if n.view == nil {
		return nil
	}
	n.opts.ImagesDirFd, n.opts.WorkDirFd = n.before.images, n.before.work
	err := errors.Join(n.endSetting(), n.view.Close(), n.dir.Close())
	n.view = nil
	return err
}

// endSetting ends a setting of the clocks that PostRestore has not come to. The error is
// why CRIU found none, if that was crtime's fault.
func (n *Notify) endSetting() error {
	if n.setting == nil {
		return nil
	}
	_, err := n.setting.end()
	n.setting = nil
	if errors.Is(err, os.ErrClosed) {
		return nil // CRIU has failed before it came to them.
	}
	return err
}

// PreRestore implements criu.Notify. It is the last moment before CRIU makes the tree.
func (n *Notify) PreRestore() error {
	n.report = nil
	if err := errors.Join(n.endSetting(), n.hooks.PreRestore()); err != nil {
		return err
	}
	if err := n.begin(); err != nil {
		return fmt.Errorf("restore from %s: %w", n.images.Dir, err)
	}
	return nil
}

// begin sees whether there is a plan at all, and offers CRIU the clocks.
func (n *Notify) begin() (err error) {
	if n.view == nil {
		return errors.New("the hooks have been closed")
	}
	if !n.TrustImages {
		if err := image.CheckOwner(n.images.Dir); err != nil {
			return err
		}
	}
	if n.begun, err = n.clocks.Read(); err != nil {
		return err
	}
	o := clockstate.PlanOptions{Policy: n.Policy, Link: n.Link, Lead: n.lead()}
	// The tick does not matter to whether there is a plan.
	plan, err := clockstate.NewPlan(n.images.State, n.begun, o)
	if err != nil {
		return err
	}
	if _, err := oneNamespace(plan); err != nil {
		return err
	}
	offer, err := n.view.OfferClocks()
	if err != nil {
		return err
	}
	n.setting = &setting{
		images: n.images, clocks: n.clocks, options: o,
		offer: offer, tick: n.clocks.WatchTick(context.Background()), done: make(chan struct{}),
	}
	go n.setting.run()
	return nil
}

// lead is how long the tree is expected to need. Observed with CRIU 4.2 on Linux 6.18:
// 12 ms for the smallest tree, half a second for 1 GiB.
func (n *Notify) lead() clockstate.Nanos {
	if n.Lead > 0 {
		return clockstate.Nanos(n.Lead)
	}
	const (
		base = 15 * clockstate.Nanos(time.Millisecond)
		rate = 1 << 30 // Bytes a second.
	)
	return base + clockstate.Nanos(float64(n.images.Bytes())/rate*float64(time.Second))
}

// PostRestore implements criu.Notify.
func (n *Notify) PostRestore(pid int32) error {
	if err := n.hooks.PostRestore(pid); err != nil {
		return err
	}
	if err := n.hold(int(pid)); err != nil {
		return fmt.Errorf("restore from %s: %w", n.images.Dir, err)
	}
	return nil
}

// hold looks at the offsets of the tree, holds it until its clocks read what they should,
// and makes the proof.
func (n *Notify) hold(pid int) error {
	if n.setting == nil {
		return ErrClocksNotSet
	}
	planned, err := n.setting.end()
	n.setting = nil
	if err != nil {
		return fmt.Errorf("%w: %w", ErrClocksNotSet, err)
	}
	offsets, err := timens.OffsetsOf(pid)
	if err != nil {
		return err
	}
	own, err := oneNamespace(planned)
	if err != nil {
		return err
	}
	plan, err := planned.CarriedOut(own.ID, offsets)
	if err != nil {
		return err
	}
	r := &Report{PID: pid, Engine: engine.CRIU, Plan: plan, Missed: clockstate.Offsets{
		Monotonic: offsets.Monotonic - own.Offsets.Monotonic, Boottime: offsets.Boottime - own.Offsets.Boottime,
	}}
	if err := n.await(plan, r); err != nil {
		return err
	}
	r.Proof = plan.Prove(r.Released)
	if !r.Proof.Kept && !n.ReportOnly {
		return fmt.Errorf("%w: %s", ErrBackward, whyNotKept(r.Proof))
	}
	r.Jump = max(0, r.Released.Monotonic-plan.Resume.Monotonic) + max(0, r.Missed.Monotonic)
	r.Duration = r.Released.Monotonic - n.begun.Monotonic
	n.report = r
	return nil
}

// await returns when the promise is kept, or has given that up.
func (n *Notify) await(plan *clockstate.Plan, r *Report) error {
	begin, err := n.clocks.Read()
	if err != nil {
		return err
	}
	r.Held = max(0, plan.Resume.Monotonic-begin.Monotonic)
	// Nothing that CRIU does takes so long: these are not the offsets that were meant.
	const longest = 10 * clockstate.Nanos(time.Second)
	if r.Held > longest+n.lead() {
		r.Held, r.Released = 0, begin
		return nil
	}
	urgent.Do(func() {
		if err = n.clocks.WaitUntil(context.Background(), plan.Resume.Monotonic); err == nil {
			r.Released, err = awaitKept(n.clocks, plan)
		}
	})
	return err
}

// whyNotKept says what is wrong with the proof of a tree in one time namespace.
func whyNotKept(p clockstate.Proof) string {
	for _, ns := range p.Namespaces {
		if why := whyBroken(ns); why != "" {
			return why
		}
	}
	return p.Invalid
}

// PostResume implements criu.Notify.
func (n *Notify) PostResume() error {
	if n.report != nil {
		// The tree runs: a reading that fails says less, and harms nothing.
		if now, err := n.clocks.Read(); err == nil {
			n.report.ResumedBy, n.report.Duration = now, now.Monotonic-n.begun.Monotonic
		}
	}
	return n.hooks.PostResume()
}
