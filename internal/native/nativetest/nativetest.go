// SPDX-License-Identifier: Apache-2.0

// Package nativetest is what the tests of the native engine's packages share: a
// tree that stands still, and what CRIU would save of it. It is imported by test
// files only; what needs no package of the engine is in testkit.
package nativetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/testkit"
)

// Frozen calls f while a tree stands still, with a runner for each process of it;
// nil for a zombie. The tree then runs on.
func Frozen(t testing.TB, root int, f func(tree *ptrace.Tree, runners []*remote.Runner) error) {
	t.Helper()
	const patience = 20 * time.Second
	err := ptrace.Run(func(tr *ptrace.Tracer) (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		tree, err := tr.Freeze(ctx, root)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, tree.Release()) }()
		runners := make([]*remote.Runner, len(tree.Processes))
		for i, p := range tree.Processes {
			if p.Zombie {
				continue
			}
			if runners[i], err = remote.Attach(p.Leader()); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, runners[i].Close()) }()
		}
		return f(tree, runners)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// DumpByCRIU has CRIU dump a tree, which ends with that unless the flags say
// otherwise, and returns the images, also as a folder.
func DumpByCRIU(t testing.TB, criu string, pid int, flags ...string) (*criuimg.Set, string) {
	t.Helper()
	dir := testkit.DumpByCRIU(t, criu, pid, flags...)
	s, err := criuimg.Load(&image.Images{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}
