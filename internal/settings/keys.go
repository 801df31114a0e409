// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/choose"
	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/restore"
)

// The environment variables. Each stands for the setting of the same name; one that
// is empty counts as not set. [criu.EnvPath] stands for the path of the criu program.
const (
	EnvConfig    = "CRTIME_CONFIG" // Path of the settings file, in place of DefaultPath.
	EnvPolicy    = "CRTIME_POLICY"
	EnvWallClock = "CRTIME_WALL_CLOCK"
	EnvLead      = "CRTIME_LEAD"
	EnvEngine    = "CRTIME_ENGINE"
)

// key is one setting, which is named alike in every source.
type key struct {
	name string
	env  string
	want string // What is allowed, for "want ...".
	path bool   // The value is the path of a file.
	// set takes a value, or reports that it is not allowed and leaves s alone.
	set func(s *Settings, value string) (ok bool)
}

// keys are all settings, in the order in which they are documented.
func keys() []key {
	var policies []string
	for _, p := range clockstate.Policies() {
		policies = append(policies, p.String())
	}
	return []key{
		{name: "policy", env: EnvPolicy, want: either(policies), set: func(s *Settings, value string) bool {
			return s.Policy.UnmarshalText([]byte(value)) == nil
		}},
		{name: "wall-clock", env: EnvWallClock, want: either(wallClocks()), set: func(s *Settings, value string) bool {
			w, err := restore.ParseWallClock(value)
			return take(&s.WallClock, w, err == nil)
		}},
		{name: "lead", env: EnvLead, want: "auto, or a time such as 250ms", set: func(s *Settings, value string) bool {
			lead, err := restore.ParseLead(value)
			return take(&s.Lead, lead, err == nil)
		}},
		{name: "engine", env: EnvEngine, want: either(choose.Names()), set: func(s *Settings, value string) bool {
			return take(&s.Engine, value, choose.Choice{Engine: value}.Valid())
		}},
		{name: "criu", env: criu.EnvPath, want: "the absolute path of the criu program", path: true, set: func(s *Settings, value string) bool {
			return take(&s.CRIU, value, filepath.IsAbs(value))
		}},
	}
}

// take assigns a value if it is allowed, and passes on whether it is.
func take[T any](to *T, value T, ok bool) bool {
	if ok {
		*to = value
	}
	return ok
}

// wallClocks are the names of all values of restore.WallClock.
func wallClocks() []string {
	return []string{restore.WallClockWarn.String(), restore.WallClockWait.String(), restore.WallClockFail.String()}
}

// either lists words: "a, b or c".
func either(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// find returns the setting of that name, or an error that lists all.
func find(name string) (key, error) {
	all := keys()
	i := slices.IndexFunc(all, func(k key) bool { return k.name == name })
	if i >= 0 {
		return all[i], nil
	}
	if name == "" {
		return key{}, errors.New("the name of a setting is missing: want " + either(names()))
	}
	return key{}, fmt.Errorf("there is no setting %q: want %s", name, either(names()))
}

// names are the names of all settings.
func names() []string {
	var list []string
	for _, k := range keys() {
		list = append(list, k.name)
	}
	return list
}

// put sets a value, or says what is wrong with it.
func (k key) put(s *Settings, value string) error {
	switch {
	case value == "":
		return errors.New("the value is missing: want " + k.want)
	case !k.set(s, value):
		return fmt.Errorf("%q is not allowed: want %s", value, k.want)
	}
	return nil
}
