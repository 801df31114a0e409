// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrMissing says that a program which a test needs is not on this machine.
var ErrMissing = errors.New("not on this machine")

// module is what the lab's root folder must hold.
const module = "module github.com/crtime/crtime"

// findRoot returns the folder of crtime's go.mod, upward from here.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), module+"\n") {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no folder above this one is crtime's module: %w", os.ErrNotExist)
}

// build makes everything that the lab runs. bin is the folder it goes to.
func (l *Lab) build(ctx context.Context) error {
	bin := filepath.Join(l.Dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("folder for programs: %w", err)
	}
	programs := filepath.Join(l.root, "e2e", "programs")
	l.ticker = filepath.Join(bin, "ticker")
	l.goTicker = filepath.Join(bin, "goticker")
	l.Crtime.Path = filepath.Join(bin, "crtime")
	if given := os.Getenv("CRTIME_E2E_BINARY"); given != "" {
		l.Crtime.Path = given
	} else if err := l.goBuild(ctx, l.Crtime.Path, "./cmd/crtime"); err != nil {
		return err
	}
	if err := l.goBuild(ctx, l.goTicker, "./e2e/programs/goticker"); err != nil {
		return err
	}
	_, _, err := run(ctx, []string{
		"cc", "-O2", "-Wall", "-Wextra", "-pthread", "-o", l.ticker,
		filepath.Join(programs, "ticker", "ticker.c"),
	})
	if err != nil {
		return fmt.Errorf("compiling the ticker (gcc is needed): %w", err)
	}
	return nil
}

func (l *Lab) goBuild(ctx context.Context, output, pkg string) error {
	_, _, err := run(ctx, []string{"go", "build", "-C", l.root, "-o", output, pkg}, "CGO_ENABLED=0")
	if err != nil {
		return fmt.Errorf("building %s: %w", pkg, err)
	}
	return nil
}

// findCRIU returns the CRIU to use: $CRTIME_CRIU, crtime's own cache, PATH.
func findCRIU() (string, error) {
	if path := os.Getenv("CRTIME_CRIU"); path != "" {
		return path, nil
	}
	cache := os.Getenv("CRTIME_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("finding the cache: %w", err)
		}
		cache = filepath.Join(user, "crtime", "criu")
	}
	path := filepath.Join(cache, "current", "criu")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return find("criu")
}

// find returns the first of the given programs that is here. Paths are looked
// at as they are, names in PATH and where Debian keeps daemons.
func find(names ...string) (string, error) {
	for _, name := range names {
		for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", strings.Join(names, " or "), ErrMissing)
}
