// SPDX-License-Identifier: Apache-2.0

// Command bench measures crtime with CRIU beside CRIU alone: in one run, on one
// machine, with one CRIU, turn and turn about. What it measures is what a user
// has of it: the program's own clocks, and the time of the commands.
//
//	bench [-n 20] [-sizes tiny,100M,1G] [-outage 100ms] [-json]
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
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
)

// options are the command line.
type options struct {
	rounds int
	sizes  []size
	outage time.Duration // Beyond what the commands themselves take.
	json   bool
}

// size is how much memory the dumped program has.
type size struct {
	name      string
	megabytes int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		return err
	}
	if err := harness.Enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	lab, err := harness.Open(ctx)
	if err != nil {
		return err
	}
	results, err := measure(ctx, lab, o)
	if closeErr := lab.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if !o.json {
		fmt.Print(table(results))
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
	sizes := f.String("sizes", "tiny,100M,1G", "memory of the program: tiny, or a `list` of sizes in M or G")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-n %d: at least one round is needed", o.rounds)
	}
	for name := range strings.SplitSeq(*sizes, ",") {
		s, err := parseSize(name)
		if err != nil {
			return o, err
		}
		o.sizes = append(o.sizes, s)
	}
	return o, nil
}

func parseSize(name string) (size, error) {
	if name == "tiny" {
		return size{name, 0}, nil
	}
	units := map[string]int{"M": 1, "G": 1024}
	for suffix, unit := range units {
		if digits, ok := strings.CutSuffix(name, suffix); ok {
			n, err := strconv.Atoi(digits)
			if err != nil || n < 1 || n > 64*1024/unit {
				break
			}
			return size{name, n * unit}, nil
		}
	}
	return size{}, fmt.Errorf("-sizes: %q is neither tiny nor like 100M or 1G", name)
}
