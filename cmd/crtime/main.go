// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// How crtime collects its garbage. Most runs make less than gcPercent of the
// smallest heap (4 MiB) in all, and are over sooner when they never look for any;
// beyond mostMemory bytes it is looked for all the more.
const (
	gcPercent  = 800
	mostMemory = 64 << 20
)

func main() {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(mostMemory)
	do := run
	if filepath.Base(os.Args[0]) == "criu" {
		do = runAsCRIU
	}
	os.Exit(int(do(context.Background(), systemStreams(), os.Args[1:])))
}

// run executes one command line and returns the exit code. SIGINT, SIGTERM and
// SIGHUP end the context, upon which a dump or a restore is undone.
func run(ctx context.Context, s *streams, args []string) exitCode {
	ctx, stop := interruptible(ctx)
	defer stop()
	env := &environment{streams: s, args: spellVerbosity(args)}
	root := newRootCommand(env)
	root.SetArgs(env.args)
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
