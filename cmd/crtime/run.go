// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/rootless"
)

// newRunCommand makes `crtime run`.
func newRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run -- COMMAND [ARGUMENT...]",
		Short: "Start a program that its user can save without being root",
		Long: `Start a program in namespaces of its own (user, pid, mount, time), so that the same
user can save it later with 'crtime dump', and bring it back with 'crtime restore',
without being root. It has the same user, files and network as without crtime, and
no more rights, but it sees only the processes that were started with it.

crtime waits for the program and ends with its status. The namespaces end with the
last process in them.

Without root some things cannot be had: a process keeps only the user that started
it; anonymous shared memory and mapped files that were deleted are refused; what was
left of a sleep is an estimate; the clocks go on some milliseconds late on a busy
machine, because nobody but root may ask for a processor at once.`,
		Example: `  # As an ordinary user: start it, save it, bring it back.
  crtime run -- ./simulation >log 2>&1 </dev/null &
  crtime dump -t "$(pgrep -x simulation)" -D images
  crtime restore -D images -d`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("the command is missing; it stands after --")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			keeper, _, err := rootless.Start(rootless.Job{Args: args})
			if err != nil {
				return err
			}
			return waitKeeper(cmd.Context(), keeper)
		},
	}
	// The command's own flags are not ours.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// newKeeperCommand makes the first process of the namespaces that rootless.Start makes.
func newKeeperCommand() *cobra.Command {
	return &cobra.Command{
		Use:    rootless.KeeperCommand,
		Short:  "Keep a program: crtime itself starts this",
		Long:   "The first process of the namespaces that 'crtime run' makes; see internal/rootless.",
		Hidden: true,
		Args:   exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			status, err := rootless.Keep()
			if err != nil {
				return err
			}
			return statusOf(exitCode(status))
		},
	}
}

// waitKeeper waits for a keeper, and so for what it keeps. At a terminal the program
// gets the signals of that itself.
func waitKeeper(ctx context.Context, keeper *os.Process) error {
	if rootless.InForeground() {
		signal.Ignore(syscall.SIGINT, syscall.SIGQUIT)
	}
	code, err := waitChild(ctx, keeper.Pid)
	if err != nil {
		return err
	}
	return statusOf(code)
}

// amongKept has a crtime carry out the command line among the processes of a keeper, if
// the process lives there: with its number there in the place of pid, which args puts
// into the arguments.
func (e *environment) amongKept(ctx context.Context, pid int, args func(inside string) []string) (done bool, err error) {
	keeper, inside, err := rootless.Find(pid)
	if err != nil || keeper == nil {
		return false, err
	}
	run, err := keeper.Run(args(strconv.Itoa(inside)))
	if err != nil {
		return true, err
	}
	defer forwardSignals(ctx, run.Signal)()
	status, err := run.Wait()
	if err != nil {
		return true, err
	}
	return true, statusOf(exitCode(status))
}

// withTree are the arguments of this crtime with another number for the tree: of two
// flags the last one counts. rest is the end of them that is a command of its own.
func (e *environment) withTree(inside string, rest []string) []string {
	own := slices.Clone(e.args[:len(e.args)-len(rest)])
	if len(own) > 0 && own[len(own)-1] == "--" {
		own = own[:len(own)-1]
	}
	own = append(own, "--tree", inside)
	if len(rest) > 0 {
		own = append(append(own, "--"), rest...)
	}
	return own
}

// mustBeRootless reports whether this process may make no time namespace and no
// process with a number of its choice, but for namespaces of its own.
func mustBeRootless() (bool, error) {
	own, err := ownCapabilities()
	return err == nil && !own.has(capSysAdmin), err
}

// restoreRootless restores in namespaces of the user's own.
func restoreRootless(ctx context.Context, env *environment, o *restoreOptions) error {
	if o.engine.name == criu.Name {
		return usagef("--engine criu needs root")
	}
	// Inside, whoever owns the folders above the images is nobody that is known there.
	images, err := openImages(o.imagesDir)
	if err != nil {
		return err
	}
	if !o.TrustImages {
		if err := image.CheckOwner(images.Dir); err != nil {
			return err
		}
	}
	pidFile, err := preparePIDFile(o.pidFile)
	if err != nil {
		return err
	}
	defer pidFile.discard()
	args := append(slices.Clone(env.args), "--restore-detached", "--trust-images", "--engine=native", "--pidfile=")
	keeper, begun, err := rootless.Start(rootless.Job{Args: args, Restore: true})
	if err != nil {
		return err
	}
	if begun.PID == 0 {
		return waitKeeper(ctx, keeper)
	}
	outside, err := rootless.Outside(keeper.Pid, begun.PID)
	if err == nil {
		fmt.Fprintf(env.streams.Err, "crtime: process %d has the number %d outside its namespaces, which dump, verify and exec want\n", begun.PID, outside)
		err = pidFile.commit(outside)
	}
	if err != nil {
		env.streams.warn("%v", err)
	}
	if o.detached {
		return keeper.Release()
	}
	return waitKeeper(ctx, keeper)
}
