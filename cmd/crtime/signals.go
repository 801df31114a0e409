// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// interruption is the cause of a context that a signal has ended.
type interruption struct{ signal os.Signal }

// Error implements error.
func (i *interruption) Error() string { return fmt.Sprintf("interrupted by signal %v", i.signal) }

// endingSignals are the signals by which users and service managers end a
// program, without those that whoever started crtime had it ignore, as nohup(1)
// does: catching one would undo that.
func endingSignals() []os.Signal {
	return heeded(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

// heeded leaves out the signals that are ignored.
func heeded(signals ...os.Signal) []os.Signal { return slices.DeleteFunc(signals, signal.Ignored) }

// notify is signal.Notify, but takes an empty list for none instead of all.
func notify(c chan<- os.Signal, signals []os.Signal) {
	if len(signals) > 0 {
		signal.Notify(c, signals...)
	}
}

// interruptible returns a context that ends at the first of endingSignals. The
// signals keep being caught until stop is called: a second one must not kill a
// crtime that is undoing its work.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	caught := make(chan os.Signal, 1)
	notify(caught, endingSignals())
	go func() {
		select {
		case s := <-caught:
			cancel(&interruption{s})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(caught)
		cancel(context.Canceled)
	}
}

// forwardSignals passes endingSignals and SIGQUIT on by send until stop is
// called, and the signal that has already ended ctx, if one has. Errors are left
// alone: a process that has ended takes no signal, and whoever waits for it
// learns so.
func forwardSignals(ctx context.Context, send func(os.Signal) error) (stop func()) {
	caught := make(chan os.Signal, 1)
	notify(caught, append(endingSignals(), heeded(syscall.SIGQUIT)...))
	if before, ok := errors.AsType[*interruption](context.Cause(ctx)); ok {
		_ = send(before.signal)
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-caught:
				_ = send(s)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(caught)
		close(done)
	}
}

// waitChild waits for a child of this process and returns how a shell would
// state its end: its exit status, or 128 and the number of the signal that
// killed it. Signals that arrive meanwhile are passed on to it.
func waitChild(ctx context.Context, pid int) (exitCode, error) {
	child, err := os.FindProcess(pid)
	if err != nil {
		return 0, fmt.Errorf("wait for process %d: %w", pid, err)
	}
	defer forwardSignals(ctx, child.Signal)()
	state, err := child.Wait()
	if err != nil {
		return 0, fmt.Errorf("wait for process %d: %w", pid, err)
	}
	return shellStatus(state), nil
}

// shellStatus is a process's end as a shell's $? has it.
func shellStatus(state *os.ProcessState) exitCode {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitCode(128 + int(status.Signal()))
	}
	return exitCode(state.ExitCode())
}
