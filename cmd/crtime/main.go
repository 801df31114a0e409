// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

func main() {
	os.Exit(int(run(context.Background(), systemStreams(), os.Args[1:])))
}

// run executes one command line and returns the exit code. SIGINT, SIGTERM and
// SIGHUP end the context, upon which a dump or a restore is undone.
func run(ctx context.Context, s *streams, args []string) exitCode {
	ctx, stop := interruptible(ctx)
	defer stop()
	env := &environment{streams: s}
	root := newRootCommand(env)
	root.SetArgs(spellVerbosity(args))
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !env.running {
		err = &usageError{err}
	}
	code := codeOf(err)
	if silent(err) {
		return code
	}
	fmt.Fprintf(s.Err, "crtime: %v\n", err)
	if hint := hintFor(err); hint != "" {
		fmt.Fprintf(s.Err, "crtime: hint: %s\n", hint)
	}
	if code == exitUsage {
		fmt.Fprintf(s.Err, "Usage: %s\nSee '%s --help'.\n", cmd.UseLine(), cmd.CommandPath())
	}
	return code
}

// spellVerbosity turns -v4, as CRIU's users write it, into --verbosity=4: the
// flag library would take the 4 for a flag of its own.
func spellVerbosity(args []string) []string {
	out := make([]string, 0, len(args))
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		if len(a) == 3 && strings.HasPrefix(a, "-v") && a[2] >= '0' && a[2] <= '9' {
			a = "--verbosity=" + a[2:]
		}
		out = append(out, a)
	}
	return out
}
