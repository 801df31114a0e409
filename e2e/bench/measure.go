// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/stats"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// settle is how long a program runs before its dump and after its restore.
const settle = 20 * time.Millisecond

// Sample is one dump and restore.
type Sample struct {
	// Jump is how far CLOCK_MONOTONIC moved between the program's last turn
	// before and its first turn after the outage.
	Jump time.Duration `json:"jump_ns"`
	// BoottimeError is how far CLOCK_BOOTTIME is from having counted the outage.
	BoottimeError time.Duration `json:"boottime_error_ns"`
	// Dump and Restore are the wall time of the commands.
	Dump    time.Duration `json:"dump_ns"`
	Restore time.Duration `json:"restore_ns"`
	// Frozen is how long the program stood still in the dump before it was
	// saved, as CRIU counts it.
	Frozen time.Duration `json:"frozen_ns"`
	// Backward counts the shifted clocks that went back.
	Backward int `json:"backward"`

	// These are crtime's own, and 0 for CRIU alone. Late is the part of Jump
	// that crtime reports, Held how long the tree waited for its instant;
	// Unrecorded is the time from the program's last turn to the recorded
	// freeze, Release the time from the release to its next turn.
	Late       time.Duration `json:"late_ns"`
	Held       time.Duration `json:"held_ns"`
	Unrecorded time.Duration `json:"unrecorded_ns"`
	Release    time.Duration `json:"release_ns"`
}

// Result holds the samples of one size and one tool.
type Result struct {
	Size    string   `json:"size"`
	Tool    string   `json:"tool"`
	Samples []Sample `json:"samples"`
}

// tool dumps and restores. What it knows beyond the program's own view it puts
// into the sample.
type tool struct {
	name    string
	dump    func(ctx context.Context, pid int, images string) (harness.DumpResult, error)
	restore func(ctx context.Context, images string) (harness.RestoreResult, error)
}

func tools(lab *harness.Lab) []tool {
	return []tool{
		{
			"CRIU alone",
			func(ctx context.Context, pid int, images string) (harness.DumpResult, error) {
				return harness.DumpResult{}, lab.CRIU.Dump(ctx, pid, images)
			},
			func(ctx context.Context, images string) (harness.RestoreResult, error) {
				return harness.RestoreResult{}, lab.CRIU.Restore(ctx, images)
			},
		},
		{
			"crtime",
			func(ctx context.Context, pid int, images string) (harness.DumpResult, error) {
				return lab.Crtime.Dump(ctx, pid, images)
			},
			func(ctx context.Context, images string) (harness.RestoreResult, error) {
				return lab.Crtime.Restore(ctx, images)
			},
		},
	}
}

// measure takes all samples. The tools take turns, each with a program of its
// own in each round, and take turns in who goes first. The first round is not
// counted.
func measure(ctx context.Context, lab *harness.Lab, o options) ([]Result, error) {
	var results []Result
	for _, sz := range o.sizes {
		ts := tools(lab)
		both := make([]Result, len(ts))
		for i, t := range ts {
			both[i] = Result{Size: sz.name, Tool: t.name}
		}
		fmt.Fprintf(os.Stderr, "measuring %s, %d rounds\n", sz.name, o.rounds)
		for round := range o.rounds + 1 {
			for turn := range ts {
				i := (round + turn) % len(ts)
				s, err := ts[i].sample(ctx, lab, sz, o.outage)
				if err != nil {
					return nil, fmt.Errorf("%s, %s, round %d: %w", ts[i].name, sz.name, round, err)
				}
				if round > 0 {
					both[i].Samples = append(both[i].Samples, s)
				}
			}
		}
		results = append(results, both...)
	}
	return results, nil
}

// sample starts a program, dumps and restores it, and asks it what it saw.
func (t tool) sample(ctx context.Context, lab *harness.Lab, sz size, outage time.Duration) (s Sample, err error) {
	dir, err := os.MkdirTemp(lab.Dir, "bench-*")
	if err != nil {
		return s, fmt.Errorf("folder for images: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := lab.Spinner(dir, "-m", fmt.Sprint(sz.megabytes))
	program.Dir = dir
	tree, err := harness.Start(program, filepath.Join(dir, "out"))
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, tree.Kill()) }() //nolint:contextcheck // Also when ctx has ended.
	if err := tree.WaitRecords(ctx, 1000); err != nil {
		return s, err
	}
	time.Sleep(settle)
	return t.cycle(ctx, tree, filepath.Join(dir, "images"), outage)
}

func (t tool) cycle(ctx context.Context, tree *harness.Tree, images string, outage time.Duration) (s Sample, err error) {
	if err := os.Mkdir(images, 0o700); err != nil {
		return s, fmt.Errorf("folder for images: %w", err)
	}
	if err := tree.ResetBoard(ctx); err != nil {
		return s, err
	}
	begin := time.Now()
	dump, err := t.dump(ctx, tree.PID, images)
	if err != nil {
		return s, err
	}
	s.Dump = time.Since(begin)
	if err := tree.Reap(ctx); err != nil {
		return s, err
	}
	if s.Frozen, err = frozen(images); err != nil {
		return s, err
	}
	time.Sleep(outage)
	begin = time.Now()
	restored, err := t.restore(ctx, images)
	if err != nil {
		return s, err
	}
	s.Restore = time.Since(begin)
	time.Sleep(settle)
	board, err := tree.ReadBoard()
	if err != nil {
		return s, err
	}
	s.look(board, dump, restored)
	return s, nil
}

// look fills in what the program saw.
func (s *Sample) look(b clocklog.Board, dump harness.DumpResult, restored harness.RestoreResult) {
	s.Jump = b.Outage.Advance(clocklog.Monotonic)
	s.BoottimeError = b.Outage.BoottimeError()
	s.Backward = len(b.Backward())
	if dump.PID == 0 {
		return
	}
	s.Late, s.Held = restored.Jump, restored.Held
	s.Unrecorded = time.Duration(dump.Freeze.Realtime - b.Outage.Before.At[clocklog.Realtime])
	s.Release = time.Duration(b.Outage.After.At[clocklog.Realtime]-restored.Planned.Realtime) - restored.Jump
}

// frozen reads CRIU's own count of how long the tree stood still.
func frozen(images string) (time.Duration, error) {
	dir, err := os.Open(images)
	if err != nil {
		return 0, fmt.Errorf("statistics of the dump: %w", err)
	}
	defer dir.Close()
	entry, err := stats.CriuGetDumpStats(dir)
	if err != nil {
		return 0, fmt.Errorf("statistics of the dump: %w", err)
	}
	return time.Duration(entry.GetFrozenTime()) * time.Microsecond, nil
}
