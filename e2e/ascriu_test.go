// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/harness"
)

// asCRIU is a link named criu that leads to crtime.
type asCRIU struct {
	*harness.Case
	path  string
	files []*os.File // That each command gets, under the numbers from 3 on.
}

// newAsCRIU makes the link.
func newAsCRIU(c *harness.Case) *asCRIU {
	c.Helper()
	dir := c.Path("bin")
	c.Check(os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "criu")
	c.Check(os.Symlink(c.Crtime.Path, path))
	return &asCRIU{Case: c, path: path}
}

// environment is what such a command needs.
func (a *asCRIU) environment() []string {
	return append(os.Environ(), "CRTIME_ENGINE="+a.Crtime.Engine, "CRTIME_CRIU="+a.CRIU.Path)
}

// run runs a command line of CRIU's.
func (a *asCRIU) run(args ...string) (string, error) {
	cmd := exec.CommandContext(a.Context, a.path, args...)
	cmd.Env, cmd.ExtraFiles = a.environment(), a.files
	// A restored tree may keep standard output open: no pipe.
	out, err := os.CreateTemp("", "criu-*")
	a.Check(err)
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	text, readErr := os.ReadFile(out.Name())
	a.Check(readErr)
	return string(text), err
}

// TestCalledAsCRIU is the main job with CRIU's command line.
func TestCalledAsCRIU(t *testing.T) {
	eachEngine(t, func(c *harness.Case) {
		criu, images := newAsCRIU(c), c.Path("images")
		c.Check(os.Mkdir(images, 0o700))
		ticker := c.Start(c.Ticker())
		if out, err := criu.run("dump", "-t", fmt.Sprint(ticker.PID), "-D", images, "-v4", "-o", "dump.log"); err != nil || out != "" {
			c.Fatalf("dump: %v\n%s", err, out)
		}
		c.Check(ticker.Reap(c.Context))
		time.Sleep(time.Second)
		pidFile := c.Path("pid")
		if out, err := criu.run("restore", "-dD", images, "-o", "restore.log", "--pidfile", pidFile, "--no-shell-job"); err != nil {
			c.Fatalf("restore: %v\n%s", err, out)
		}
		c.WaitRecords(ticker, 30)
		if off := oneOutage(c, ticker).BoottimeError(); off.Abs() > 5*time.Millisecond {
			c.Errorf("CLOCK_BOOTTIME is off by %v", off)
		}
		pid, err := os.ReadFile(pidFile)
		c.Check(err)
		if strings.TrimSpace(string(pid)) != fmt.Sprint(ticker.PID) {
			c.Errorf("the pid file holds %q, the root is %d", pid, ticker.PID)
		}
		for _, log := range []string{"dump.log", "restore.log"} {
			if _, err := os.Stat(filepath.Join(images, log)); err != nil {
				c.Error(err)
			}
		}
	})
}

// TestCalledAsCRIUWaits restores without -d: CRIU stays until the root has ended.
func TestCalledAsCRIUWaits(t *testing.T) {
	eachEngine(t, func(c *harness.Case) {
		criu, images := newAsCRIU(c), c.Path("images")
		c.Check(os.Mkdir(images, 0o700))
		sleeper := c.StartSilent(harness.Program{Name: "sleep", Argv: []string{"sleep", "2"}})
		if out, err := criu.run("dump", "-t", fmt.Sprint(sleeper.PID), "-D", images, "-o", "dump.log"); err != nil {
			c.Fatalf("dump: %v\n%s", err, out)
		}
		c.Check(sleeper.Reap(c.Context))
		if out, err := criu.run("restore", "-D", images, "-o", "restore.log"); err != nil {
			c.Fatalf("restore: %v\n%s", err, out)
		}
		if len(sleeper.PIDs()) > 0 {
			c.Errorf("the command ended before the tree, which is %s", sleeper.State())
		}
	})
}

// TestCalledAsCRIUOtherwise has the rest done by CRIU itself.
func TestCalledAsCRIUOtherwise(t *testing.T) {
	c := newCase(t)
	criu := newAsCRIU(c)
	for args, want := range map[string]string{
		"--version": "Version: 4.2\n",
		"-V":        "Version: 4.2\n",
		"check --no-default-config -verbosity=0 --feature timens": "timens is supported",
		"check": "Looks good",
	} {
		if out, err := criu.run(strings.Fields(args)...); err != nil || !strings.Contains(out, want) {
			c.Errorf("criu %s: %v\n%s\nwant %q", args, err, out, want)
		}
	}
	for args, want := range map[string]string{
		"dump -t 1 --frobnicate":      "--frobnicate",
		"dump -t 4194303 -D /nowhere": "/nowhere",
		"restore -D " + c.Folder:      "crtime-manifest.txt",
	} {
		if out, err := criu.run(strings.Fields(args)...); err == nil || !strings.Contains(out, want) {
			c.Errorf("criu %s: %v\n%s\nwant an error with %q", args, err, out, want)
		}
	}
}
