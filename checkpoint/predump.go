// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/image"
)

// PreDumpReport says what a pre-dump did.
type PreDumpReport struct {
	PID       int
	ImagesDir string // Absolute.
	Bytes     int64  // Size of all images.
}

// PreDump saves the memory of the tree below o.PID and lets it run on, so that a
// dump soon after, with this one as its PrevImages, has less left to save while
// the tree is stopped. No clocks are recorded: they go on. LeaveRunning and
// TrackMem of o are implied.
func PreDump(ctx context.Context, d engine.Dumper, o Options) (*PreDumpReport, error) {
	if err := checkTarget(o.PID); err != nil {
		return nil, err
	}
	staging, err := image.Stage(o.ImagesDir)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*PreDumpReport, error) {
		return nil, errors.Join(fmt.Errorf("pre-dump process %d: %w", o.PID, err), staging.Discard())
	}
	err = d.PreDump(ctx, engine.DumpRequest{
		Options:      o.Options,
		PID:          o.PID,
		Images:       staging,
		LeaveRunning: true,
		TrackMem:     true,
		Parent:       parentFrom(staging, o.PrevImages),
	})
	if err != nil {
		return fail(err)
	}
	m, err := staging.Commit()
	if err != nil {
		return fail(err)
	}
	final, err := filepath.Abs(o.ImagesDir)
	if err != nil {
		return fail(err)
	}
	return &PreDumpReport{PID: o.PID, ImagesDir: final, Bytes: m.Bytes()}, staging.Close()
}
