// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
)

// Name is how users name this engine.
const Name = engine.CRIU

// Engine dumps and restores through one CRIU. It is safe for concurrent use:
// every operation starts a CRIU of its own.
type Engine struct {
	Binary Binary
	Log    *zap.Logger // Nil: nothing is logged.
	Client *Client     // Nil: this process asks on its own behalf.
}

var (
	_ engine.Dumper   = (*Engine)(nil)
	_ engine.Restorer = (*Engine)(nil)
)

// Name implements engine.Dumper and engine.Restorer.
func (e *Engine) Name() string { return Name }

// log returns the logger to use.
func (e *Engine) log() *zap.Logger {
	if e.Log == nil {
		return zap.NewNop()
	}
	return e.Log
}

// cgroupMode translates a value of --manage-cgroups.
func cgroupMode(name string) (rpc.CriuCgMode, bool) {
	mode, ok := map[string]rpc.CriuCgMode{
		"ignore": rpc.CriuCgMode_IGNORE,
		"none":   rpc.CriuCgMode_CG_NONE,
		"props":  rpc.CriuCgMode_PROPS,
		"soft":   rpc.CriuCgMode_SOFT,
		"full":   rpc.CriuCgMode_FULL,
		"strict": rpc.CriuCgMode_STRICT,
	}[name]
	return mode, ok
}

// defaultVerbosity is enough of CRIU's log to explain a failure.
const defaultVerbosity = 2

// options are those of a request: a client's own, or what stands for ours.
func (e *Engine) options(o engine.Options) (*rpc.CriuOpts, error) {
	if e.Client == nil {
		return requestOptions(o)
	}
	opts := proto.CloneOf(e.Client.Options)
	// By its notifications CRIU says when the clocks are to be looked at.
	opts.NotifyScripts = proto.Bool(true)
	return opts, nil
}

// requestOptions translates the options that dump and restore share.
func requestOptions(o engine.Options) (*rpc.CriuOpts, error) {
	opts := &rpc.CriuOpts{
		NotifyScripts:  proto.Bool(true),
		LogLevel:       proto.Int32(defaultVerbosity),
		TcpEstablished: proto.Bool(o.TCPEstablished),
		TcpClose:       proto.Bool(o.TCPClose),
		ShellJob:       proto.Bool(o.ShellJob),
		ExtUnixSk:      proto.Bool(o.ExtUnixSk),
		FileLocks:      proto.Bool(o.FileLocks),
		LinkRemap:      proto.Bool(o.LinkRemap),
		External:       o.External,
	}
	if o.Verbosity > 0 {
		opts.LogLevel = proto.Int32(int32(min(o.Verbosity, math.MaxInt8)))
	}
	if strings.Contains(o.LogFile, "/") {
		return nil, fmt.Errorf("log file %q: criu takes a plain name here; choose its directory with --work-dir", o.LogFile)
	}
	if o.GhostLimit > 0 {
		opts.GhostLimit = proto.Uint32(o.GhostLimit)
	}
	if o.Root != "" {
		opts.Root = proto.String(o.Root)
	}
	if o.Timeout > 0 {
		seconds := (o.Timeout + time.Second - 1) / time.Second
		if seconds > math.MaxInt32 {
			return nil, fmt.Errorf("timeout %s is too long", o.Timeout)
		}
		opts.Timeout = proto.Uint32(uint32(seconds))
	}
	if o.ManageCgroups != "" {
		mode, ok := cgroupMode(o.ManageCgroups)
		if !ok {
			return nil, fmt.Errorf("cgroup mode %q: it is one of ignore, none, props, soft, full, strict", o.ManageCgroups)
		}
		opts.ManageCgroupsMode = mode.Enum()
	}
	return opts, nil
}

// setLog says in a request where CRIU's log goes, unless its client has: into the work
// directory or, without one, into dir. It returns the log's path in this process, and what
// is to be closed afterwards.
func (e *Engine) setLog(opts *rpc.CriuOpts, o engine.Options, dir *os.File, name string) (path string, work io.Closer, err error) {
	if e.Client != nil {
		return inDir(int(opts.GetWorkDirFd()), opts.GetLogFile()), io.NopCloser(nil), nil
	}
	work = io.NopCloser(nil)
	if o.WorkDir != "" {
		if dir, err = os.Open(o.WorkDir); err != nil {
			return "", nil, fmt.Errorf("work directory: %w", err)
		}
		work = dir
	}
	if o.LogFile != "" {
		name = o.LogFile
	}
	opts.WorkDirFd, opts.LogFile = proto.Int32(int32(dir.Fd())), proto.String(name)
	return inDir(int(dir.Fd()), name), work, nil
}

// inDir is the path of a file in a directory that is open.
func inDir(dir int, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir, name) }
