// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/criucli"
	"github.com/crtime/crtime/internal/settings"
	"github.com/crtime/crtime/internal/version"
)

// runAsCRIU executes one command line of CRIU's: crtime was called by the name of criu,
// by a container runtime, a script or CRIU's own tests. What has nothing to do with clocks
// is left to a real CRIU.
func runAsCRIU(ctx context.Context, s *streams, args []string) exitCode {
	if len(args) == 2 && args[0] == "swrk" {
		return run(ctx, s, args)
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	err := asCRIU(ctx, s, args)
	switch {
	case err == nil:
		return exitOK
	case silent(err):
		return codeOf(err)
	}
	fmt.Fprintf(s.Err, "Error (crtime): %v\n", err)
	return exitFailed // CRIU knows no other.
}

// asCRIU is runAsCRIU without the printing of errors.
func asCRIU(ctx context.Context, s *streams, args []string) error {
	own := args
	if end := slices.Index(args, "--"); end >= 0 {
		own = args[:end] // What follows is another program's.
	}
	if slices.Contains(own, "--version") || slices.Contains(own, "-V") {
		return s.writeText(fmt.Sprintf("Version: %s\nStood for by %s %s\n", criu.Oldest(), criu.Pretender, version.String()))
	}
	help := slices.Contains(own, "--help") || slices.Contains(own, "-h")
	if verb := verbOf(args); help || verb != "dump" && verb != "restore" {
		return becomeCRIU(ctx, args)
	}
	c, err := criucli.Parse(args)
	if err != nil {
		return err
	}
	return carryOut(ctx, s, c)
}

// verbOf is what a command line of CRIU's says to do: the first argument that is no
// option, and no value of one.
func verbOf(args []string) string {
	if c, err := criucli.Parse(args); err == nil {
		return c.Name
	}
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}

// becomeCRIU replaces this process by a real CRIU with the same arguments. It returns
// only if that fails.
func becomeCRIU(ctx context.Context, args []string) error {
	set, err := settings.Load()
	if err != nil {
		return err
	}
	program, err := criu.Find(ctx, set.CRIU)
	if err != nil {
		return fmt.Errorf("crtime, called as criu, leaves this to a real one: %w", err)
	}
	err = syscall.Exec(program.Path, append([]string{"criu"}, args...), os.Environ())
	return fmt.Errorf("execute %s: %w", program.Path, err)
}
