// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// serve answers the host until it says Off.
func serve() error {
	p, err := openPort()
	if err != nil {
		return err
	}
	builds, err := serveBuilds()
	if err != nil {
		return err
	}
	s := &Service{builds: builds, off: make(chan struct{})}
	server := rpc.NewServer()
	if err := server.Register(s); err != nil {
		return fmt.Errorf("registering the service: %w", err)
	}
	go server.ServeConn(p)
	<-s.off
	return nil
}

// Service is what the host can ask for.
type Service struct {
	builds *Builds
	off    chan struct{} // Closed by Off.
}

// Greet says what machine this is.
func (*Service) Greet(_ wire.Nothing, g *wire.Greeting) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	g.Release = unix.ByteSliceToString(name.Release[:])
	source, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	if err != nil {
		return fmt.Errorf("clock source: %w", err)
	}
	g.ClockSource = strings.TrimSpace(string(source))
	var boot, wall unix.Timespec
	err = errors.Join(unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot), unix.ClockGettime(unix.CLOCK_REALTIME, &wall))
	if err != nil {
		return fmt.Errorf("clocks: %w", err)
	}
	g.Boottime, g.Realtime = time.Duration(boot.Nano()), wall.Nano()
	return nil
}

// SetRealtime sets the wall clock, in nanoseconds. The clock that a machine
// starts with is good to a second only.
func (*Service) SetRealtime(now int64, _ *wire.Nothing) error {
	ts := unix.NsecToTimespec(now)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("setting the wall clock: %w", err)
	}
	return nil
}

// Run runs a program to its end.
func (*Service) Run(c wire.Command, o *wire.Outcome) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	cmd := command(ctx, c)
	var output, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &errs
	// A group of its own, so that what it started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		// The group is gone if the program has just ended: nothing to kill then.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT)
		time.Sleep(2 * time.Second)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return nil
	}
	// Somebody who left the group may hold the output open for ever.
	cmd.WaitDelay = 5 * time.Second
	begin := time.Now()
	err := cmd.Run()
	o.Took, o.Output, o.Errors = time.Since(begin), output.Bytes(), errs.Bytes()
	if ctx.Err() != nil {
		o.Status, o.Words = -1, fmt.Sprintf("ended after %v, its time", c.Timeout)
		return nil
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		o.Status, o.Words = exit.ExitCode(), exit.Error()
	case err != nil:
		return fmt.Errorf("running %s: %w", c.Argv[0], err)
	}
	return nil
}

// Start starts a program as a daemon: in a session of its own, standard input
// from /dev/null, the rest into a file. It is a child of the first process, as it
// will be after a restore.
func (*Service) Start(c wire.Command, pid *int) error {
	out, err := os.OpenFile(c.Output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	defer out.Close()
	cmd := command(context.Background(), c)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", c.Argv[0], err)
	}
	*pid = cmd.Process.Pid
	// A dump kills it: then it is to be reaped. How it ends is nobody's concern.
	go func() { _ = cmd.Wait() }()
	return nil
}

func command(ctx context.Context, c wire.Command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	if cmd.Dir = c.Dir; c.Dir == "" {
		cmd.Dir = "/"
	}
	return cmd
}

// Kill kills a process and waits until it is gone. One that is not there is fine.
func (*Service) Kill(pid int, _ *wire.Nothing) error {
	for range 1000 {
		err := unix.Kill(pid, unix.SIGKILL)
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("killing %d: %w", pid, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("process %d did not end", pid)
}

// Off switches the machine off.
func (s *Service) Off(wire.Nothing, *wire.Nothing) error { //nolint:unparam // What net/rpc wants.
	close(s.off)
	return nil
}
