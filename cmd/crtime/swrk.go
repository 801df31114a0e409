// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/internal/service"
	"github.com/crtime/crtime/internal/settings"
)

// newSwrkCommand makes `crtime swrk`.
func newSwrkCommand(env *environment) *cobra.Command {
	o := &service.Options{}
	cmd := &cobra.Command{
		Use:   "swrk FD",
		Short: "Serve a program that speaks CRIU's RPC",
		Long: `Answer requests of CRIU's RPC on the socket FD, which this process has inherited, as
'criu swrk' does. Programs that use go-criu or libcriu, and container runtimes, start
it when they find crtime where they look for criu: with go-criu's SetCriuPath, or with
a link named criu in PATH that leads to crtime.

Dumps record the clocks, and restores bring them back right, as the settings say (see
docs/settings.md). What crtime's own engine cannot represent, and requests that do not
concern clocks, are done by a real CRIU.`,
		Example: `  # Have runc use crtime.
  ln -s /usr/local/bin/crtime /usr/local/lib/crtime/criu
  PATH=/usr/local/lib/crtime:$PATH runc checkpoint --image-path images box`,
		Args: exactArgs("FD"),
		RunE: func(cmd *cobra.Command, args []string) error { return runSwrk(cmd.Context(), env, args[0], o) },
	}
	f := cmd.Flags()
	f.DurationVar(&o.Idle, "idle-timeout", 0, "the client may take so long to send a request (default: for ever)")
	f.DurationVar(&o.Patience, "notify-timeout", 0, "the client may take so long over a notification (default: for ever)")
	f.BoolVar(&o.Stranger, "stranger", false, "the client did not start this process: 'crtime service' did")
	// It fails only for a flag that does not exist.
	_ = f.MarkHidden("stranger")
	return cmd
}

// runSwrk serves one client. What goes wrong the client is told.
func runSwrk(ctx context.Context, env *environment, arg string, o *service.Options) error {
	fd, err := strconv.ParseUint(arg, 10, 16)
	if err != nil {
		return usagef("FD %q is not the number of a descriptor", arg)
	}
	if o.Log, err = env.logger(); err != nil {
		return err
	}
	// The client is told if they are wrong.
	o.Settings, o.Refusal = settings.Load()
	// Nothing that crtime starts is to have it, but CRIU under this number.
	syscall.CloseOnExec(int(fd))
	session, err := service.NewSession(os.NewFile(uintptr(fd), "the client's socket"), *o)
	if err != nil {
		return err
	}
	if session.Serve(ctx) != nil {
		return statusOf(exitFailed)
	}
	return nil
}
