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
	// saved, as the tool counts it.
	Frozen time.Duration `json:"frozen_ns"`
	// Away is the program's own outage, less the time between the two commands.
	Away time.Duration `json:"away_ns"`
	// DumpMemory and RestoreMemory are the most that a command had in memory.
	DumpMemory    int64 `json:"dump_memory_bytes"`
	RestoreMemory int64 `json:"restore_memory_bytes"`
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

// Result holds the samples of one workload and one tool.
type Result struct {
	Work    string   `json:"work"`
	Tool    string   `json:"tool"`
	Samples []Sample `json:"samples"`
}

// tool dumps and restores. What it knows beyond the program's own view it puts
// into the result.
type tool struct {
	name    string
	dump    func(ctx context.Context, pid int, images string) (harness.DumpResult, error)
	restore func(ctx context.Context, images string) (harness.RestoreResult, error)
}

// allTools are the names of the tools.
const allTools = toolCRIU + "," + toolNative + "," + toolByCRIU

const (
	toolCRIU   = "criu"        // CRIU alone.
	toolNative = "crtime"      // crtime's own engine.
	toolByCRIU = "crtime-criu" // crtime with CRIU as its engine.
)

// newTool makes the tool of a name.
func newTool(lab *harness.Lab, name string) tool {
	if name == toolCRIU {
		return tool{name, func(ctx context.Context, pid int, images string) (harness.DumpResult, error) {
			used, err := lab.CRIU.Dump(ctx, pid, images)
			return harness.DumpResult{Usage: used}, err
		}, func(ctx context.Context, images string) (harness.RestoreResult, error) {
			used, err := lab.CRIU.Restore(ctx, images)
			return harness.RestoreResult{Usage: used}, err
		}}
	}
	crtime := lab.Crtime
	crtime.Engine = map[string]string{toolNative: "native", toolByCRIU: "criu"}[name]
	return tool{name, func(ctx context.Context, pid int, images string) (harness.DumpResult, error) {
		return crtime.Dump(ctx, pid, images)
	}, func(ctx context.Context, images string) (harness.RestoreResult, error) {
		return crtime.Restore(ctx, images)
	}}
}

// report is everything that was measured.
type report struct {
	tools   int              // How many there are.
	Results []Result         `json:"results"` // Work by work, all tools of each.
	Floors  map[string]floor `json:"-"`       // Of the workloads that are large by their memory.
}

// measure takes all samples. The tools take turns, each with a program of its
// own in each round, and take turns in who goes first. The first round is not
// counted.
func measure(ctx context.Context, lab *harness.Lab, o options) (report, error) {
	all := report{tools: len(o.tools), Floors: map[string]floor{}}
	for _, w := range o.work {
		results := make([]Result, len(o.tools))
		for i, name := range o.tools {
			results[i] = Result{Work: w.name, Tool: name}
		}
		fmt.Fprintf(os.Stderr, "measuring %s, %d rounds\n", w.name, o.rounds)
		var floors []floor
		for round := range o.rounds + 1 {
			for turn := range o.tools {
				i := (round + turn) % len(o.tools)
				s, err := newTool(lab, o.tools[i]).sample(ctx, lab, w, o.outage)
				if err != nil {
					return all, fmt.Errorf("%s, %s, round %d: %w", o.tools[i], w.name, round, err)
				}
				if round > 0 {
					results[i].Samples = append(results[i].Samples, s)
				}
			}
			if w.bytes > 0 {
				f, err := floorApart(ctx, lab.Dir, w.bytes)
				if err != nil {
					return all, err
				}
				floors = append(floors, f)
			}
		}
		all.Results = append(all.Results, results...)
		if len(floors) > 0 {
			all.Floors[w.name] = middle(floors)
		}
	}
	return all, nil
}

// sample starts a program, dumps and restores it, and asks it what it saw.
func (t tool) sample(ctx context.Context, lab *harness.Lab, w workload, outage time.Duration) (s Sample, err error) {
	dir, err := os.MkdirTemp(lab.Dir, "bench-*")
	if err != nil {
		return s, fmt.Errorf("folder for images: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := lab.Spinner(dir, append([]string{"-w"}, w.args...)...)
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
	between := time.Now()
	s.Dump = between.Sub(begin)
	if err := tree.Reap(ctx); err != nil {
		return s, err
	}
	if s.Frozen = dump.Frozen; t.name == toolCRIU {
		if s.Frozen, err = frozen(images); err != nil {
			return s, err
		}
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
	s.Away = board.Outage.Wall() - begin.Sub(between)
	return s, nil
}

// look fills in what the program saw.
func (s *Sample) look(b clocklog.Board, dump harness.DumpResult, restored harness.RestoreResult) {
	s.Jump = b.Outage.Advance(clocklog.Monotonic)
	s.BoottimeError = b.Outage.BoottimeError()
	s.Backward = len(b.Backward())
	s.DumpMemory, s.RestoreMemory = dump.Usage.Memory, restored.Usage.Memory
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
