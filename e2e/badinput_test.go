// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/harness"
)

// The exit codes of crtime that the tests expect.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnsupported = 3
	exitImages      = 4
	exitProcess     = 5
	exitPromise     = 6
)

// refused fails the test unless a command ended with a status and said each of
// the words.
func refused(c *harness.Case, err error, code int, words ...string) {
	c.Helper()
	var failed *harness.CommandError
	if !errors.As(err, &failed) {
		c.Errorf("the command gave %v, want status %d", err, code)
		return
	}
	if failed.Code != code {
		c.Errorf("status %d, want %d: %s", failed.Code, code, failed.Stderr)
	}
	for _, word := range words {
		if !strings.Contains(strings.ToLower(failed.Stderr), strings.ToLower(word)) {
			c.Errorf("the error does not say %q: %s", word, failed.Stderr)
		}
	}
}

// TestDumpRefuses covers what cannot be dumped. Nothing may be written.
func TestDumpRefuses(t *testing.T) {
	tests := []struct {
		name  string
		args  func(c *harness.Case, images string) []string
		code  int
		words []string
	}{
		{"no such process", func(_ *harness.Case, images string) []string {
			return []string{"dump", "-t", "4194305", "-D", images}
		}, exitProcess, []string{"4194305"}},
		{"kernel thread", func(_ *harness.Case, images string) []string {
			return []string{"dump", "-t", "2", "-D", images}
		}, exitProcess, []string{"kernel thread", "kthreadd"}},
		{"pid zero", func(_ *harness.Case, images string) []string {
			return []string{"dump", "-t", "0", "-D", images}
		}, exitUsage, nil},
		{"no pid", func(_ *harness.Case, images string) []string {
			return []string{"dump", "-D", images}
		}, exitUsage, []string{"tree"}},
		{"no directory", func(c *harness.Case, _ string) []string {
			return []string{"dump", "-t", fmt.Sprint(c.Start(c.Ticker()).PID)}
		}, exitUsage, []string{"images-dir"}},
		{"its own parent", func(_ *harness.Case, images string) []string {
			return []string{"dump", "-t", fmt.Sprint(os.Getpid()), "-D", images}
		}, exitProcess, []string{"itself"}},
		{"two ways with TCP", func(c *harness.Case, images string) []string {
			return []string{"dump", "-t", fmt.Sprint(c.Start(c.Ticker()).PID), "-D", images, "--tcp-established", "--tcp-close"}
		}, exitUsage, []string{"tcp-close"}},
		{"no CRIU", func(c *harness.Case, images string) []string {
			return []string{"dump", "-t", fmt.Sprint(c.Start(c.Ticker()).PID), "-D", images, "--engine", "criu", "--criu", "/nonexistent/criu"}
		}, exitUnsupported, []string{"criu"}},
		{"parent directory missing", func(c *harness.Case, images string) []string {
			return []string{"dump", "-t", fmt.Sprint(c.Start(c.Ticker()).PID), "-D", images + "/deeper"}
		}, exitFailed, []string{"images"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if name, _ := os.ReadFile("/proc/2/comm"); test.name == "kernel thread" && string(name) != "kthreadd\n" {
				t.Skip("this pid namespace has no kernel threads")
			}
			c := newCase(t)
			images := c.Folder + "/images" // Not named as known: it must not appear.
			_, err := c.Crtime.Run(c.Context, test.args(c, images)...)
			refused(c, err, test.code, test.words...)
		})
	}
}

// TestDumpRefusesItself runs crtime in place of a shell, whose number it keeps.
func TestDumpRefusesItself(t *testing.T) {
	c := newCase(t)
	in := c.Crtime
	in.Prefix = []string{"sh", "-c", `exec "$0" "$@" -t $$`}
	_, err := in.Run(c.Context, "dump", "-D", c.Folder+"/images")
	refused(c, err, exitProcess, "crtime itself")
}

// TestDumpDirectory refuses to write where something lies, and takes an empty
// directory.
func TestDumpDirectory(t *testing.T) {
	c := newCase(t)
	ticker := c.Start(c.Ticker())
	full, empty := c.Path("full"), c.Path("empty")
	c.Check(errors.Join(os.Mkdir(full, 0o700), os.Mkdir(empty, 0o700), os.WriteFile(full+"/letter", nil, 0o600)))
	_, err := c.Crtime.Dump(c.Context, ticker.PID, full)
	refused(c, err, exitFailed, "not empty", "letter")
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
	if entries, err := os.ReadDir(full); err != nil || len(entries) != 1 {
		t.Errorf("the directory now holds %v, %v", entries, err)
	}
	c.Dump(ticker, empty)
	c.Restore(ticker, empty)
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
}

// TestImagesArePrivate checks the modes: images hold memory, keys included.
func TestImagesArePrivate(t *testing.T) { eachEngine(t, testImagesArePrivate) }

func testImagesArePrivate(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	c.Dump(ticker, images)
	entries, err := os.ReadDir(images)
	c.Check(err)
	for _, e := range entries {
		info, err := e.Info()
		c.Check(err)
		if mode := info.Mode().Perm(); mode != 0o600 {
			c.Errorf("%s has mode %o, want 600", e.Name(), mode)
		}
	}
	info, err := os.Stat(images)
	c.Check(err)
	if mode := info.Mode().Perm(); mode != 0o700 {
		c.Errorf("the directory has mode %o, want 700", mode)
	}
}

// TestPIDTaken restores while the dumped program still runs, which must be said
// with its name, and while it has ended but nobody has taken notice, which is
// waited for.
func TestPIDTaken(t *testing.T) { eachEngine(t, testPIDTaken) }

func testPIDTaken(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	live, dead := c.Path("live"), c.Path("dead")
	_, err := c.Crtime.Dump(c.Context, ticker.PID, live, "-R")
	c.Check(err)
	_, err = c.Crtime.Restore(c.Context, live)
	refused(c, err, exitProcess, fmt.Sprint(ticker.PID), "ticker")
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)

	_, err = c.Crtime.Dump(c.Context, ticker.PID, dead)
	c.Check(err)
	reaped := make(chan error, 1)
	go func() {
		time.Sleep(300 * time.Millisecond)
		reaped <- ticker.Reap(c.Context)
	}()
	_, err = c.Crtime.Restore(c.Context, dead)
	c.Check(errors.Join(err, <-reaped))
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
}

// TestRestoreRefuses covers directories that hold no images.
func TestRestoreRefuses(t *testing.T) {
	c := newCase(t)
	empty := c.Path("empty")
	c.Check(os.Mkdir(empty, 0o700))
	_, err := c.Crtime.Restore(c.Context, empty)
	refused(c, err, exitImages, "empty")
	_, err = c.Crtime.Restore(c.Context, c.Folder+"/missing")
	if code := harness.CodeOf(err); code != exitFailed && code != exitImages {
		t.Errorf("a missing directory gave status %d: %v", code, err)
	}
	_, err = c.Crtime.Restore(c.Context, empty, "--policy", "yesterday")
	refused(c, err, exitUsage, "suspend", "freeze", "elapsed", "host")
}
