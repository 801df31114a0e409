// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/checkpoint"
)

// newPreDumpCommand makes `crtime pre-dump`.
func newPreDumpCommand(env *environment) *cobra.Command {
	o := &dumpOptions{}
	cmd := &cobra.Command{
		Use:   "pre-dump -t PID -D DIR",
		Short: "Save a tree's memory ahead of a dump, and let it run on",
		Long: `Save the memory of a process tree and let it run on, so that a dump soon after
has less left to save while the tree is stopped. No clocks are recorded, and the
result cannot be restored by itself. It needs a kernel that tracks which memory
changes (CONFIG_MEM_SOFT_DIRTY); 'crtime check' tells.`,
		Example: `  # Save the memory, then what has changed and everything else.
  crtime pre-dump -t 4711 -D images/1
  crtime dump     -t 4711 -D images/2 --prev-images-dir ../1 --track-mem`,
		Args:              exactArgs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runPreDump(cmd.Context(), env, o) },
	}
	o.bind(cmd)
	// CRIU's users write --track-mem with every pre-dump: it is implied here.
	cmd.Flags().BoolVar(&o.TrackMem, "track-mem", true, "track which memory changes from now on; always so")
	return cmd
}

// preDumpResult is what pre-dump prints with --json.
type preDumpResult struct {
	PID    int    `json:"pid"`
	Images string `json:"images"`
	Engine string `json:"engine"`
	Bytes  int64  `json:"bytes"`
}

// runPreDump saves a tree's memory and prints what happened.
func runPreDump(ctx context.Context, env *environment, o *dumpOptions) error {
	if !o.TrackMem {
		return usagef("--track-mem=false: a pre-dump is of no use without it")
	}
	choice, err := o.engine.choice(env)
	if err != nil {
		return err
	}
	e, err := choice.Dumper(ctx)
	if err != nil {
		return err
	}
	done := showProgress(env.streams, o.engine.progress, fmt.Sprintf("saving the memory of process %d", o.PID))
	r, err := checkpoint.PreDump(ctx, e, o.Options)
	done()
	if err != nil {
		return err
	}
	result := preDumpResult{PID: r.PID, Images: r.ImagesDir, Engine: e.Name(), Bytes: r.Bytes}
	return env.result(result, func() string {
		return fmt.Sprintf("Saved the memory of process %d to %s (%s). It runs on.\n", r.PID, r.ImagesDir, bytesText(r.Bytes))
	})
}
