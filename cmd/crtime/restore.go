// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/internal/choose"
	"github.com/crtime/crtime/restore"
)

// restoreOptions are the flags of restore.
type restoreOptions struct {
	restore.Options
	imagesDir string
	wallClock string
	detached  bool
	pidFile   string
	engine    engineFlags
}

// newRestoreCommand makes `crtime restore`.
func newRestoreCommand(env *environment) *cobra.Command {
	o := &restoreOptions{}
	cmd := &cobra.Command{
		Use:   "restore -D DIR",
		Short: "Bring a process tree back with its clocks right",
		Long: `Bring back the process tree that 'crtime dump' saved, in a new time namespace in
which its clocks go on where --policy wants them. What a plain CRIU has dumped can be
brought back too; what is not known of its clocks is said.

Every image is checked first. The tree resumes at an instant that was planned
beforehand, not earlier; what its clocks read then is proven against what they
read at the dump, and printed. When anything fails before that, nothing of the
tree is left.

Without --restore-detached crtime stays: it waits for the root of the tree, passes
SIGINT, SIGTERM, SIGHUP and SIGQUIT on to it, and ends with its status. With it
crtime ends when the tree runs.`,
		Example: `  # Bring the tree back and return when it runs.
  crtime restore -D images -d

  # Let the programs see how much time has passed.
  crtime restore -D images -d --policy elapsed

  # Run it in the foreground, as a service manager would.
  crtime restore -D images --pidfile /run/job.pid

  # Refuse if this machine's wall clock is behind the dump's.
  crtime restore -D images -d --wall-clock fail`,
		Args:              exactArgs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runRestore(cmd.Context(), env, o) },
	}
	o.bind(cmd)
	return cmd
}

// bind adds the flags.
func (o *restoreOptions) bind(cmd *cobra.Command) {
	imagesDirFlag(cmd, &o.imagesDir, "`directory` that a dump has written")
	policyFlag(cmd, &o.Policy)
	f := cmd.Flags()
	f.StringVar(&o.wallClock, "wall-clock", "warn", "if this host's wall clock is behind the dump's: `warn|wait|fail`")
	f.Var((*leadValue)(&o.Lead), "lead",
		"aim the resume so far ahead: `duration` such as 250ms, or auto: what the engine expects to need")
	f.BoolVar(&o.TrustImages, "trust-images", false,
		"restore images that other users can write, or that belong to one: they decide what the processes may do")
	f.BoolVarP(&o.detached, "restore-detached", "d", false, "end when the tree runs, and do not wait for it")
	f.StringVar(&o.pidFile, "pidfile", "", "write the root's process number to this `file`")
	bindTreeOptions(cmd, &o.Options.Options)
	o.engine.bind(cmd)
}

// runRestore restores a tree, prints what happened, and waits for it.
func runRestore(ctx context.Context, env *environment, o *restoreOptions) error {
	var err error
	if o.WallClock, err = restore.ParseWallClock(o.wallClock); err != nil {
		return &usageError{fmt.Errorf("--wall-clock: %w", err)}
	}
	if rootless, err := mustBeRootless(); err != nil {
		return err
	} else if rootless {
		return restoreRootless(ctx, env, o)
	}
	choice, err := o.engine.choice(env)
	if err != nil {
		return err
	}
	pidFile, err := preparePIDFile(o.pidFile)
	if err != nil {
		return err
	}
	defer pidFile.discard()
	done := showProgress(env.streams, o.engine.progress, "restoring from "+o.imagesDir)
	report, err := restoreImages(ctx, choice, o)
	done()
	if err != nil {
		return err
	}
	// From here on the tree runs: whatever else fails must not hide that.
	err = errors.Join(pidFile.commit(report.PID), reportRestore(env, report))
	if o.detached {
		return err
	}
	if err != nil {
		env.streams.warn("%v", err)
	}
	code, err := waitChild(ctx, report.PID)
	if err != nil {
		return err
	}
	return statusOf(code)
}

// restoreImages checks the images and rebuilds the tree.
func restoreImages(ctx context.Context, choice choose.Choice, o *restoreOptions) (*restore.Report, error) {
	images, err := openImages(o.imagesDir)
	if err != nil {
		return nil, err
	}
	e, err := choice.Restorer(ctx, images.Images, o.Options.Options)
	if err != nil {
		return nil, err
	}
	return restore.Restore(ctx, e, images, o.Options)
}

// reportRestore prints what a restore did. The error is errNotKept when the
// proof failed.
func reportRestore(env *environment, r *restore.Report) error {
	for _, w := range r.Plan.Warnings {
		env.streams.warn("%s", w.Text)
	}
	if err := env.result(newRestoreResult(r), func() string { return restoreText(r) }); err != nil {
		return err
	}
	if !r.Proof.Kept {
		return notKept(r)
	}
	return nil
}

// notKept says why the promise does not hold.
func notKept(r *restore.Report) error {
	if r.Proof.Invalid != "" {
		return fmt.Errorf("process %d runs, but %w: %s", r.PID, errNotKept, r.Proof.Invalid)
	}
	return fmt.Errorf("process %d runs, but %w: the table says which", r.PID, errNotKept)
}

// lateAfter is how late a release may be before it is worth a remark: less than
// a program can tell from a late wake-up.
const lateAfter = time.Millisecond
