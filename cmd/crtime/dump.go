// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/checkpoint"
	"github.com/crtime/crtime/clockstate"
)

// dumpOptions are the flags of dump and of pre-dump.
type dumpOptions struct {
	checkpoint.Options
	engine engineFlags
}

// newDumpCommand makes `crtime dump`.
func newDumpCommand(env *environment) *cobra.Command {
	o := &dumpOptions{}
	cmd := &cobra.Command{
		Use:   "dump -t PID -D DIR",
		Short: "Save a process tree and what its clocks read",
		Long: `Save a process and everything below it to a directory.

The tree is stopped, its clocks are recorded at that moment, it is saved, and
then it is killed, or runs on with --leave-running. When anything fails, the tree
runs on as it was and no directory is left. The directory appears under its name
only when it is complete and on disk. It holds the memory of the processes, keys
included: keep it safe.`,
		Example: `  # Save process 4711 and everything below it, and end it.
  crtime dump -t 4711 -D images

  # Save it and let it run on.
  crtime dump -t 4711 -D images --leave-running

  # Save a server with its connections.
  crtime dump -t 4711 -D images --tcp-established

  # Save a program that was started from this shell.
  crtime dump -t 4711 -D images --shell-job`,
		Args:              exactArgs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runDump(cmd.Context(), env, o) },
	}
	o.bind(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.LeaveRunning, "leave-running", "R", false, "let the tree run on afterwards")
	f.BoolVar(&o.TrackMem, "track-mem", false, "track which memory changes from now on, for a later dump with --prev-images-dir")
	return cmd
}

// bind adds the flags that dump and pre-dump share.
func (o *dumpOptions) bind(cmd *cobra.Command) {
	treeFlag(cmd, &o.PID, "`pid` of the tree's root")
	imagesDirFlag(cmd, &o.ImagesDir, "`directory` to make and write to; if it exists it must be empty")
	cmd.Flags().StringVar(&o.PrevImages, "prev-images-dir", "",
		"`directory` of an earlier dump, relative to the new one: save only what has changed since")
	bindTreeOptions(cmd, &o.Options.Options)
	o.engine.bind(cmd)
}

// runDump dumps a tree and prints what happened.
func runDump(ctx context.Context, env *environment, o *dumpOptions) error {
	inside := func(pid string) []string {
		args := env.withTree(pid, nil)
		if o.engine.name == "auto" {
			args = append(args, "--engine=native") // CRIU wants more than a user has.
		}
		return args
	}
	if done, err := env.amongKept(ctx, o.PID, inside); done || err != nil {
		return err
	}
	choice, err := o.engine.choice(env)
	if err != nil {
		return err
	}
	e, err := choice.Dumper(ctx)
	if err != nil {
		return err
	}
	done := showProgress(env.streams, o.engine.progress, fmt.Sprintf("saving process %d", o.PID))
	report, err := checkpoint.Dump(ctx, e, o.Options)
	done()
	if err != nil {
		return err
	}
	if report.Warning != nil {
		env.streams.warn("%v", report.Warning)
	}
	return env.result(newDumpResult(report), func() string { return dumpText(report, o.LeaveRunning) })
}

// dumpResult is what dump prints with --json.
type dumpResult struct {
	PID          int                     `json:"pid"`
	Images       string                  `json:"images"`
	Processes    int                     `json:"processes"`
	Threads      int                     `json:"threads"`
	Engine       string                  `json:"engine"`
	Freeze       readingsResult          `json:"freeze"` // On the host's clocks.
	FreezeSource clockstate.FreezeSource `json:"freeze_source"`
	Frozen       clockstate.Nanos        `json:"frozen_ns"`
	Duration     clockstate.Nanos        `json:"dump_ns"`
	Bytes        int64                   `json:"bytes"`
	// ClockReader is a thread that could not be stopped outside a clock read.
	ClockReader int `json:"clock_reader,omitempty"`
}

// newDumpResult picks what dumpResult holds.
func newDumpResult(r *checkpoint.Report) dumpResult {
	return dumpResult{
		PID:          r.PID,
		Images:       r.ImagesDir,
		Processes:    len(r.State.Processes),
		Threads:      countThreads(r.State),
		Engine:       r.Engine,
		Freeze:       newReadingsResult(r.State.Freeze.Readings, r.State.Freeze.Realtime),
		FreezeSource: r.State.FreezeSource,
		Frozen:       r.Frozen,
		Duration:     r.Duration,
		Bytes:        r.Bytes,
		ClockReader:  r.ClockReader,
	}
}

// countThreads counts the threads of all processes.
func countThreads(s *clockstate.State) int {
	n := 0
	for _, p := range s.Processes {
		n += int(p.Threads)
	}
	return n
}

// dumpText says in words what a dump did.
func dumpText(r *checkpoint.Report, runsOn bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Saved process %d (%s, %s) to %s in %s.\n", r.PID,
		count(len(r.State.Processes), "process", "processes"), count(countThreads(r.State), "thread", "threads"),
		r.ImagesDir, roundTime(r.Duration))
	then := "then it was ended"
	if runsOn {
		then = "and it runs on"
	}
	fmt.Fprintf(&b, "It stood still for %s, %s. The images take %s.\n", roundTime(r.Frozen), then, bytesText(r.Bytes))
	if r.State.FreezeSource == clockstate.FreezeConfirmed {
		b.WriteString("The moment of the freeze was seen late: CLOCK_MONOTONIC will jump forward a little at restore.\n")
	}
	if r.ClockReader != 0 {
		fmt.Fprintf(&b, "Thread %d was reading a clock each time the tree was stopped: that one reading may be wrong after a restore.\n", r.ClockReader)
	}
	return b.String()
}
