// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/crtime/crtime/checkpoint"
	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/rootless"
	"github.com/crtime/crtime/internal/timens"
	"github.com/crtime/crtime/restore"
)

func TestCodeOf(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want exitCode
	}{
		{"anything", errors.New("x"), exitFailed},
		{"usage", usagef("x"), exitUsage},
		{"usage about a process stays usage", &usageError{checkpoint.ErrTarget}, exitUsage},
		{"no criu", criu.ErrNotFound, exitUnsupported},
		{"old criu", criu.ErrTooOld, exitUnsupported},
		{"old kernel", timens.ErrNotSupported, exitUnsupported},
		{"no privilege", timens.ErrPrivilege, exitUnsupported},
		{"no namespaces", rootless.ErrNamespaces, exitUnsupported},
		{"altered image", image.ErrAltered, exitImages},
		{"newer image", clockstate.ErrNewer, exitImages},
		{"no directory", errNoDirectory, exitImages},
		{"no such process", checkpoint.ErrTarget, exitProcess},
		{"number taken", restore.ErrPIDTaken, exitProcess},
		{"not kept", errNotKept, exitPromise},
		{"wall clock", restore.ErrWallClock, exitPromise},
		{"deadline", context.DeadlineExceeded, exitTimeout},
		{"directory in use", image.ErrNotEmpty, exitFailed},
		{"another process's status", &statusError{143}, 143},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := codeOf(fmt.Errorf("around: %w", tc.err)); got != tc.want {
				t.Errorf("codeOf = %d, want %d", got, tc.want)
			}
		})
	}
}

func TestExitMeaningsCoverAllReasons(t *testing.T) {
	known := map[exitCode]bool{}
	for _, m := range exitMeanings() {
		known[m.Code] = true
	}
	for _, r := range reasons() {
		if !known[r.code] {
			t.Errorf("exit code %d has no meaning for users", r.code)
		}
	}
}
