// SPDX-License-Identifier: Apache-2.0

// Command bench measures crtime, with its own engine and with CRIU, beside CRIU
// alone: in one run, on one machine, with one CRIU, turn and turn about. What it
// measures is what a user has of it: the program's own clocks, and the time of
// the commands.
//
//	bench [-n 20] [-work tiny,100M,...] [-tools criu,crtime,crtime-criu] [-outage 100ms] [-json]
//
// CRIU is at its best here: /run is a tmpfs, where it keeps what it learned
// about the kernel, and the images are on a tmpfs too.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/crtime/crtime/e2e/harness"
)

// options are the command line.
type options struct {
	rounds int
	work   []workload
	tools  []string
	outage time.Duration // Beyond what the commands themselves take.
	json   bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) > 1 && os.Args[1] == floorCommand {
		return printFloor(os.Args[2:])
	}
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		return err
	}
	var results report
	err = harness.Run(func(ctx context.Context, lab *harness.Lab) (err error) {
		results, err = measure(ctx, lab, o)
		return err
	})
	if err != nil {
		return err
	}
	if !o.json {
		fmt.Print(results.table())
		return nil
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(results)
}

func parseOptions(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "n", 20, "dumps and restores of each kind")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.DurationVar(&o.outage, "outage", 100*time.Millisecond, "wait so long between dump and restore")
	work := f.String("work", allWork, "what is dumped: a `list` of tiny, 100M and 1G (memory), 64threads, 100processes, 500mappings, 200files, with any numbers")
	tools := f.String("tools", allTools, "who dumps and restores: a `list`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-n %d: at least one round is needed", o.rounds)
	}
	for name := range strings.SplitSeq(*work, ",") {
		w, err := parseWorkload(name)
		if err != nil {
			return o, err
		}
		o.work = append(o.work, w)
	}
	for name := range strings.SplitSeq(*tools, ",") {
		if !slices.Contains(strings.Split(allTools, ","), name) {
			return o, fmt.Errorf("-tools: %q is none of %s", name, allTools)
		}
		o.tools = append(o.tools, name)
	}
	return o, nil
}
