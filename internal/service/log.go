// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// logFile is the log that a client finds in its work directory. CRIU writes its own to
// the same file, from the beginning; what crtime has to say afterwards is added.
type logFile struct {
	file *os.File
	core zapcore.Core
}

// openLog makes a log in a directory. A link is not followed: it is the client's
// directory, and may be anybody's.
func openLog(dir *os.File, name string, level zapcore.Level) (*logFile, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_APPEND|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the log file %s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	cfg := zap.NewDevelopmentEncoderConfig()
	cfg.ConsoleSeparator = " "
	return &logFile{file, zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), zapcore.Lock(file), level)}, nil
}

// close closes the file.
func (l *logFile) close() { l.file.Close() }

// only returns a logger that writes to the file.
func (l *logFile) only() *zap.Logger { return zap.New(l.core) }

// beside returns a logger that writes to the file as well as log does elsewhere.
func (l *logFile) beside(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return zapcore.NewTee(c, l.core) }))
}

// logLevel translates CRIU's log_level, of which 4 is everything.
func logLevel(opts *rpc.CriuOpts) zapcore.Level {
	switch level := opts.GetLogLevel(); {
	case level >= 4:
		return zapcore.DebugLevel
	case level == 1:
		return zapcore.ErrorLevel
	default:
		// What crtime says at this level is what a client's user wants to know.
		return zapcore.InfoLevel
	}
}
