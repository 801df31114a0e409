// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/choose"
	"github.com/crtime/crtime/restore"
)

// DefaultPath is the settings file of a machine. It need not exist.
const DefaultPath = "/etc/crtime.yaml"

// Settings say what the flags of `crtime restore` say. [Default] makes a valid one;
// the zero value names no engine.
type Settings struct {
	Policy    clockstate.Policy
	WallClock restore.WallClock // If this host's wall clock is behind the dump's.
	// Lead is how far ahead the resume is aimed; 0 is what the engine expects to
	// need ("auto").
	Lead   time.Duration
	Engine string // One of choose.Names.
	CRIU   string // Absolute path of the criu program; "": look for it.
}

// Default is what holds where nothing is said, as with the flags.
func Default() Settings { return Settings{Engine: choose.Auto} }

// Load takes the defaults, the settings file and the environment, in this order. That
// there is no settings file is an error only if the environment names one.
//
// The error is an [*Error] for a setting that cannot be taken, ErrUntrusted for a file
// that others could have written, or says why the file could not be read.
func Load() (Settings, error) { return load(os.Getenv, DefaultPath) }

// load is Load with its surroundings.
func load(getenv func(string) string, path string) (Settings, error) {
	named := getenv(EnvConfig)
	if named != "" {
		path = named
	}
	s := Default()
	data, err := readTrusted(path)
	switch {
	case err == nil:
		if s, err = parseYAML(path, data, s); err != nil {
			return Settings{}, err
		}
	case named != "" || !errors.Is(err, fs.ErrNotExist):
		return Settings{}, err
	}
	return fromEnvironment(getenv, s)
}

// WithConfigFile returns s with the directives of a config file of CRIU's over it. No
// path, or one at which there is no file, changes nothing: CRIU ignores a file that
// is not there, and runc names /etc/criu/runc.conf whether it exists or not.
//
// Errors are as for [Load].
func (s Settings) WithConfigFile(path string) (Settings, error) {
	if path == "" {
		return s, nil
	}
	data, err := readTrusted(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return Settings{}, err
	}
	return parseDirectives(path, data, s)
}
