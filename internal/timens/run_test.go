// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

func TestRunInside(t *testing.T) {
	want := clockstate.Offsets{Monotonic: 1234e9, Boottime: 5678e9}
	p, err := Start(Command{Path: "/bin/sleep", Args: []string{"sleep", "1000"}}, want)
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	ns, _, err := IDOf(p.PID)
	if err != nil {
		t.Fatal(err)
	}
	before := clocks()
	r := decode[report](t, output(t, helper(t, "report"), func(c Command) (*Process, error) { return Run(p.PID, c) }))
	checkShift(t, r, [2][4]int64{before, clocks()}, want)
	if r.Own != ns || r.ForChildren != ns {
		t.Errorf("in time:[%d], children in time:[%d]; want time:[%d]", r.Own, r.ForChildren, ns)
	}
}

func TestRunInOwnNamespace(t *testing.T) {
	before := clocks()
	r := decode[report](t, output(t, helper(t, "report"), func(c Command) (*Process, error) { return Run(0, c) }))
	checkShift(t, r, [2][4]int64{before, clocks()}, clockstate.Offsets{})
}

func TestProbe(t *testing.T) {
	s, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Feature{"namespaces": s.Namespaces, "unshare": s.Unshare, "setns": s.Setns, "set_tid": s.SetTID} {
		if !f.Works || f.Err != nil {
			t.Errorf("%s: %+v; every kernel that has time namespaces can do it", name, f)
		}
	}
	if !s.Clone3.Works && !isNotSupported(s.Clone3) || !s.CanCreate() {
		t.Errorf("clone3: %+v", s.Clone3)
	}
	t.Logf("clone3: %+v", s.Clone3)
}

func isNotSupported(f Feature) bool { return newOutcome(f.Err).NotSupported }

// Without any capability the answer is "privilege", never "not supported", and
// it names what is missing.
func TestUnprivileged(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperVariable+"=errors")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	r := decode[errorReport](t, text)
	refused := map[string]outcome{
		"NewHolder": r.NewHolder, "the unshare way": r.Thread, "Run": r.Run,
		"probe clone3": r.Probe["clone3"], "probe unshare": r.Probe["unshare"], "probe setns": r.Probe["setns"], "probe set_tid": r.Probe["settid"],
	}
	for name, o := range refused {
		if !o.Privilege || !o.Errno || !o.Advises || o.NotSupported {
			t.Errorf("%s: %+v; want ErrPrivilege with EPERM and the capability's name", name, o)
		}
	}
	if !r.Probe["namespaces"].Nil {
		t.Errorf("probe namespaces: %+v; want nil", r.Probe["namespaces"])
	}
}

// crtime inside a time namespace: offsets that it sets are relative to the
// initial namespace, not to its own.
func TestNested(t *testing.T) {
	outer := clockstate.Offsets{Monotonic: 1000e9, Boottime: 5000e9}
	before := clocks()
	r := decode[nestedReport](t, output(t, helper(t, "nested"), func(c Command) (*Process, error) { return Start(c, outer) }))
	after := clocks()
	if r.Own != outer {
		t.Errorf("inside, OffsetsOf(0) is %+v; want %+v", r.Own, outer)
	}
	checkShift(t, decode[report](t, r.Child), [2][4]int64{before, after}, clockstate.Offsets{Monotonic: 10e9, Boottime: 20e9})
}

// The Go runtime raises the soft limit on open files for itself; the programs
// that we start must have the one that we were given.
func TestExecLimit(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 321 && ulimit -Hn 654 && exec "$0"`, self)
	cmd.Env = append(os.Environ(), helperVariable+"=limit")
	out, err := cmd.CombinedOutput()
	if want := strings.Repeat("321\n654\n", waysHere(t)); err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

// waysHere counts the ways that this kernel has.
func waysHere(t *testing.T) int {
	t.Helper()
	s, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	if s.Clone3.Works {
		return len(ways)
	}
	return len(ways) - 1
}

// When this process dies, its holders' children exit by themselves.
func TestMakerDies(t *testing.T) {
	ways[0].need(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperVariable+"=die")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The pipe ends only if the children let go of it: they keep nothing open.
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	pids := strings.Fields(string(text))
	if len(pids) != 2 {
		t.Fatalf("helper wrote %q, want two pids", text)
	}
	for _, pid := range pids {
		waitFor(t, "process "+pid+" exits", func() bool { return isGone(pid) })
	}
}

// isGone says whether a process has exited. Nobody may have reaped it yet: PID 1
// takes its time in some containers.
func isGone(pid string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func TestProcessSignalAndStatus(t *testing.T) {
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := Start(helper(t, "wait", in, w), clockstate.Offsets{})
	in.Close()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Errorf("got %q, %v", line, err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	state, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if status := state.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != unix.SIGTERM {
		t.Errorf("ended by %v, want SIGTERM", state)
	}
	if err := p.Kill(); err == nil {
		t.Error("killed a process that was reaped")
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(p.PID)); err == nil {
		t.Errorf("process %d still exists", p.PID)
	}
}
