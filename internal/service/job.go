// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/choose"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/settings"
)

// job is one dump or restore for a client.
type job struct {
	stop    func() // Ends the watch over the client.
	log     *zap.Logger
	logFile *logFile
	places  *places
	set     settings.Settings
	options engine.Options
	choice  choose.Choice
	lazy    bool // Pages are to be fetched later.
}

// begin sees to all that dumps and restores have in common. The context that it returns
// ends when the client hangs up. On an error there is nothing to end.
func (s *Session) begin(ctx context.Context, opts *rpc.CriuOpts) (present context.Context, j *job, err error) {
	if s.Refusal != nil {
		return nil, nil, s.Refusal
	}
	if opts == nil {
		return nil, nil, badRequest("the request has no options")
	}
	j = &job{log: s.Log}
	s.told = map[string]bool{}
	defer func() {
		if err != nil {
			j.end()
			j = nil
		}
	}()
	if j.options, err = engineOptions(opts); err != nil {
		return nil, j, err
	}
	if j.set, err = s.forRequest(opts); err != nil {
		return nil, j, err
	}
	if j.places, err = s.places(opts); err != nil {
		return nil, j, err
	}
	if err = j.openLog(opts); err != nil {
		return nil, j, err
	}
	if j.choice, err = s.choice(j.set, opts, j); err != nil {
		return nil, j, err
	}
	if opts.GetNotifyScripts() {
		j.options.Notify = s.tell
	}
	present, j.stop, err = s.whilePresent(ctx)
	return present, j, err
}

// openLog makes the client's log, unless it wants none. One that it does not name has the
// name that CRIU gives it.
func (j *job) openLog(opts *rpc.CriuOpts) (err error) {
	if opts.GetLogToStderr() {
		return nil
	}
	if opts.LogFile == nil {
		opts.LogFile = proto.String("criu.log")
	}
	if j.logFile, err = openLog(j.places.work, opts.GetLogFile(), logLevel(opts)); err == nil {
		j.log = j.logFile.beside(j.log)
	}
	return err
}

// failed notes why a job has failed.
func (j *job) failed(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = errors.Join(cause, err)
	}
	if j.logFile != nil {
		j.logFile.only().Error("failed", zap.Error(err)) // The session says it everywhere else.
	}
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
