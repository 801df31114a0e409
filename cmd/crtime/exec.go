// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/timens"
)

// execOptions are the flags and arguments of exec.
type execOptions struct {
	pid  int
	args []string
}

// newExecCommand makes `crtime exec`.
func newExecCommand(env *environment) *cobra.Command {
	o := &execOptions{}
	cmd := &cobra.Command{
		Use:   "exec -t PID -- COMMAND [ARGUMENT...]",
		Short: "Run a command in the time namespace of a process",
		Long: `Run a command that sees the clocks of process PID, and is otherwise like one that
was started here: same files, user and environment. crtime waits for it and ends
with its status.`,
		Example: `  # What does 4711 take for the machine's uptime?
  crtime exec -t 4711 -- cat /proc/uptime`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("the command is missing; it stands after --")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args = args
			return runExec(cmd.Context(), env, o)
		},
	}
	treeFlag(cmd, &o.pid, "`pid` of the process whose clocks the command shall see")
	// The command's own flags are not ours.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// runExec runs the command and waits for it.
func runExec(ctx context.Context, env *environment, o *execOptions) error {
	inside := func(pid string) []string { return env.withTree(pid, o.args) }
	if done, err := env.amongKept(ctx, o.pid, inside); done || err != nil {
		return err
	}
	if env.streams.Inherit == nil {
		return errors.New("there are no standard streams that a command could inherit")
	}
	if _, err := proc.ReadStat(o.pid); err != nil {
		return fmt.Errorf("process %d: %w", o.pid, err)
	}
	path, err := exec.LookPath(o.args[0])
	if err != nil {
		return fmt.Errorf("find the command: %w", err)
	}
	p, err := timens.Run(o.pid, timens.Command{Path: path, Args: o.args, Files: env.streams.Inherit})
	if err != nil {
		return fmt.Errorf("run %s in the time namespace of process %d: %w", o.args[0], o.pid, err)
	}
	defer forwardSignals(ctx, p.Signal)()
	state, err := p.Wait()
	if err != nil {
		return fmt.Errorf("wait for %s: %w", o.args[0], err)
	}
	return statusOf(shellStatus(state))
}
