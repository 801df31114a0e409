// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
)

// ErrNoMemoryTracking says that this kernel cannot tell which memory changed.
var ErrNoMemoryTracking = errors.New("memory tracking is not available")

// Dump implements engine.Dumper.
func (e *Engine) Dump(ctx context.Context, req engine.DumpRequest, hooks engine.DumpHooks) error {
	return e.dump(ctx, rpc.CriuReqType_DUMP, req, func(n *rpc.CriuNotify) error {
		switch n.GetScript() {
		case "pre-dump":
			return hooks.Freezing()
		case "post-dump":
			return hooks.Collected()
		}
		return nil
	})
}

// PreDump implements engine.Dumper.
func (e *Engine) PreDump(ctx context.Context, req engine.DumpRequest) error {
	req.TrackMem = true
	return e.dump(ctx, rpc.CriuReqType_SINGLE_PRE_DUMP, req, func(*rpc.CriuNotify) error { return nil })
}

// dump carries out one request of the dump family.
func (e *Engine) dump(ctx context.Context, kind rpc.CriuReqType, req engine.DumpRequest, notify func(*rpc.CriuNotify) error) error {
	if (req.TrackMem || req.Parent != "") && !e.Binary.HasFeature(ctx, "mem_dirty_track") {
		return fmt.Errorf("%w: this kernel was built without CONFIG_MEM_SOFT_DIRTY; dump without --track-mem and --prev-images-dir", ErrNoMemoryTracking)
	}
	if err := checkNamespaces(req.PID); err != nil {
		return err
	}
	opts, err := requestOptions(req.Options)
	if err != nil {
		return err
	}
	workDir := req.Images.Dir()
	if req.WorkDir != "" {
		if workDir, err = os.Open(req.WorkDir); err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
		defer workDir.Close()
	}
	opts.Pid = proto.Int32(int32(req.PID))
	opts.ImagesDirFd = proto.Int32(int32(req.Images.Dir().Fd()))
	opts.WorkDirFd = proto.Int32(int32(workDir.Fd()))
	opts.LogFile = proto.String(logName(req.Options, "dump.log"))
	opts.LeaveRunning = proto.Bool(req.LeaveRunning)
	opts.TrackMem = proto.Bool(req.TrackMem)
	if req.Parent != "" {
		opts.ParentImg = proto.String(req.Parent)
	}

	talk, theirs, err := newConversation()
	if err != nil {
		return err
	}
	defer talk.close()
	// The context must not kill CRIU, which would leave the tree half dumped: it
	// is undone by what we answer.
	swrk := exec.CommandContext(context.WithoutCancel(ctx), e.Binary.Path, "swrk", "3")
	swrk.ExtraFiles = []*os.File{theirs}
	err = swrk.Start()
	theirs.Close()
	if err != nil {
		return fmt.Errorf("start criu: %w", err)
	}
	resp, err := talk.call(ctx, &rpc.CriuReq{Type: kind.Enum(), Opts: opts}, notify)
	talk.close()
	if waitErr := swrk.Wait(); waitErr != nil {
		e.log().Debug("criu swrk ended", zap.Error(waitErr))
	}
	return outcome("dump", resp, err, filepath.Join(workDir.Name(), opts.GetLogFile()))
}
