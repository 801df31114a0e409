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
	opts, err := requestOptions(req.Options)
	if err != nil {
		return engine.Restored{}, err
	}
	v, err := newView(req.Images.Dir)
	if err != nil {
		return engine.Restored{}, err
	}
	defer v.close()
	log := logName(req.Options, "restore.log")
	workDir, logPath := v.dir, v.path(log)
	if req.WorkDir != "" {
		if workDir, err = os.Open(req.WorkDir); err != nil {
			return engine.Restored{}, fmt.Errorf("work directory: %w", err)
		}
		defer workDir.Close()
		logPath = req.WorkDir + "/" + log
	}
	opts.ImagesDirFd = proto.Int32(int32(v.dir.Fd()))
	opts.WorkDirFd = proto.Int32(int32(workDir.Fd()))
	opts.LogFile = proto.String(log)
	// The tree's root becomes our own child, so that we can wait for it. As
	// init of a pid namespace we cannot have siblings, and inherit it anyway.
	opts.RstSibling = proto.Bool(os.Getpid() != 1)

	run := &restoring{hooks: hooks, estimates: loadEstimates(), bytes: req.Images.Manifest.Bytes(), root: req.RootPID}
	talk, swrk, err := run.start(e, holder, func(plan *clockstate.Plan) error { return e.setTimers(v, req, plan) })
	if err != nil {
		return engine.Restored{}, err
	}
	resp, err := talk.call(ctx, &rpc.CriuReq{Type: rpc.CriuReqType_RESTORE.Enum(), Opts: opts}, run.notify)
	talk.close()
	if _, waitErr := swrk.Wait(); waitErr != nil {
		e.log().Debug("criu swrk ended", zap.Error(waitErr))
	}
	if err := outcome("restore", resp, err, logPath); err != nil {
		run.reap(resp)
		return engine.Restored{}, err
	}
	if err := run.learn(); err != nil {
		e.log().Warn("the time that this restore took could not be noted", zap.Error(err))
	}
	return engine.Restored{PID: int(resp.GetRestore().GetPid())}, nil
}

// setTimers makes the timers of the view right, and tells of the sleeps that cannot be.
func (e *Engine) setTimers(v *view, req engine.RestoreRequest, plan *clockstate.Plan) error {
	asleep, err := v.setTimers(req.Images.Dir, req.State, plan)
	if len(asleep) > 0 {
		e.log().Warn("threads that were asleep will be told EINTR, which CRIU does not spare them; --engine native does", zap.Any("asleep in", asleep))
	}
	return err
}

// restoring is one restore under way.
type restoring struct {
	hooks     engine.RestoreHooks
	estimates *estimates
	bytes     int64

	// When the clocks were fixed, the tree was complete, the first gate was left
	// and the second was reached.
	fixed, built, opened, ready time.Time
	root                        int // As the request or notifications told it; 0: not known yet.
}

// start fixes the clocks, tells fixed how, and starts CRIU in the namespace.
func (r *restoring) start(e *Engine, ns *timens.Holder, fixed func(*clockstate.Plan) error) (*conversation, *timens.Process, error) {
	talk, theirs, err := newConversation()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	r.fixed = time.Now()
	plan, err := r.hooks.FixClocks(clockstate.Nanos(r.estimates.build(r.bytes)))
	if err == nil {
		err = fixed(plan)
	}
	if err != nil {
		return nil, nil, errors.Join(err, talk.close())
	}
	swrk, err := ns.Exec(timens.Command{
		Path: e.Binary.Path,
		Args: []string{e.Binary.Path, "swrk", "3"},
		Env:  os.Environ(),
		// CRIU gives a --shell-job the terminal that is its standard input.
		Files: []*os.File{os.Stdin, nil, os.Stderr, theirs},
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start criu in the new time namespace: %w", err), talk.close())
	}
	return talk, swrk, nil
}

// notify answers one notification.
func (r *restoring) notify(n *rpc.CriuNotify) error {
	switch n.GetScript() {
	case "setup-namespaces":
		r.root = int(n.GetPid())
	case "post-restore":
		r.root = int(n.GetPid())
		r.built = time.Now()
		err := r.hooks.Built(r.root, clockstate.Nanos(r.estimates.tail(r.bytes)))
		r.opened = time.Now()
		return err
	case "pre-resume":
		r.ready = time.Now()
		r.hooks.Release()
	}
	return nil
}

// learn notes how long this restore took, for the estimate of the next.
func (r *restoring) learn() error {
	if r.fixed.IsZero() || r.built.IsZero() || r.ready.IsZero() {
		return errors.New("criu did not send the notifications that the times are taken at")
	}
	return r.estimates.add(sample{Bytes: r.bytes, Build: r.built.Sub(r.fixed), Tail: r.ready.Sub(r.opened)})
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
