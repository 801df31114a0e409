// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/memory"
	"github.com/crtime/crtime/internal/native/tasks"
	"github.com/crtime/crtime/internal/native/timers"
	"github.com/crtime/crtime/internal/proc"
)

// Name is the engine's name as users give it to --engine.
const Name = "native"

// Engine implements engine.Dumper and engine.Restorer. Its zero value works. It
// is safe for concurrent use, each call on a tree of its own.
type Engine struct {
	Log *zap.Logger // nil: nothing is logged.
	// Checked are images of which a restore need not make sure again.
	Checked *Checked
}

// Name implements engine.Dumper and engine.Restorer.
func (*Engine) Name() string { return Name }

func (e *Engine) log() *zap.Logger {
	if e.Log == nil {
		return zap.NewNop()
	}
	return e.Log
}

// PreDump implements engine.Dumper: this engine has no dumps in several steps.
func (*Engine) PreDump(context.Context, engine.DumpRequest) error {
	return fmt.Errorf("%w: the native engine has no pre-dump; use --engine criu", engine.ErrUnsupported)
}

// UnsupportedError lists what the engine cannot represent. It is
// engine.ErrUnsupported.
type UnsupportedError struct{ Obstacles []engine.Obstacle }

// Error lists the obstacles, the first few in full.
func (e *UnsupportedError) Error() string {
	const most = 5
	var b strings.Builder
	b.WriteString("the native engine cannot represent this tree")
	for i, o := range e.Obstacles {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(e.Obstacles)-most)
			break
		}
		b.WriteString("; ")
		b.WriteString(o.String())
	}
	return b.String()
}

// Is makes it engine.ErrUnsupported.
func (*UnsupportedError) Is(target error) bool { return target == engine.ErrUnsupported }

// Survey looks at a running tree from outside and lists what the engine cannot
// represent of it, nothing if it can dump it all. Nothing is touched. The tree may
// change until it is dumped; the dump looks again.
func Survey(root int, o engine.Options) ([]engine.Obstacle, error) {
	tree, err := proc.Scan(root)
	if err != nil {
		return nil, err
	}
	return survey(root, tree, o)
}

// survey is Survey of a tree that has been listed.
func survey(root int, tree *proc.Snapshot, o engine.Options) ([]engine.Obstacle, error) {
	var pids []int
	for _, t := range tree.Tasks {
		if !t.Zombie {
			pids = append(pids, t.PID)
		}
	}
	looks := []func([]int) ([]engine.Obstacle, error){
		surveyNamespaces,
		func(pids []int) ([]engine.Obstacle, error) { return surveyCgroups(pids, o) },
		tasks.Survey,
		timers.Survey,
		memory.Survey,
		func(pids []int) ([]engine.Obstacle, error) { return files.Survey(pids, fileLimits(o)) },
	}
	found := make([][]engine.Obstacle, len(looks))
	var work errgroup.Group
	for i, look := range looks {
		work.Go(func() error {
			obstacles, err := look(pids)
			if err != nil && !errors.Is(err, proc.ErrGone) {
				return err
			}
			found[i] = obstacles
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	return append(slices.Concat(found...), optionObstacles(root, comm(root), o)...), nil
}
