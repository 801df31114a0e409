// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"

	"github.com/crtime/crtime/internal/choose"
	"github.com/crtime/crtime/internal/engine"
)

// errEngine says that the settings rule out the engine that could do it.
var errEngine = fmt.Errorf("%w with the engine that is set", engine.ErrUnsupported)

// job is one dump or restore for a client.
type job struct {
	// ctx ends when the client hangs up.
	ctx     context.Context //nolint:containedctx // A job is as long as its context.
	stop    func()
	log     *zap.Logger
	logFile *logFile
	places  *places
	set     Settings
	options engine.Options
	choice  choose.Choice
}

// begin sees to all that dumps and restores have in common. On an error there is
// nothing to end.
func (s *Session) begin(ctx context.Context, opts *rpc.CriuOpts, defaultLog string) (j *job, err error) {
	if opts == nil {
		return nil, badRequest("the request has no options")
	}
	j = &job{log: s.Log}
	defer func() {
		if err != nil {
			j.end()
			j = nil
		}
	}()
	if j.options, err = engineOptions(opts); err != nil {
		return j, err
	}
	if j.set, err = s.Settings.forRequest(opts.GetConfigFile()); err != nil {
		return j, badRequest("%w", err)
	}
	if j.places, err = s.places(opts); err != nil {
		return j, err
	}
	if j.options.LogFile == "" {
		j.options.LogFile = defaultLog
	}
	j.options.WorkDir = fmt.Sprintf("/proc/self/fd/%d", j.places.work.Fd())
	if j.logFile, err = openLog(j.places.work, j.options.LogFile); err != nil {
		return j, err
	}
	j.log = j.logFile.beside(s.Log, logLevel(opts))
	if j.choice, err = s.choice(j.set, opts, j.places); err != nil {
		return j, err
	}
	j.choice.Log = j.log
	if opts.GetNotifyScripts() {
		j.options.Notify = s.tell
	}
	j.ctx, j.stop, err = s.whilePresent(ctx)
	return j, err
}

// failed notes why a job has failed.
func (j *job) failed(err error) error {
	if cause := context.Cause(j.ctx); cause != nil && !errors.Is(err, cause) {
		err = errors.Join(cause, err)
	}
	j.log.Error("failed", zap.Error(err))
	return err
}

// end gives up what the job holds.
func (j *job) end() {
	if j.stop != nil {
		j.stop()
	}
	if j.logFile != nil {
		j.logFile.close()
	}
	if j.places != nil {
		j.places.close()
	}
}
