// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/checkpoint"
)

// dump carries out a DUMP.
func (s *Session) dump(ctx context.Context, opts *rpc.CriuOpts) (*rpc.CriuResp, error) {
	if opts.GetPid() <= 0 {
		return nil, badRequest("a DUMP request without pid asks to dump the client itself, which crtime does not do: name a process")
	}
	ctx, job, err := s.begin(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer job.end()
	d, err := job.choice.Dumper(ctx)
	if err != nil {
		return nil, job.failed(ctx, err)
	}
	report, err := checkpoint.Dump(ctx, d, checkpoint.Options{
		Options:      job.options,
		PID:          int(opts.GetPid()),
		ImagesAt:     job.places.images,
		LeaveRunning: opts.GetLeaveRunning(),
		TrackMem:     opts.GetTrackMem(),
		PrevImages:   opts.GetParentImg(),
		FreezeCgroup: opts.GetFreezeCgroup(),
		Lazy:         job.lazy,
		// The client hears of each moment once.
		Once: true,
	})
	if err != nil {
		return nil, job.failed(ctx, err)
	}
	job.log.Info("dumped", zap.String("engine", report.Engine), zap.Int("processes", len(report.State.Processes)),
		zap.Stringer("frozen at", report.State.Freeze.Monotonic), zap.Stringer("known as", report.State.FreezeSource))
	if report.ClockReader != 0 {
		job.log.Warn("a thread was stopped while it read a clock, which may be wrong after a restore", zap.Int("tid", report.ClockReader))
	}
	if report.Warning != nil {
		job.log.Warn("dumped, but", zap.Error(report.Warning))
	}
	if err := writeDumpStats(job.places, report); err != nil {
		job.log.Warn("the statistics could not be written", zap.Error(err))
	}
	resp := success()
	resp.Dump = &rpc.CriuDumpResp{Restored: proto.Bool(false)}
	return resp, nil
}
