// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/restore"
)

// printOCI prints a plan for a container's config.json. It is JSON either way.
func printOCI(ctx context.Context, env *environment, p *clockstate.Plan) error {
	config, err := restore.OCI(p)
	if err != nil {
		return err
	}
	if err := readyToStart(ctx, env, p); err != nil {
		return err
	}
	return env.streams.writeJSON(config)
}

// unshareResult is what plan --unshare prints with --json.
type unshareResult struct {
	Command []string           `json:"command"` // The program is to be added.
	Forward clockstate.Offsets `json:"forward"` // By how much more than planned, for whole seconds.
}

// printUnshare prints a plan as a command line of unshare's, fit for $(...).
func printUnshare(ctx context.Context, env *environment, p *clockstate.Plan) error {
	unshared, err := restore.Unshare(p)
	if err != nil {
		return err
	}
	if err := readyToStart(ctx, env, p); err != nil {
		return err
	}
	if unshared.Forward != (clockstate.Offsets{}) {
		env.streams.warn("unshare takes whole seconds: CLOCK_MONOTONIC is moved forward by %s more than planned, CLOCK_BOOTTIME by %s",
			roundTime(unshared.Forward.Monotonic), roundTime(unshared.Forward.Boottime))
	}
	return env.result(unshareResult{unshared.Command(), unshared.Forward}, func() string {
		return strings.Join(unshared.Command(), " ") + "\n"
	})
}

// readyToStart warns of what a plan warns of, and waits for its instant, which is some
// milliseconds away: offsets that have been printed hold for every start.
func readyToStart(ctx context.Context, env *environment, p *clockstate.Plan) error {
	for _, w := range p.Warnings {
		env.streams.warn("%s", w.Text)
	}
	// The reading that the plan starts from lies in the past.
	timer := time.NewTimer(time.Duration(p.Resume.Monotonic - p.Dest.Monotonic))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
