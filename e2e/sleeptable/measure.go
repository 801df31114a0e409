// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
	"github.com/crtime/crtime/e2e/sleeplog"
)

// table is what became of the sleeps of one length.
type table struct {
	limit, outage time.Duration
	undisturbed   sleeplog.Log
	criu, crtime  sleeplog.Log
}

// measure lets the program sleep three times: undisturbed, through CRIU, and through
// crtime.
func measure(ctx context.Context, lab *harness.Lab, limit, outage time.Duration) (*table, error) {
	t := &table{limit: limit, outage: outage}
	var err error
	if t.undisturbed, err = sleepThrough(ctx, lab, limit, func(context.Context, *harness.Tree, string) error { return nil }); err != nil {
		return nil, err
	}
	if t.criu, err = sleepThrough(ctx, lab, limit, goneFor(outage, throughCRIU(lab))); err != nil {
		return nil, fmt.Errorf("through CRIU: %w", err)
	}
	if t.crtime, err = sleepThrough(ctx, lab, limit, goneFor(outage, throughCrtime(lab))); err != nil {
		return nil, fmt.Errorf("through crtime: %w", err)
	}
	return t, nil
}

// tool dumps and restores.
type tool struct {
	dump    func(ctx context.Context, pid int, images string) error
	restore func(ctx context.Context, images string) error
}

func throughCRIU(lab *harness.Lab) tool {
	return tool{
		func(ctx context.Context, pid int, images string) error {
			if err := os.Mkdir(images, 0o700); err != nil {
				return err
			}
			_, err := lab.CRIU.Dump(ctx, pid, images)
			return err
		},
		func(ctx context.Context, images string) error { _, err := lab.CRIU.Restore(ctx, images); return err },
	}
}

func throughCrtime(lab *harness.Lab) tool {
	return tool{
		func(ctx context.Context, pid int, images string) error {
			_, err := lab.Crtime.Dump(ctx, pid, images)
			return err
		},
		func(ctx context.Context, images string) error { _, err := lab.Crtime.Restore(ctx, images); return err },
	}
}

// goneFor dumps a program, and restores it after an outage.
func goneFor(outage time.Duration, by tool) func(context.Context, *harness.Tree, string) error {
	return func(ctx context.Context, tree *harness.Tree, images string) error {
		if err := by.dump(ctx, tree.PID, images); err != nil {
			return err
		}
		if err := tree.Reap(ctx); err != nil {
			return err
		}
		time.Sleep(outage)
		return by.restore(ctx, images)
	}
}

// sleepThrough starts the program, disturbs it when it has slept for a second, and
// reads what it says.
func sleepThrough(ctx context.Context, lab *harness.Lab, limit time.Duration, disturb func(context.Context, *harness.Tree, string) error) (o sleeplog.Log, err error) {
	program, err := lab.Sleepers(ctx, limit)
	if err != nil {
		return o, err
	}
	dir, err := os.MkdirTemp(lab.Dir, "sleeps-*")
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tree, err := harness.Start(program, filepath.Join(dir, "out"))
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, tree.Kill()) }() //nolint:contextcheck // It is for the end of the context too.
	if err := says(ctx, tree, sleeplog.Ready); err != nil {
		return o, err
	}
	time.Sleep(time.Second)
	if err := disturb(ctx, tree, filepath.Join(dir, "images")); err != nil {
		return o, err
	}
	// One that begins anew takes longer.
	ctx, cancel := context.WithTimeout(ctx, 3*limit+time.Minute)
	defer cancel()
	if err := says(ctx, tree, sleeplog.Done); err != nil {
		return o, err
	}
	text, err := os.ReadFile(tree.Output)
	if err != nil {
		return o, err
	}
	return sleeplog.Parse(string(text))
}

// says waits until the program has printed something.
func says(ctx context.Context, tree *harness.Tree, what string) error {
	for {
		text, err := os.ReadFile(tree.Output)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), what) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the program did not say %q: %w: %s", what, ctx.Err(), text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// goesOn reports whether a clock counts the outage when a machine is suspended.
func goesOn(clock int) bool { return clock != unix.CLOCK_MONOTONIC }

// off is how far from the ideal a sleep ended: when its time was over on a clock that
// stands still while the program is gone, or goes on, but not before it was back.
func off(o sleeplog.Log, e sleeplog.End, limit time.Duration) time.Duration {
	gone := o.To - o.From - o.Passed
	ideal := e.Begun + int64(limit)
	if goesOn(e.Clock) {
		ideal = max(ideal, o.From+gone)
	} else {
		ideal += gone
	}
	return time.Duration(e.Woken - ideal)
}
