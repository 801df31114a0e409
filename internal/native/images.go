// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"fmt"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/memory"
	"github.com/crtime/crtime/internal/native/tasks"
	"github.com/crtime/crtime/internal/native/timers"
)

// Checked are images of which the engine has made sure that it can rebuild them.
type Checked struct {
	dir string
	set *criuimg.Set
}

// Check reports whether the engine can rebuild what the images hold, as the options
// say; nothing is made. An error that is engine.ErrUnsupported says that CRIU may be able to.
func Check(im *image.Images, o engine.Options) (*Checked, error) {
	set, err := load(im, o)
	if err != nil {
		return nil, err
	}
	return &Checked{im.Dir, set}, nil
}

// checked returns the images' set, which Check may have read already.
func (e *Engine) checked(im *image.Images, o engine.Options) (*criuimg.Set, error) {
	if e.Checked != nil && e.Checked.dir == im.Dir {
		return e.Checked.set, nil
	}
	return load(im, o)
}

// load reads the images and has every room look at what concerns it.
func load(im *image.Images, o engine.Options) (*criuimg.Set, error) {
	set, err := criuimg.Load(im)
	if err != nil {
		return nil, supported(err)
	}
	if !o.TrustImages {
		if err := checkPrivilege(set, im.Dir); err != nil {
			return nil, fmt.Errorf("%s: %w", im.Dir, err)
		}
	}
	root := set.Tree[0].GetPid()
	if found := optionObstacles(int(root), set.Process[root].Core.GetTc().GetComm(), o); len(found) > 0 {
		return nil, &UnsupportedError{found}
	}
	for _, check := range []func(*criuimg.Set) error{tasks.Check, timers.Check, memory.Check, files.Check} {
		if err := check(set); err != nil {
			return nil, supported(fmt.Errorf("%s: %w", im.Dir, err))
		}
	}
	return set, nil
}

// supported makes what the rooms call unsupported an engine.ErrUnsupported.
func supported(err error) error {
	if (errors.Is(err, criuimg.ErrUnsupported) || errors.Is(err, files.ErrObstacle)) && !errors.Is(err, engine.ErrUnsupported) {
		return fmt.Errorf("%w: %w", engine.ErrUnsupported, err)
	}
	return err
}
