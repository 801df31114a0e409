// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// unshareTime makes a command run in a time namespace, through util-linux.
func unshareTime(argv []string, monotonic, boottime time.Duration) []string {
	return append([]string{
		"unshare", "--time", "--monotonic", fmt.Sprint(int64(monotonic.Seconds())),
		"--boottime", fmt.Sprint(int64(boottime.Seconds())), "--",
	}, argv...)
}

// TestTreeInNamespace dumps a tree that already lives in a time namespace.
func TestTreeInNamespace(t *testing.T) {
	c := newCase(t)
	program := c.Ticker()
	program.Argv = unshareTime(program.Argv, 1000*time.Hour, 5000*time.Hour)
	ticker := c.Start(program)
	inside(c, ticker, 1000*time.Hour)
	_, r := cycle(c, ticker, 500*time.Millisecond)
	step := oneOutage(c, ticker)
	stood(c, step, clocklog.Monotonic, r)
	followed(c, step, clocklog.Boottime, r)
	inside(c, ticker, 1000*time.Hour)
}

// inside fails the test if the program's CLOCK_MONOTONIC is not that far ahead
// of its host's, or a minute more.
func inside(c *harness.Case, t *harness.Tree, ahead time.Duration) {
	c.Helper()
	log := c.GoodLog(t)
	last := log.Records[len(log.Records)-1]
	if now := time.Duration(last.At[clocklog.Monotonic]); now < ahead {
		c.Fatalf("the program reads %v on CLOCK_MONOTONIC, less than the %v of its namespace", now, ahead)
	}
}

// TestCrtimeInNamespace runs crtime itself in time namespaces: one for the
// dump, another one for the restore. What it does must not depend on them.
func TestCrtimeInNamespace(t *testing.T) {
	c := newCase(t)
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	in := c.Crtime
	in.Prefix = unshareTime(nil, 300*time.Hour, 400*time.Hour)
	ticker.PIDs()
	_, err := in.Dump(c.Context, ticker.PID, images)
	c.Check(err)
	c.Check(ticker.Reap(c.Context))
	time.Sleep(500 * time.Millisecond)
	in.Prefix = unshareTime(nil, 7*time.Hour, 9000*time.Hour)
	r, err := in.Restore(c.Context, images)
	c.Check(err)
	c.WaitRecords(ticker, 30)
	step := oneOutage(c, ticker)
	stood(c, step, clocklog.Monotonic, r)
	followed(c, step, clocklog.Boottime, r)
}

// TestTreeInTwoNamespaces dumps a tree whose root lives in one time namespace
// and whose child in another, which CRIU cannot represent. That must be said,
// and the tree goes on.
func TestTreeInTwoNamespaces(t *testing.T) {
	c := newCase(t)
	program := c.Ticker()
	program.Argv = append([]string{"unshare", "--time", "--fork", "--monotonic", "1000", "--"}, program.Argv...)
	tree := c.Start(program)
	_, err := c.Crtime.Dump(c.Context, tree.PID, c.Folder+"/images")
	refused(c, err, harness.CodeOf(err), "different time namespaces")
	c.WaitRecords(tree, 30)
	c.GoodLog(tree)
}

// TestVerifyAndExec asks the restored tree's clocks through crtime.
func TestVerifyAndExec(t *testing.T) {
	c := newCase(t)
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	c.Dump(ticker, images)
	time.Sleep(300 * time.Millisecond)
	c.Restore(ticker, images)
	c.WaitRecords(ticker, 30)
	pid := fmt.Sprint(ticker.PID)
	if _, err := c.Crtime.Run(c.Context, "verify", pid, images); err != nil {
		t.Errorf("verify: %v", err)
	}
	out, err := c.Crtime.Run(c.Context, "exec", "-t", pid, "--", "cat", "/proc/uptime")
	c.Check(err)
	seconds, err := strconv.ParseFloat(strings.Fields(string(out))[0], 64)
	c.Check(err)
	log := c.GoodLog(ticker)
	last := float64(log.Records[len(log.Records)-1].At[clocklog.Boottime]) / 1e9
	if off := seconds - last; off < -1 || off > 1 {
		t.Errorf("exec sees an uptime of %v s, the program a CLOCK_BOOTTIME of %v s", seconds, last)
	}
}
