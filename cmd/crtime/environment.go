// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// environment is what every subcommand gets beside its own options.
type environment struct {
	streams *streams
	args    []string // The command line, without the program's name.

	// The global flags.
	json      bool
	logLevel  string
	logFormat string

	// running is set once a command line has been accepted: an error before
	// that is one of usage.
	running bool
}

// started wraps a command's run function so that running is set.
func (e *environment) started(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		e.running = true
		return run(cmd, args)
	}
}

// logger makes the logger that --log-level and --log-format ask for. Only
// packages below log, by what they are given: it is never stored globally.
func (e *environment) logger() (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(e.logLevel)
	if err != nil || level > zapcore.ErrorLevel {
		return nil, usagef("--log-level %q: it is one of debug, info, warn, error", e.logLevel)
	}
	enc, err := logEncoder(e.logFormat)
	if err != nil {
		return nil, err
	}
	return newLogger(enc, e.streams.Err, level), nil
}

// newLogger makes a logger that writes to out.
func newLogger(enc zapcore.Encoder, out io.Writer, level zapcore.Level) *zap.Logger {
	return zap.New(zapcore.NewCore(enc, lockedWriter(out), level))
}

// logEncoder returns how log lines are written.
func logEncoder(format string) (zapcore.Encoder, error) {
	switch format {
	case "json":
		return zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), nil
	case "console":
		cfg := zap.NewDevelopmentEncoderConfig()
		cfg.ConsoleSeparator = " "
		return zapcore.NewConsoleEncoder(cfg), nil
	}
	return nil, usagef("--log-format %q: it is one of console, json", format)
}

// lockedWriter makes a writer safe for loggers of several goroutines.
func lockedWriter(w io.Writer) zapcore.WriteSyncer {
	return zapcore.Lock(zapcore.AddSync(w))
}

// result writes what a command has found out: v with --json, text without.
func (e *environment) result(v any, text func() string) error {
	if e.json {
		return e.streams.writeJSON(v)
	}
	return e.streams.writeText(text())
}

// usageError is a command line that cannot be carried out as it is.
type usageError struct{ err error }

// Error implements error.
func (u *usageError) Error() string { return u.err.Error() }

// Unwrap returns the reason.
func (u *usageError) Unwrap() error { return u.err }

// usagef makes a usageError.
func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }
