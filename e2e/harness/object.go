// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Object is one of the programs of e2e/objects. It is compiled when it is first
// asked for.
func (l *Lab) Object(ctx context.Context, name string) (Program, error) {
	return l.compiled(ctx, name, filepath.Join(l.root, "e2e", "objects", name+".c"))
}

// StaticTicker is the path of a ticker that needs no library, for a root file system of
// its own.
func (l *Lab) StaticTicker(ctx context.Context) (string, error) {
	path := filepath.Join(l.Dir, "bin", "static-ticker")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	_, _, err := run(ctx, []string{"cc", "-O2", "-static", "-pthread", "-o", path, filepath.Join(l.program("ticker"), "ticker.c")})
	if err != nil {
		return "", fmt.Errorf("compiling the ticker (gcc is needed): %w", err)
	}
	return path, nil
}

// Find returns the first of the given programs that is here. The error is ErrMissing.
func (*Lab) Find(names ...string) (string, error) { return find(names...) }

// compiled is a C program of one source, compiled unless it already is.
func (l *Lab) compiled(ctx context.Context, name, source string, args ...string) (Program, error) {
	path := filepath.Join(l.Dir, "bin", "objects", name)
	program := Program{Name: name, Argv: append([]string{path}, args...)}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return program, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return program, fmt.Errorf("folder for compiled programs: %w", err)
	}
	_, _, err := run(ctx, []string{
		"cc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", path, source, "-lm",
	})
	if err != nil {
		return program, fmt.Errorf("compiling %s (gcc is needed): %w", source, err)
	}
	return program, nil
}

// Objects lists the names of all programs of e2e/objects.
func (l *Lab) Objects() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(l.root, "e2e", "objects", "*.c"))
	if err != nil {
		return nil, fmt.Errorf("listing objects: %w", err)
	}
	for i, path := range found {
		found[i] = filepath.Base(path[:len(path)-len(".c")])
	}
	return found, nil
}
