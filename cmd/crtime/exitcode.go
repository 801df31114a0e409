// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/crtime/crtime/checkpoint"
	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/archive"
	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/memory"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/rootless"
	"github.com/crtime/crtime/internal/timens"
	"github.com/crtime/crtime/restore"
)

// exitCode is what crtime ends with. Commands that stand for another process
// (restore without --restore-detached, exec) end with that process's status.
type exitCode int

// The exit codes. They are part of the interface: scripts branch on them.
const (
	exitOK          exitCode = 0
	exitFailed      exitCode = 1   // It failed, and nothing was changed.
	exitUsage       exitCode = 2   // The command line is wrong.
	exitUnsupported exitCode = 3   // This machine lacks something: CRIU, a kernel feature, a privilege.
	exitImages      exitCode = 4   // The images are incomplete, altered or newer than this crtime.
	exitProcess     exitCode = 5   // There is no such process, it cannot be dumped, or its number is taken.
	exitPromise     exitCode = 6   // A promise about a clock was not, or could not be, kept.
	exitTimeout     exitCode = 124 // Waiting took too long.
)

// exitMeanings explains the codes to users.
func exitMeanings() []struct {
	Code    exitCode
	Meaning string
} {
	return []struct {
		Code    exitCode
		Meaning string
	}{
		{exitOK, "done"},
		{exitFailed, "failed; nothing was changed"},
		{exitUsage, "the command line is wrong"},
		{exitUnsupported, "not possible here: no usable CRIU, a kernel feature or a privilege is missing"},
		{exitImages, "the images are incomplete, altered, or of a newer crtime"},
		{exitProcess, "no such process, one that cannot be dumped, or a process number that is taken"},
		{exitPromise, "a promise about a clock was not kept"},
		{exitTimeout, "waiting took too long"},
	}
}

// errNotKept says that a clock reads less than it did. What was found has been
// printed by then.
var errNotKept = errors.New("a promise about a clock was not kept")

// statusError is the end of a process that crtime stood for. Nothing is printed
// for it.
type statusError struct{ code exitCode }

// Error implements error.
func (s *statusError) Error() string { return fmt.Sprintf("the process ended with status %d", s.code) }

// statusOf makes crtime end with the status of what it stood for.
func statusOf(code exitCode) error {
	if code == exitOK {
		return nil
	}
	return &statusError{code}
}

// silent reports whether an error carries nothing but an exit code.
func silent(err error) bool {
	_, ok := errors.AsType[*statusError](err)
	return ok
}

// reasons lists, for each code, the errors that mean it.
func reasons() []struct {
	code   exitCode
	errors []error
} {
	return []struct {
		code   exitCode
		errors []error
	}{
		{exitProcess, []error{checkpoint.ErrTarget, restore.ErrPIDTaken, remote.ErrPIDTaken, proc.ErrGone}},
		{exitImages, []error{
			errNoDirectory, image.ErrNoImages, image.ErrAltered, image.ErrMissing, image.ErrManifest, image.ErrUntrusted, restore.ErrNoClocks,
			criuimg.ErrDamaged, memory.ErrImages,
			archive.ErrFormat, archive.ErrNoCheckpoint, archive.ErrTruncated, archive.ErrTooLarge, archive.ErrNoClocks,
			clockstate.ErrMagic, clockstate.ErrTruncated, clockstate.ErrAltered, clockstate.ErrNewer, clockstate.ErrFuture,
		}},
		{exitUnsupported, []error{
			criu.ErrNotFound, criu.ErrTooOld, criu.ErrNoMemoryTracking,
			errLacking, rootless.ErrNamespaces, timens.ErrNotSupported, timens.ErrPrivilege,
			engine.ErrUnsupported, remote.ErrMachine, remote.ErrNotAllowed,
		}},
		{exitPromise, []error{errNotKept, restore.ErrWallClock}},
		{exitTimeout, []error{context.DeadlineExceeded}},
	}
}

// refusesTracing reports whether a process was of a kind that cannot be stopped, or
// made to run system calls.
func refusesTracing(err error) bool {
	_, denied := errors.AsType[*ptrace.PermissionError](err)
	_, traced := errors.AsType[*ptrace.TracedError](err)
	_, target := errors.AsType[*remote.TargetError](err)
	return denied || traced || target || errors.Is(err, ptrace.ErrSelf) || errors.Is(err, ptrace.ErrLeaderEnded)
}

// codeOf maps an error to the exit code.
func codeOf(err error) exitCode {
	if status, ok := errors.AsType[*statusError](err); ok {
		return status.code
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if refusesTracing(err) {
		return exitProcess
	}
	for _, r := range reasons() {
		for _, target := range r.errors {
			if errors.Is(err, target) {
				return r.code
			}
		}
	}
	return exitFailed
}
