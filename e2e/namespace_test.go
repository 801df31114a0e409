// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
func TestTreeInNamespace(t *testing.T) { eachEngine(t, testTreeInNamespace) }

func testTreeInNamespace(c *harness.Case) {
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
func TestCrtimeInNamespace(t *testing.T) { eachEngine(t, testCrtimeInNamespace) }

func testCrtimeInNamespace(c *harness.Case) {
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

// TestSessionLedFromOutside dumps and restores a program in a pid namespace whose
// session is led from outside, as in a container that was entered. The kernel calls
// that session 0, so it cannot be given back by its number.
func TestSessionLedFromOutside(t *testing.T) {
	const script = `
"$2" > "$3/log" 2>&1 & pid=$!
sleep 0.2
cut -d' ' -f5,6 /proc/$pid/stat
"$1" dump --engine native -t $pid -D "$3/images" >&2 || exit
wait $pid
"$1" restore --engine native -d -D "$3/images" >&2 || exit
sleep 0.2
cut -d' ' -f5,6 /proc/$pid/stat`
	c, folder := newCase(t), t.TempDir()
	cmd := exec.CommandContext(t.Context(), "unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", script, "sh", c.Crtime.Path, c.Ticker().Argv[0], folder)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	var group, session, groupNow, sessionNow int
	if _, errScan := fmt.Sscan(string(out), &group, &session, &groupNow, &sessionNow); err != nil || errScan != nil {
		t.Fatalf("%v, printed %q: %s", err, out, &said)
	}
	if group != 0 || session != 0 || groupNow <= 0 || sessionNow != groupNow {
		t.Errorf("group %d and session %d became %d and %d", group, session, groupNow, sessionNow)
	}
	text, err := os.ReadFile(filepath.Join(folder, "log"))
	c.Check(err)
	log, err := clocklog.ParseBytes(text)
	c.Check(err)
	steps, err := log.Outages(1)
	if back := log.Backward(); err != nil || len(back) > 0 {
		t.Errorf("%v, %v, clocks went backward: %v", steps, err, back)
	}
}

// TestVerifyAndExec asks the restored tree's clocks through crtime.
func TestVerifyAndExec(t *testing.T) { eachEngine(t, testVerifyAndExec) }

func testVerifyAndExec(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	c.Dump(ticker, images)
	time.Sleep(300 * time.Millisecond)
	c.Restore(ticker, images)
	c.WaitRecords(ticker, 30)
	pid := fmt.Sprint(ticker.PID)
	if _, err := c.Crtime.Run(c.Context, "verify", pid, images); err != nil {
		c.Errorf("verify: %v", err)
	}
	out, err := c.Crtime.Run(c.Context, "exec", "-t", pid, "--", "cat", "/proc/uptime")
	c.Check(err)
	seconds, err := strconv.ParseFloat(strings.Fields(string(out))[0], 64)
	c.Check(err)
	log := c.GoodLog(ticker)
	last := float64(log.Records[len(log.Records)-1].At[clocklog.Boottime]) / 1e9
	if off := seconds - last; off < -1 || off > 1 {
		c.Errorf("exec sees an uptime of %v s, the program a CLOCK_BOOTTIME of %v s", seconds, last)
	}
}
