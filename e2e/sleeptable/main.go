// SPDX-License-Identifier: Apache-2.0

// Command sleeptable shows what becomes of every kind of sleep and timer in a dump and
// a restore, through CRIU alone and through crtime, side by side: what the program saw,
// and how far from the moment at which it would have woken had the machine been
// suspended.
//
//	sleeptable [-outage 2s] [-due 2s,4s]
//
// Each sleep is dumped a second after it began. The program's own log tells the rest:
// when each sleep began and ended by the wall clock, and when the program was gone.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/crtime/crtime/e2e/harness"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "sleeptable:", err)
		os.Exit(1)
	}
}

func run() error {
	outage := flag.Duration("outage", 2*time.Second, "how long the program is gone")
	due := flag.String("due", "2s,4s", "when the sleeps end: a `list`")
	flag.Parse()
	return harness.Run(func(ctx context.Context, lab *harness.Lab) error {
		for text := range strings.SplitSeq(*due, ",") {
			limit, err := time.ParseDuration(text)
			if err != nil {
				return err
			}
			t, err := measure(ctx, lab, limit, *outage)
			if err != nil {
				return err
			}
			fmt.Print(t)
		}
		return nil
	})
}
