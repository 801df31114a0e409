// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/crtime/crtime/internal/service"
)

// What a service bounds unless the user says otherwise.
const (
	serviceAddress  = "/run/crtime.socket"
	serviceClients  = 64
	serviceIdle     = 30 * time.Second
	servicePatience = 10 * time.Minute
)

// serviceOptions are the flags of service.
type serviceOptions struct {
	address        string
	clients        int
	idle, patience time.Duration
}

// newServiceCommand makes `crtime service`.
func newServiceCommand(env *environment) *cobra.Command {
	o := &serviceOptions{}
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Serve programs that speak CRIU's RPC, at a socket",
		Long: `Answer requests of CRIU's RPC at a socket, for many clients at once, until a signal
ends it. Each client is served by a process of its own, as 'crtime swrk' serves one.

Only processes of the same user, or root's, with all capabilities that the service has,
are served: they could do the same without it. A message may have 1 MiB. A client that
goes away in the middle of a dump leaves the target running.

The socket comes from systemd, where it has been set up (crtime.socket), or is made at
--address with mode 0600.`,
		Example: `  # Serve at the usual place.
  crtime service

  # Serve an ordinary user's own programs.
  crtime service --address $XDG_RUNTIME_DIR/crtime.socket`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runService(cmd.Context(), env, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.address, "address", serviceAddress, "`path` of the socket to make")
	f.IntVar(&o.clients, "max-clients", serviceClients, "serve at most `n` clients at once; others wait")
	f.DurationVar(&o.idle, "idle-timeout", serviceIdle, "a client may take so long to send a request")
	f.DurationVar(&o.patience, "notify-timeout", servicePatience, "a client may take so long over a notification; then its request is undone")
	return cmd
}

// runService serves until ctx ends.
func runService(ctx context.Context, env *environment, o *serviceOptions) (err error) {
	if o.clients < 1 {
		return usagef("--max-clients %d: want 1 or more", o.clients)
	}
	log, err := env.logger()
	if err != nil {
		return err
	}
	listener, err := o.listen(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	log.Info("serving", zap.String("address", listener.Address()))
	// Not being started by systemd is no error.
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	err = listener.Serve(ctx, o.clients, o.worker(env))
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	return err
}

// listen takes the socket that systemd has passed, or makes one.
func (o *serviceOptions) listen(log *zap.Logger) (*service.Listener, error) {
	passed := activation.Files(true)
	switch len(passed) {
	case 0:
		return service.Listen(o.address, log)
	case 1:
		return service.Adopted(passed[0], log)
	}
	return nil, fmt.Errorf("systemd has passed %d sockets; crtime serves at one", len(passed))
}

// worker starts `crtime swrk` for a client. It is told to end when ctx does.
func (o *serviceOptions) worker(env *environment) service.Worker {
	return func(ctx context.Context, conn *os.File) (func() error, error) {
		cmd := exec.CommandContext(ctx, "/proc/self/exe", "swrk", "3", "--stranger",
			"--idle-timeout="+o.idle.String(), "--notify-timeout="+o.patience.String(),
			"--log-level="+env.logLevel, "--log-format="+env.logFormat)
		cmd.ExtraFiles = []*os.File{conn}
		cmd.Stderr = os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		return cmd.Wait, cmd.Start()
	}
}
