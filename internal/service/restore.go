// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/restore"
)

// restore carries out a RESTORE. The tree does not wait for this process's end: unless
// it was made a child of the client, its root is left to whoever adopts orphans.
func (s *Session) restore(ctx context.Context, opts *rpc.CriuOpts) (*rpc.CriuResp, error) {
	ctx, job, err := s.begin(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer job.end()
	images, err := restore.OpenAny(path(job.places.images))
	if err != nil {
		return nil, job.failed(ctx, err)
	}
	r, err := job.choice.Restorer(ctx, images.Images, job.options)
	if err != nil {
		return nil, job.failed(ctx, err)
	}
	report, err := restore.Restore(ctx, r, images, restore.Options{
		Options:     job.options,
		PlanOptions: restore.PlanOptions{Policy: job.set.Policy},
		WallClock:   job.set.WallClock,
		Lead:        job.set.Lead,
		Sibling:     opts.GetRstSibling(),
	})
	if err != nil {
		return nil, job.failed(ctx, err)
	}
	for _, w := range report.Plan.Warnings {
		job.log.Warn(w.Text)
	}
	logProof(job.log, report)
	if err := writeRestoreStats(job.places, report); err != nil {
		job.log.Warn("the statistics could not be written", zap.Error(err))
	}
	resp := success()
	resp.Restore = &rpc.CriuRestoreResp{Pid: proto.Int32(int32(report.PID))}
	return resp, nil
}

// logProof tells in the log what the command would print.
func logProof(log *zap.Logger, r *restore.Report) {
	fields := []zap.Field{
		zap.Int("pid", r.PID), zap.String("engine", r.Engine), zap.Stringer("policy", r.Plan.Policy),
		zap.Stringer("jump of MONOTONIC", r.Jump), zap.Stringer("held", r.Held),
	}
	switch {
	case r.Proof.Kept:
		log.Info("restored, and no clock reads less than it did", fields...)
	case r.Proof.Invalid != "":
		log.Warn("restored, but nothing is proven of its clocks", append(fields, zap.String("because", r.Proof.Invalid))...)
	default:
		log.Warn("restored, but a clock reads less than it did", append(fields, zap.Any("proof", r.Proof))...)
	}
}
