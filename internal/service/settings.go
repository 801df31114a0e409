// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/rpc"

	"github.com/crtime/crtime/internal/settings"
)

// forRequest are the settings for one request, which can name a config file of CRIU's
// that has some for crtime, too.
func (s *Session) forRequest(opts *rpc.CriuOpts) (settings.Settings, error) {
	set, err := s.Settings.WithConfigFile(opts.GetConfigFile())
	if err != nil {
		return set, badRequest("%w", err)
	}
	return set, nil
}

// configFile is one of CRIU's.
type configFile struct {
	path string
	text []byte
}

// configFiles reads those with options for CRIU that hold for a request.
func configFiles(opts *rpc.CriuOpts) ([]configFile, error) {
	candidates := []string{"/etc/criu/default.conf"}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".criu", "default.conf"))
	}
	candidates = append(candidates, os.Getenv("CRIU_CONFIG_FILE"), opts.GetConfigFile())
	var found []configFile
	for _, path := range candidates {
		if path == "" {
			continue
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("criu's config file: %w", err)
		}
		if hasOptions(text) {
			found = append(found, configFile{path, text})
		}
	}
	return found, nil
}

// hasOptions reports whether a config file of CRIU's says anything: a line that is
// neither empty nor a comment.
func hasOptions(text []byte) bool {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) > 0 && line[0] != '#' {
			return true
		}
	}
	return false
}

// has reports whether a config file has an option that takes no value.
func (f configFile) has(option string) bool {
	for lines := bufio.NewScanner(bytes.NewReader(f.text)); lines.Scan(); {
		name, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(name) == option {
			return true
		}
	}
	return false
}

// lazily reports whether a request leaves pages to be fetched when they are used: a dump's
// until a restore elsewhere has them, or a restore's until the tree wants them.
func lazily(opts *rpc.CriuOpts, files []configFile) bool {
	return opts.GetLazyPages() || slices.ContainsFunc(files, func(f configFile) bool { return f.has("lazy-pages") })
}
