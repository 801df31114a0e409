// SPDX-License-Identifier: Apache-2.0

// Command demo shows what crtime is for, in a few seconds: it starts one small
// program twice, dumps both, waits, restores one with crtime and the other with
// plain CRIU, and prints what each program then read on its clocks. Every
// number is taken from what the programs themselves wrote.
//
// It needs root, gcc and CRIU ('make criu' gets that), and takes about six
// seconds.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

func main() {
	outage := flag.Duration("outage", 3*time.Second, "how long the programs are away")
	flag.Parse()
	err := harness.Run(func(ctx context.Context, lab *harness.Lab) error { return show(ctx, lab, *outage) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// subject is one of the two programs.
type subject struct {
	name    string
	tree    *harness.Tree
	images  string
	dump    func(*subject) error
	restore func(*subject) error
	step    clocklog.Step
	// backward is what went back on a clock that a namespace shifts.
	backward []clocklog.Backward
}

func show(ctx context.Context, lab *harness.Lab, outage time.Duration) error {
	crtime, criu := subjects(ctx, lab)
	both := []*subject{crtime, criu}
	fmt.Println("Starting a program that reads its clocks all the time, twice.")
	for _, s := range both {
		program := lab.Ticker("-i", "100")
		program.Dir = lab.Dir
		var err error
		if s.tree, err = harness.Start(program, s.images+".out"); err != nil {
			return err
		}
		if err := os.Mkdir(s.images, 0o700); err != nil {
			return err
		}
	}
	if err := each(both, func(s *subject) error { return s.tree.WaitRecords(ctx, 2000) }); err != nil {
		return err
	}
	fmt.Println("Dumping one with crtime, the other with plain CRIU. Both programs are now gone.")
	if err := each(both, func(s *subject) error { return s.dump(s) }); err != nil {
		return err
	}
	fmt.Printf("Waiting for %v.\n", outage)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(outage):
	}
	fmt.Print("Restoring both.\n\n")
	if err := each(both, func(s *subject) error { return s.restore(s) }); err != nil {
		return err
	}
	if err := each(both, func(s *subject) error { return s.judge(ctx) }); err != nil {
		return err
	}
	fmt.Print(report(crtime, criu))
	if len(crtime.backward) > 0 {
		return fmt.Errorf("a promise was not kept: %v", crtime.backward[0])
	}
	return nil
}

func each(subjects []*subject, do func(*subject) error) error {
	for _, s := range subjects {
		if err := do(s); err != nil {
			return fmt.Errorf("with %s: %w", s.name, err)
		}
	}
	return nil
}

func subjects(ctx context.Context, lab *harness.Lab) (crtime, criu *subject) {
	crtime = &subject{
		name: "crtime", images: filepath.Join(lab.Dir, "with-crtime"),
		dump: func(s *subject) error {
			if _, err := lab.Crtime.Dump(ctx, s.tree.PID, s.images); err != nil {
				return err
			}
			return s.tree.Reap(ctx)
		},
		restore: func(s *subject) error {
			_, err := lab.Crtime.Restore(ctx, s.images)
			return err
		},
	}
	criu = &subject{
		name: "plain CRIU", images: filepath.Join(lab.Dir, "with-criu"),
		dump: func(s *subject) error {
			if _, err := lab.CRIU.Dump(ctx, s.tree.PID, s.images); err != nil {
				return err
			}
			return s.tree.Reap(ctx)
		},
		restore: func(s *subject) error {
			_, err := lab.CRIU.Restore(ctx, s.images)
			return err
		},
	}
	return crtime, criu
}

// judge lets the restored program run a little, ends it, and reads its log.
func (s *subject) judge(ctx context.Context) error {
	if err := s.tree.WaitRecords(ctx, 500); err != nil {
		return err
	}
	if err := s.tree.Kill(); err != nil { //nolint:contextcheck // Also when ctx has ended.
		return err
	}
	log, err := s.tree.Log()
	if err != nil {
		return err
	}
	steps, err := log.Outages(1)
	if err != nil {
		return err
	}
	s.step, s.backward = steps[0], log.Backward()
	return nil
}
