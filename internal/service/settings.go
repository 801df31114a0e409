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

// configured lists the config files with options for CRIU that hold for a request:
// crtime's own engine does not know what they ask for.
func configured(opts *rpc.CriuOpts) ([]string, error) {
	candidates := []string{"/etc/criu/default.conf"}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".criu", "default.conf"))
	}
	candidates = append(candidates, os.Getenv("CRIU_CONFIG_FILE"), opts.GetConfigFile())
	var found []string
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
			found = append(found, "options in "+path)
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
