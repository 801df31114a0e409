// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// EnvPath names the variable that says where CRIU is.
const EnvPath = "CRTIME_CRIU"

// Oldest is the first release of CRIU that this engine works with: 4.2 is the
// first to dump TCP sockets on kernels that refuse SO_PASSCRED for them.
func Oldest() Version { return Version{4, 2, 0} }

var (
	// ErrNotFound says that there is no CRIU on this machine.
	ErrNotFound = errors.New("no criu found")
	// ErrTooOld says that the CRIU that was found is older than [Oldest].
	ErrTooOld = errors.New("criu is too old")
)

// Version is a release of CRIU.
type Version struct{ Major, Minor, Patch int }

// String returns the version as CRIU writes it.
func (v Version) String() string {
	if v.Patch == 0 {
		return fmt.Sprintf("%d.%d", v.Major, v.Minor)
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// Before reports whether v is an earlier release than w.
func (v Version) Before(w Version) bool {
	if v.Major != w.Major {
		return v.Major < w.Major
	}
	if v.Minor != w.Minor {
		return v.Minor < w.Minor
	}
	return v.Patch < w.Patch
}

// Binary is a CRIU that was found and answered.
type Binary struct {
	Path    string // Absolute.
	Version Version
}

// Candidates lists the paths at which Find looks, in its order: the system's
// CRIU, then the one that `make criu` has put into the private cache. A path
// that the user gave, as explicit or by EnvPath, is the only candidate.
func Candidates(explicit string) []string {
	if given := givenPath(explicit); given != "" {
		return []string{given}
	}
	var paths []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		// More than one: the first may be a link to crtime, which stands for CRIU then.
		if system, err := exec.LookPath(filepath.Join(dir, "criu")); err == nil {
			paths = append(paths, system)
		}
	}
	if cache := cacheDir(); cache != "" {
		paths = append(paths, filepath.Join(cache, "criu", "current", "criu"))
	}
	return paths
}

// givenPath is the path that the user gave; "" if none.
func givenPath(explicit string) string {
	if explicit != "" {
		return explicit
	}
	return os.Getenv(EnvPath)
}

// cacheDir is the project's private cache, where `make criu` puts a CRIU.
func cacheDir() string {
	if dir := os.Getenv("CRTIME_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "crtime")
}

// Find returns the first candidate that runs and is not older than Oldest. The
// error is ErrNotFound or ErrTooOld.
func Find(ctx context.Context, explicit string) (Binary, error) {
	var old error
	for _, path := range Candidates(explicit) {
		v, err := knownVersion(ctx, path)
		if err != nil {
			if givenPath(explicit) != "" {
				return Binary{}, fmt.Errorf("%w at %s: %w", ErrNotFound, path, err)
			}
			continue
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return Binary{}, fmt.Errorf("criu at %s: %w", path, err)
		}
		if v.Before(Oldest()) {
			old = fmt.Errorf("%w: %s is %s, crtime needs %s or later: install it, or run `make criu` in crtime's sources",
				ErrTooOld, abs, v, Oldest())
			continue
		}
		return Binary{Path: abs, Version: v}, nil
	}
	if old != nil {
		return Binary{}, old
	}
	return Binary{}, fmt.Errorf("%w: install CRIU %s or later, run `make criu` in crtime's sources, or name one with --criu or %s",
		ErrNotFound, Oldest(), EnvPath)
}

// versionLine is what `criu --version` prints first.
var versionLine = regexp.MustCompile(`(?m)^Version: (\d+)\.(\d+)(?:\.(\d+))?`)

// readVersion asks the program at path who it is.
func readVersion(ctx context.Context, path string) (Version, error) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return Version{}, fmt.Errorf("run %s --version: %w", path, err)
	}
	return parseVersion(out)
}

// Pretender is what crtime adds to the version when it is called as criu.
const Pretender = "crtime"

// parseVersion reads the output of `criu --version`.
func parseVersion(out []byte) (Version, error) {
	if bytes.Contains(out, []byte(Pretender)) {
		return Version{}, errors.New("it is crtime, called as criu")
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return Version{}, errors.New("it does not print a version of CRIU's")
	}
	var n [3]int
	for i := range n {
		if len(m[i+1]) == 0 {
			continue
		}
		var err error
		if n[i], err = strconv.Atoi(string(m[i+1])); err != nil {
			return Version{}, fmt.Errorf("version of CRIU: %w", err)
		}
	}
	return Version{n[0], n[1], n[2]}, nil
}

// Check runs `criu check` and returns what it printed.
func (b Binary) Check(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, b.Path, "check").CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s check: %w", b.Path, err)
	}
	return string(out), nil
}

// HasFeature asks `criu check --feature` about one feature.
func (b Binary) HasFeature(ctx context.Context, name string) bool {
	return exec.CommandContext(ctx, b.Path, "check", "--feature", name).Run() == nil
}
