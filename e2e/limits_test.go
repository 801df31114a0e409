// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
)

// nobody is a user that is not root.
const nobody = 65534

// TestOtherUser dumps a program of another user. Without CAP_SYS_RESOURCE CRIU
// cannot read its limits, and crtime must say that rather than repeat CRIU; the
// program goes on. With it, the dump works, as it does with crtime's own engine.
func TestOtherUser(t *testing.T) { eachEngine(t, testOtherUser) }

func testOtherUser(c *harness.Case) {
	program := c.Ticker()
	program.UID = nobody
	ticker := c.Start(program)
	checkOtherUser(c, ticker, 20)
}

// TestUnsavable has the job decide about something that neither engine can save. To
// take the one that does not notice would lose it.
func TestUnsavable(t *testing.T) {
	c := newCase(t)
	const watch = "import fcntl, os, signal, time; signal.signal(signal.SIGIO, signal.SIG_IGN); " +
		"fcntl.fcntl(os.open('.', os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_CREATE | fcntl.DN_MULTISHOT); " +
		"open('ready', 'w').close(); time.sleep(1000)"
	tree := c.StartSilent(harness.Program{Name: "python3", Argv: []string{"python3", "-c", watch}})
	for _, err := os.Stat(c.Path("ready")); err != nil && c.Context.Err() == nil; _, err = os.Stat(c.Path("ready")) {
		time.Sleep(10 * time.Millisecond)
	}
	_, err := c.Crtime.Dump(c.Context, tree.PID, c.Path("images"))
	refused(c, err, exitUnsupported, "F_NOTIFY", "--engine criu")
	if len(tree.PIDs()) != 1 {
		c.Error("the program does not run any more")
	}
}

// TestPostgres does as TestOtherUser with a database and a client that is connected to
// it: postgres refuses to run as root.
func TestPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("slow to start; left out with -short")
	}
	c := newCase(t)
	c.UseEngine(engineCRIU) // A server and its clients are connected.
	bin := postgresFolder(c)
	data := c.Path("data")
	c.Check(os.Mkdir(data, 0o700))
	c.Check(os.Chown(data, nobody, nobody))
	initdb := exec.CommandContext(c.Context, filepath.Join(bin, "initdb"), "-D", data, "-U", "test", "-A", "trust", "--no-sync")
	initdb.Dir = data
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	port := freePort(c)
	server := c.StartSilent(harness.Program{
		Name: "postgres", UID: nobody, Dir: data,
		Argv: []string{
			filepath.Join(bin, "postgres"), "-D", data, "-p", fmt.Sprint(port),
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			// Its processes come and go.
			"-c", "autovacuum=off",
		},
		Flags: []string{"--tcp-established"},
	})
	awaitPort(c, port)
	client := newPsql(c, filepath.Join(bin, "psql"), port)
	client.expect("select 6*7;", "42")
	checkOtherUser(c, server, 0)
	client.expect("select 7*7;", "49")
}

// checkOtherUser dumps a tree of another user, and expects what this machine's
// root can do. Afterwards the tree runs, whichever way.
func checkOtherUser(c *harness.Case, t *harness.Tree, records int) {
	c.Helper()
	images := c.Path("images")
	if haveSysResource(c) || c.Crtime.Engine == engineNative {
		c.Dump(t, images)
		c.Restore(t, images)
	} else {
		before := len(t.PIDs())
		_, err := c.Crtime.Dump(c.Context, t.PID, images, t.Flags...)
		code := harness.CodeOf(err)
		if code != exitFailed && code != exitUnsupported {
			c.Errorf("status %d", code)
		}
		refused(c, err, code, "CAP_SYS_RESOURCE")
		if after := len(t.PIDs()); after != before {
			c.Errorf("%d processes run after the failed dump, %d did before", after, before)
		}
		c.Logf("refused as it should be: %v", err)
	}
	if records > 0 {
		c.WaitRecords(t, records)
		c.GoodLog(t)
	}
}

// haveSysResource looks at this process's own capabilities.
func haveSysResource(c *harness.Case) bool {
	c.Helper()
	status, err := os.ReadFile("/proc/self/status")
	c.Check(err)
	for line := range strings.Lines(string(status)) {
		if set, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			c.Check(err)
			return bits&(1<<unix.CAP_SYS_RESOURCE) != 0
		}
	}
	return false
}

// postgresFolder finds the programs where Debian puts them, or in PATH.
func postgresFolder(c *harness.Case) string {
	c.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	c.Check(err)
	if len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		c.Need(fmt.Errorf("postgres: %w", harness.ErrMissing))
	}
	path, err = filepath.EvalSymlinks(path)
	c.Check(err)
	return filepath.Dir(path)
}

// TestGoListener meets the default of Go's net package: its listeners are
// MPTCP, which CRIU refuses. crtime must name the way out, which must work.
func TestGoListener(t *testing.T) {
	c := newCase(t)
	program := c.GoTicker()
	program.Argv = append(program.Argv, "-listen", "127.0.0.1:0")
	program.Env = []string{"GODEBUG=multipathtcp=1"}
	server := c.Start(program)
	_, err := c.Crtime.Dump(c.Context, server.PID, c.Path("images"))
	if err == nil {
		t.Fatal("CRIU now dumps MPTCP sockets: take this limit out of the documentation")
	}
	refused(c, err, harness.CodeOf(err), "multipathtcp=0")
	t.Logf("refused as it should be: %v", err)
	c.WaitRecords(server, 30)
	c.GoodLog(server)
	c.Check(server.Kill())

	program.Name, program.Env = "goticker-tcp", []string{"GODEBUG=multipathtcp=0"}
	server = c.Start(program)
	cycle(c, server, 100*time.Millisecond)
	c.GoodLog(server)
}

// TestMemoryTracking asks for incremental dumps, which need a kernel that
// tracks written memory. They either work or are refused with that reason.
func TestMemoryTracking(t *testing.T) {
	c := newCase(t)
	ticker := c.Start(c.Ticker("-m", "8"))
	first, second := c.Path("first"), c.Path("second")
	_, err := c.Crtime.Run(c.Context, "pre-dump", "-t", fmt.Sprint(ticker.PID), "-D", first, "--track-mem")
	if err != nil {
		refused(c, err, exitUnsupported, "CONFIG_MEM_SOFT_DIRTY")
		t.Logf("refused as it should be: %v", err)
		c.WaitRecords(ticker, 30)
		c.GoodLog(ticker)
		return
	}
	c.Dump(ticker, second, "--track-mem", "--prev-images-dir", "../first")
	c.Restore(ticker, second)
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
}

// TestCheckNamesTheLimits asks crtime check for what the tests above met.
func TestCheckNamesTheLimits(t *testing.T) {
	c := newCase(t)
	out, err := c.Crtime.Run(c.Context, "check")
	var failed *harness.CommandError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	for _, word := range []string{"CAP_SYS_RESOURCE", "multipathtcp=0", "time namespaces"} {
		if !strings.Contains(strings.ToLower(string(out)), strings.ToLower(word)) {
			t.Errorf("crtime check does not mention %q:\n%s", word, out)
		}
	}
}

// TestAttachedRestore restores without --restore-detached: crtime stays, hands
// on a signal, and ends as the tree does.
func TestAttachedRestore(t *testing.T) {
	c := newCase(t)
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	c.Dump(ticker, images)
	cmd := exec.CommandContext(c.Context, c.Crtime.Path, "restore", "-D", images)
	cmd.Env = append(os.Environ(), "CRTIME_CRIU="+c.CRIU.Path)
	c.Check(cmd.Start())
	err := ticker.WaitRecords(c.Context, 30)
	for errors.Is(err, harness.ErrNotRunning) && c.Context.Err() == nil {
		time.Sleep(5 * time.Millisecond)
		err = ticker.WaitRecords(c.Context, 30)
	}
	c.Check(err)
	c.Check(cmd.Process.Signal(unix.SIGTERM))
	err = cmd.Wait()
	var exit *exec.ExitError
	if want := 128 + int(unix.SIGTERM); !errors.As(err, &exit) || exit.ExitCode() != want {
		t.Errorf("crtime ended with %v, want status %d", err, want)
	}
	if live := ticker.PIDs(); len(live) != 0 {
		t.Errorf("processes %v still run", live)
	}
	c.GoodLog(ticker)
}
