// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/image/view"
	"github.com/crtime/crtime/internal/timens"
)

// Restore implements engine.Restorer. CRIU is started inside the tree's time
// namespace, so the offsets are fixed before it begins, aimed at when it is expected to end.
//
// Two notifications serve as the gate. At post-restore the tree is complete, its
// timers not armed yet, and CRIU still undoes everything if we refuse or die: the
// long wait is there. At pre-resume only the detaching is left: the last part of
// the wait is there, as short as the time between the two is known.
func (e *Engine) Restore(ctx context.Context, req engine.RestoreRequest, hooks engine.RestoreHooks) (engine.Restored, error) {
	holder, err := onlyNamespace(req)
	if err != nil {
		return engine.Restored{}, err
	}
	opts, err := e.options(req.Options)
	if err != nil {
		return engine.Restored{}, err
	}
	v, err := e.view(req.Images.Dir)
	if err != nil {
		return engine.Restored{}, err
	}
	defer v.Close()
	log, work, err := e.setLog(opts, req.Options, v.Dir(), "restore.log")
	if err != nil {
		return engine.Restored{}, err
	}
	defer work.Close()
	e.adoptRoot(opts)
	run := &restoring{
		engine: e, request: req, hooks: hooks,
		estimates: loadEstimates(), load: load{Bytes: req.Images.Bytes(), Spaces: ownSpaces(req)}, root: req.RootPID,
	}
	talk, swrk, err := run.start(holder, func(plan *clockstate.Plan) error {
		if err := run.setTimers(v, plan); err != nil {
			return err
		}
		return showImages(opts, v, req.Images.Dir)
	})
	if err != nil {
		return engine.Restored{}, err
	}
	resp, err := talk.call(ctx, &rpc.CriuReq{Type: rpc.CriuReqType_RESTORE.Enum(), Opts: opts}, run.notify)
	talk.close()
	if waitErr := run.await(swrk, len(opts.GetExecCmd()) > 0 && resp.GetSuccess()); waitErr != nil {
		e.log().Debug("criu swrk ended", zap.Error(waitErr))
	}
	if err := outcome("restore", resp, err, log); err != nil {
		if !resp.GetSuccess() {
			run.reap(resp)
		}
		return engine.Restored{}, err
	}
	if err := run.learn(); err != nil {
		e.log().Warn("the time that this restore took could not be noted", zap.Error(err))
	}
	return engine.Restored{PID: int(resp.GetRestore().GetPid())}, nil
}

// view makes the view of the images that CRIU is to have, if it can restore them.
func (e *Engine) view(dir string) (*view.View, error) {
	if e.Client == nil || !e.Client.Lazy {
		if err := allPagesHere(dir); err != nil {
			return nil, err
		}
	}
	return view.WithoutClocks(dir)
}

// adoptRoot has the tree's root become this process's own child, so that it can be waited
// for, unless a client wants it otherwise.
func (e *Engine) adoptRoot(opts *rpc.CriuOpts) {
	if len(opts.GetExecCmd()) > 0 {
		return // What CRIU executes in its own place is to be the parent.
	}
	if e.Client == nil || e.Client.Parent {
		// As init of a pid namespace we cannot have siblings, and inherit it anyway.
		opts.RstSibling = proto.Bool(os.Getpid() != 1)
	}
}

// showImages has CRIU see the images through a view, which is complete.
func showImages(opts *rpc.CriuOpts, v *view.View, images string) error {
	dir := v.Dir()
	if view.OwnMounts(images) {
		// It is an overlay that cannot be written to.
		opts.AutoDedup = nil
		var err error
		if dir, err = v.Overlay(); err != nil {
			return err
		}
	}
	opts.ImagesDirFd = proto.Int32(int32(dir.Fd()))
	return nil
}

// setTimers makes the timers of the view right, and tells of the sleeps that cannot be.
func (r *restoring) setTimers(v *view.View, plan *clockstate.Plan) error {
	found, err := setTimers(v, r.request.Images.Dir, r.request.State, plan)
	if err != nil {
		return err
	}
	if len(found.asleep) > 0 {
		r.engine.log().Warn("threads that were asleep will be told EINTR, which CRIU does not spare them; --engine native does", zap.Any("asleep in", found.asleep))
	}
	r.respan = found.respan
	return nil
}

// restoring is one restore under way.
type restoring struct {
	engine    *Engine
	request   engine.RestoreRequest
	hooks     engine.RestoreHooks
	estimates *estimates
	load      load

	// When the clocks were fixed, the tree was complete, the first gate was left
	// and the second was reached.
	fixed, built, opened, ready time.Time
	root                        int // As the request or notifications told it; 0: not known yet.

	respan map[uint32]bool // The files of timers that are to be set to a span again.
}

// start fixes the clocks, tells fixed how, and starts CRIU in the namespace.
func (r *restoring) start(ns *timens.Holder, fixed func(*clockstate.Plan) error) (*conversation, *timens.Process, error) {
	talk, theirs, err := newConversation()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	in, err := r.engine.inherit(theirs)
	if err != nil {
		return nil, nil, errors.Join(err, talk.close())
	}
	defer in.close()
	r.fixed = time.Now()
	plan, err := r.hooks.FixClocks(clockstate.Nanos(r.estimates.build(r.load)))
	if err == nil {
		err = fixed(plan)
	}
	if err != nil {
		return nil, nil, errors.Join(err, talk.close())
	}
	command := timens.Command{
		Path: r.engine.Binary.Path, Args: in.args(r.engine.Binary.Path), Env: os.Environ(), Files: in.files,
	}
	start := ns.Exec
	if r.request.Sibling {
		// CRIU makes the tree's root its own sibling, which is to be ours.
		start = ns.ExecSibling
	}
	swrk, err := start(command)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start criu in the new time namespace: %w", err), talk.close())
	}
	return talk, swrk, nil
}

// await waits for CRIU's end, unless it goes on as another program.
func (r *restoring) await(swrk *timens.Process, goesOn bool) error {
	switch {
	case goesOn:
		return swrk.Release()
	case r.request.Sibling:
		return swrk.AwaitSibling()
	}
	_, err := swrk.Wait()
	return err
}

// notify answers one notification. The client comes first: what it does is to be over
// when the gate opens.
func (r *restoring) notify(n *Notification) (*Answer, error) {
	answer, err := r.engine.ask(n, r.request.Notify)
	err = errors.Join(err, answer.Err(n.Script))
	if err != nil && !tooLate(n.Script) {
		return answer, err
	}
	if err != nil {
		r.engine.log().Warn("the tree is resumed all the same", zap.Error(err))
	}
	switch n.Script {
	case "setup-namespaces":
		r.root = n.PID
	case "post-restore":
		r.root = n.PID
		if err := respan(r.root, r.request.Images.Dir, r.respan); err != nil {
			r.engine.log().Warn("a timer is right, but shows that it was set to a point in time", zap.Error(err))
		}
		r.built = time.Now()
		if err := r.hooks.Built(r.root, clockstate.Nanos(r.estimates.tail(r.load))); err != nil {
			return nil, err
		}
		r.opened = time.Now()
	case "pre-resume":
		r.ready = time.Now()
		r.hooks.Release()
	}
	return answer, nil
}

// learn notes how long this restore took, for the estimate of the next.
func (r *restoring) learn() error {
	if r.fixed.IsZero() || r.built.IsZero() || r.ready.IsZero() {
		return errors.New("criu did not send the notifications that the times are taken at")
	}
	return r.estimates.add(sample{load: r.load, Build: r.built.Sub(r.fixed), Tail: r.ready.Sub(r.opened)})
}

// reap takes notice of the end of a root that CRIU made as our child and killed:
// nobody else would.
func (r *restoring) reap(resp *rpc.CriuResp) {
	pid := r.root
	if p := int(resp.GetRestore().GetPid()); pid == 0 && p > 0 {
		pid = p
	}
	if pid <= 0 {
		return
	}
	var status unix.WaitStatus
	for {
		// ECHILD is the usual answer: CRIU made no child, or it is not ours.
		if _, err := unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
