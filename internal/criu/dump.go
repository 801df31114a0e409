// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
)

// ErrNoMemoryTracking says that this kernel cannot tell which memory changed.
var ErrNoMemoryTracking = errors.New("memory tracking is not available")

// Dump implements engine.Dumper.
func (e *Engine) Dump(ctx context.Context, req engine.DumpRequest, hooks engine.DumpHooks) error {
	return e.dump(ctx, rpc.CriuReqType_DUMP, req, func(n *Notification) (*Answer, error) {
		// The client's work comes before the moment at which the clocks are looked at,
		// and its answer after everything has been written.
		if n.Script == "post-dump" {
			if err := hooks.Collected(); err != nil {
				return nil, err
			}
		}
		answer, err := e.ask(n, req.Notify)
		if err == nil && n.Script == "pre-dump" {
			err = hooks.Freezing()
		}
		return answer, err
	})
}

// PreDump implements engine.Dumper.
func (e *Engine) PreDump(ctx context.Context, req engine.DumpRequest) error {
	req.TrackMem = true
	return e.dump(ctx, rpc.CriuReqType_SINGLE_PRE_DUMP, req, func(n *Notification) (*Answer, error) {
		return e.ask(n, req.Notify)
	})
}

// dump carries out one request of the dump family.
func (e *Engine) dump(ctx context.Context, kind rpc.CriuReqType, req engine.DumpRequest, notify func(*Notification) (*Answer, error)) error {
	if (req.TrackMem || req.Parent != "") && !e.Binary.HasFeature(ctx, "mem_dirty_track") {
		return fmt.Errorf("%w: this kernel was built without CONFIG_MEM_SOFT_DIRTY; dump without --track-mem and --prev-images-dir", ErrNoMemoryTracking)
	}
	if err := checkNamespaces(req.PID); err != nil {
		return err
	}
	opts, err := e.options(req.Options)
	if err != nil {
		return err
	}
	log, work, err := e.setLog(opts, req.Options, req.Images.Dir(), "dump.log")
	if err != nil {
		return err
	}
	defer work.Close()
	opts.Pid = proto.Int32(int32(req.PID))
	opts.ImagesDirFd = proto.Int32(int32(req.Images.Dir().Fd()))
	if e.Client == nil || req.LeaveRunning {
		opts.LeaveRunning = proto.Bool(req.LeaveRunning)
	}
	if e.Client == nil || req.TrackMem {
		opts.TrackMem = proto.Bool(req.TrackMem)
	}
	if req.Parent != "" {
		opts.ParentImg = proto.String(req.Parent)
	}

	talk, swrk, err := e.start()
	if err != nil {
		return err
	}
	defer talk.close()
	if lost := strays(req.PID); len(lost) > 0 {
		// At the end: CRIU begins the log anew.
		defer e.log().Warn("not saved: processes of the container that were not started by its first one", zap.Strings("processes", lost))
	}
	serving := func() bool { return true }
	resp, err := talk.call(ctx, &rpc.CriuReq{Type: kind.Enum(), Opts: opts}, func(n *Notification) (*Answer, error) {
		if n.Script == "status-ready" {
			serving = context.AfterFunc(ctx, func() { release(swrk) })
		}
		return notify(n)
	})
	serving()
	talk.close()
	if state, waitErr := swrk.Wait(); waitErr != nil || !state.Success() {
		e.log().Debug("criu swrk ended", zap.Stringer("state", state), zap.Error(waitErr))
	}
	return outcome("dump", resp, err, log)
}

// release ends a CRIU that has dumped a tree and waits for somebody to fetch its pages, of
// which it tells by "status-ready". That may be never, it tells of nothing any more, and
// does not look whether we are there; the tree is stopped all the while. It is whole,
// though, and runs on when its tracer has gone.
func release(swrk *os.Process) { _ = swrk.Signal(unix.SIGTERM) } // It fails only if CRIU has ended.

// start starts a CRIU that waits for requests. But for release, nothing here kills it,
// which would leave a tree half dumped: what it does is undone by what we answer.
func (e *Engine) start() (*conversation, *os.Process, error) {
	talk, theirs, err := newConversation()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	swrk, err := e.startWith(theirs)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start criu: %w", err), talk.close())
	}
	return talk, swrk, nil
}

// startWith starts a CRIU with its end of the socket.
func (e *Engine) startWith(socket *os.File) (*os.Process, error) {
	in, err := e.inherit(socket)
	if err != nil {
		return nil, err
	}
	defer in.close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	const standard = 3
	for i := range standard {
		if in.files[i] == nil || e.Client == nil {
			in.files[i] = null
		}
	}
	return os.StartProcess(e.Binary.Path, in.args(e.Binary.Path), &os.ProcAttr{Files: in.files})
}
