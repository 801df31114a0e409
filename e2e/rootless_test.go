// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// somebody is an ordinary user.
const somebody = 1234

// TestRootless has an ordinary user start a program with 'crtime run', dump and restore
// it, and both again from the restored one. Its clocks are as right as root's would be,
// but for the jump: he has no right to a processor at once.
func TestRootless(t *testing.T) {
	c := newCase(t)
	log := startRootless(c, c.Ticker("-t", "2", "-v", "20", "-f", "10"))
	const generations = 2
	var restored []harness.RestoreResult
	for i := range generations {
		images := log.path(fmt.Sprintf("images%d", i))
		pid := log.ticker()
		if _, err := log.user.Dump(c.Context, pid, images); err != nil {
			log.lacking(err)
		}
		log.ended()
		time.Sleep(500 * time.Millisecond)
		r, err := log.user.Restore(c.Context, images)
		c.Check(err)
		if !r.Kept {
			c.Errorf("a promise was not kept: %+v", r.Clocks)
		}
		restored = append(restored, r)
		pid = log.ticker()
		if _, err := log.user.Run(c.Context, "verify", strconv.Itoa(pid), images); err != nil {
			c.Errorf("verify: %v", err)
		}
		for _, args := range [][]string{{"cat", "/proc/uptime"}, {"--", "sh", "-c", "cat $1", "--", "/proc/uptime"}} {
			out, err := log.user.Run(c.Context, append([]string{"exec", "-t", strconv.Itoa(pid)}, args...)...)
			if len(strings.Fields(string(out))) != 2 {
				c.Errorf("exec %v printed %q: %v", args, out, err)
			}
		}
		log.grows(30)
		if caps := capabilitiesOf(c, pid); caps != "0000000000000000" {
			c.Errorf("the program has the capabilities %s", caps)
		}
	}
	c.Check(unix.Kill(log.ticker(), unix.SIGKILL))
	log.ended()
	read := log.read()
	if back, complaints := read.Backward(), read.Complaints(); len(back)+len(complaints) > 0 {
		c.Errorf("%v, %v", back, complaints)
	}
	c.Check(read.Complete())
	steps, err := read.Outages(generations)
	c.Check(err)
	for i, step := range steps {
		stood(c, step, clocklog.Monotonic, restored[i])
		followed(c, step, clocklog.Boottime, restored[i])
	}
}

// TestRootlessStatus has crtime run end as the program does.
func TestRootlessStatus(t *testing.T) {
	c := newCase(t)
	for command, want := range map[string]int{"exit 7": 7, "kill -9 $$": 137, "(sleep 0.2; exit 1) & exit 3": 3} {
		user := asUser(c)
		_, err := user.Run(c.Context, "run", "--", "sh", "-c", command)
		if got := harness.CodeOf(err); got != want {
			c.Errorf("%s: status %d, want %d: %v", command, got, want, err)
		}
	}
	_, err := asUser(c).Run(c.Context, "run", "--", "/nonexistent/program")
	refused(c, err, exitFailed, "/nonexistent/program")
	_, err = asUser(c).Run(c.Context, "run")
	refused(c, err, exitUsage, "command")
}

// rootless is a program that an ordinary user has started.
type rootless struct {
	*harness.Case
	user harness.Crtime
	tree *harness.Tree
}

// asUser is crtime, run by an ordinary user.
func asUser(c *harness.Case) harness.Crtime {
	user := c.Crtime
	id := strconv.Itoa(somebody)
	user.Prefix = []string{"setpriv", "--reuid", id, "--regid", id, "--groups", "4,27," + id, "--"}
	return user
}

// startRootless starts a program with crtime run.
func startRootless(c *harness.Case, program harness.Program) *rootless {
	c.Helper()
	c.Check(os.Mkdir(c.Path("user"), 0o700))
	c.Check(os.Chown(c.Path("user"), somebody, somebody))
	r := &rootless{Case: c, user: asUser(c)}
	// What is open is opened again by its name: it must be the user's.
	const toFile = `exec "$@" >"$0" 2>&1`
	program.Argv = slices.Concat(r.user.Prefix, []string{c.Crtime.Path, "run", "--", "sh", "-c", toFile, r.path("out")}, program.Argv)
	r.tree = c.StartSilent(program)
	c.Cleanup(r.end)
	for !strings.Contains(r.text(), "clk ") {
		time.Sleep(10 * time.Millisecond)
		if !r.tree.Alive() || c.Context.Err() != nil {
			said, _ := os.ReadFile(r.tree.Output)
			r.lacking(fmt.Errorf("crtime run: %s", said))
		}
	}
	r.grows(30)
	return r
}

// lacking ends the test: with a skip where users may have no namespaces.
func (r *rootless) lacking(err error) {
	r.Helper()
	if strings.Contains(err.Error(), "cannot have namespaces of his own") {
		r.Skipf("users may have no namespaces here: %v", err)
	}
	r.Fatal(err)
}

// path is a file of the user's own.
func (r *rootless) path(name string) string { return r.Folder + "/user/" + name }

// text is what the program has printed.
func (r *rootless) text() string {
	text, _ := os.ReadFile(r.path("out")) // It may not be there yet.
	return string(text)
}

func (r *rootless) read() clocklog.Log {
	r.Helper()
	log, err := clocklog.ParseBytes([]byte(r.text()))
	r.Check(err)
	return log
}

// grows waits for more records.
func (r *rootless) grows(more int) {
	r.Helper()
	for first := len(r.read().Records); len(r.read().Records) < first+more; time.Sleep(5 * time.Millisecond) {
		if r.Context.Err() != nil {
			r.Fatal("the program prints no records any more")
		}
	}
}

// ticker is the number of the program, as everybody sees it; it is below this process.
func (r *rootless) ticker() int {
	r.Helper()
	for _, pid := range harness.Descendants() {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(name) == "ticker\n" {
			return pid
		}
	}
	r.Fatal("there is no ticker")
	return 0
}

// ended waits until all is over, the keeper included.
func (r *rootless) ended() {
	r.Helper()
	r.Settle()
	for len(r.leftOver()) > 0 && r.Context.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
}

// leftOver are the processes of the user.
func (r *rootless) leftOver() []int {
	var pids []int
	for _, pid := range harness.Descendants() {
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d", pid), &st) == nil && st.Uid == somebody {
			pids = append(pids, pid)
		}
		var ws unix.WaitStatus
		_, _ = unix.Wait4(pid, &ws, unix.WNOHANG, nil) // A keeper that crtime has left to us.
	}
	return pids
}

// end kills what is still there.
func (r *rootless) end() {
	for _, pid := range r.leftOver() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	r.ended()
}

func capabilitiesOf(c *harness.Case, pid int) string {
	c.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	c.Check(err)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
