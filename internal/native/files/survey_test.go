// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/testkit"
)

// TestObstacles opens what cannot be saved, and expects Survey to say what it is,
// why it cannot be saved and what to do, and Collect to refuse it.
func TestObstacles(t *testing.T) {
	for _, test := range []struct {
		mode      string
		words     int
		what, why string
	}{
		{"tcp", 5, "TCP socket 127.0.0.1:", "--engine criu"},
		{"udp", 5, "UDP socket [::1]:", "--engine criu"},
		{"netlink", 5, "netlink socket", "--engine criu"},
		{"packet", 5, "packet socket", "--engine criu"},
		{"uring", 5, "io_uring instance", "kernel.io_uring_disabled"},
		{"uffd", 5, "userfaultfd", "close it first"},
		{"pidfd", 5, "process descriptor (pidfd)", "--engine criu"},
		{"pidfd-of-child", 6, "process descriptor (pidfd)", "--engine criu"},
		{"fanotify", 5, "fanotify instance", "--engine criu"},
		{"perf", 5, "performance counter", "close it first"},
		{"bpf", 5, "BPF map", "--engine criu"},
		{"mqueue", 5, "message queue", "close it first"},
		{"othernet", 5, "namespace net:[", "--engine criu"},
		{"secret", 5, "secret memory", "close it first"},
		{"hugememfd", 5, "memfd:huge", "--engine criu"},
		{"init-status", 5, "/proc/1/status", "process 1, which is not in the tree"},
		{"kvm", 5, "virtual machine monitor /dev/kvm", "close it first"},
		{"block", 5, "block device", "close it first"},
		{"pathfifo", 5, "FIFO", "O_PATH"},
		{"landlock", 5, "Landlock rule set", "close it first"},
		{"fscontext", 5, "mount being made", "close it first"},
		{"eager", 5, "UNIX socket", "not accepted yet"},
		{"rights", 5, "UNIX socket", "1 descriptors wait in its queue (SCM_RIGHTS)"},
		{"lease", 5, "leased", "F_SETLEASE"},
		{"table", 6, "descriptor table shared with process", "CLONE_FILES"},
		{"thread-fs", 5, "working directory of its own in thread", "unshare(CLONE_FS)"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			h := tryHold(t, test.mode, test.words)
			wantObstacle(t, h, everything, obstacle{test.what, test.why})
		})
	}
}

// optional is what not every machine has.
var optional = map[string]bool{
	"packet": true, "uring": true, "uffd": true, "fanotify": true, "perf": true, "bpf": true, "mqueue": true,
	"secret": true, "hugememfd": true, "kvm": true, "landlock": true, "fscontext": true, "othernet": true,
}

// tryHold is hold, and skips the test of what this machine does not have.
func tryHold(t *testing.T, mode string, words int) *holderTree {
	t.Helper()
	if optional[mode] {
		cmd := exec.Command(testkit.Build(t, "holder.c"), mode, "try")
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("this machine does not have it: %s", out)
		}
	}
	return hold(t, mode, words)
}

// obstacle is parts of what an engine.Obstacle says.
type obstacle struct{ what, why string }

// wantObstacle expects one obstacle of a tree.
func wantObstacle(t *testing.T, h *holderTree, l Limits, want obstacle) {
	t.Helper()
	what, why := want.what, want.why
	found, err := Survey(h.pids, l)
	if err != nil {
		t.Fatal(err)
	}
	matches := func(o engine.Obstacle) bool {
		return strings.Contains(o.What, what) && strings.Contains(o.Why, why) && o.Comm == "holder"
	}
	ok := false
	for _, o := range found {
		ok = ok || matches(o)
	}
	if !ok {
		t.Errorf("got %v, want something like %q because of %q", found, what, why)
	}
	_, c, err := h.collect(l)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, ErrObstacle) || !strings.Contains(err.Error(), why) {
		t.Errorf("Collect: got the error %v, want ErrObstacle with %q", err, why)
	}
}

// TestLimits takes away what the user allows.
func TestLimits(t *testing.T) {
	for _, test := range []struct {
		mode      string
		words     int
		limits    Limits
		what, why string
	}{
		{"locks", 6, Limits{}, "flock (descriptor 10)", "--file-locks"},
		{"linked", 5, Limits{}, "first", "--link-remap"},
		{"large", 5, Limits{GhostBytes: 1 << 20}, "large", "--ghost-limit"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			wantObstacle(t, hold(t, test.mode, test.words), test.limits, obstacle{test.what, test.why})
		})
	}
}

// TestCollectRefuses opens what can only be seen to be an obstacle when the tree
// stands still, because one has to ask with a duplicate of the descriptor.
func TestCollectRefuses(t *testing.T) {
	for _, test := range []struct {
		mode  string
		words int
		why   string
	}{
		{"notified", 5, "events of 16 bytes wait in it"},
		{"credentials", 5, "descriptors or credentials wait in its queue"},
		{"epolllost", 6, "watches a file that process"},
		{"unread", 5, "bytes wait in it, which can only be read once"},
		{"filtered", 5, "a filter of 1 instructions"},
		{"dnotify", 5, "F_NOTIFY"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			h := hold(t, test.mode, test.words)
			_, c, err := h.collect(everything)
			if err == nil {
				c.Close()
			}
			if !errors.Is(err, ErrObstacle) || !strings.Contains(err.Error(), test.why) {
				t.Errorf("got the error %v, want ErrObstacle with %q", err, test.why)
			}
		})
	}
}

// TestOutsiders opens what other processes have open, too.
func TestOutsiders(t *testing.T) {
	server := hold(t, "server", 5)
	client, sender := hold(t, "client", 5), hold(t, "sender", 5)
	wantObstacle(t, client, everything, obstacle{"UNIX socket", "is not in the tree"})
	wantObstacle(t, sender, everything, obstacle{"UNIX socket", "which is not in the tree"})
	wantObstacle(t, server, everything, obstacle{"UNIX socket @crtime-files-outside", "waits for its connection to be accepted"})

	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "60")
	other.Stdin = read
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		other.Process.Kill()
		other.Wait()
	})
	read.Close()
	h := holdWith(t, "pipein", 5, write)
	write.Close()
	wantObstacle(t, h, everything, obstacle{"pipe:[", "(sleep), which is not in the tree, has this pipe open too"})
}

// TestNothingInTheWay surveys everything that can be saved.
func TestNothingInTheWay(t *testing.T) {
	for _, test := range modes {
		t.Run(test.mode, func(t *testing.T) {
			h := hold(t, test.mode, test.words)
			if found, err := Survey(h.pids, everything); err != nil || len(found) > 0 {
				t.Errorf("got %v, %v", found, err)
			}
		})
	}
}

// TestSurveyOfTheDead asks about processes that have ended.
func TestSurveyOfTheDead(t *testing.T) {
	h := hold(t, "regular", 5)
	pids := h.pids
	h.end()
	if found, err := Survey(pids, everything); err != nil || len(found) > 0 {
		t.Errorf("got %v, %v, want nothing", found, err)
	}
}

// TestEmptyMessages collects empty datagrams, which can be looked at only once: a
// queue that holds nothing else is refused the second time.
func TestEmptyMessages(t *testing.T) {
	h := hold(t, "empties", 5)
	s, _ := h.mustCollect(everything)
	var got []string
	for _, p := range s.SocketQueue {
		got = append(got, string(p.Data))
	}
	if want := []string{"one", "", "three", ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, _, err := h.collect(everything); !errors.Is(err, ErrObstacle) {
		t.Errorf("got %v, want ErrObstacle", err)
	}
}

// TestLostTerminal looks at a session leader that has its terminal from outside
// the tree, and no descriptor of it.
func TestLostTerminal(t *testing.T) {
	h := hold(t, "lost-terminal", 6)
	if found, err := Survey(h.pids, everything); err != nil || len(found) > 0 {
		t.Errorf("with its master: got %v, %v, want nothing", found, err)
	}
	part := &holderTree{t: t, pids: h.pids[1:], parents: map[int]int{}}
	wantObstacle(t, part, everything, obstacle{"controlling terminal /dev/pts/", "its other end is outside"})
}

// remapNames are the names that dumps have made for files that had lost theirs.
func remapNames(t *testing.T, h *holderTree) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(h.dir, linkPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestAbandon takes back the name that a dump has made.
func TestAbandon(t *testing.T) {
	h := hold(t, "linked", 5)
	_, c := h.mustCollect(everything)
	if len(remapNames(t, h)) != 1 {
		t.Error("there is no new name")
	}
	if err := c.Abandon(); err != nil || len(remapNames(t, h)) > 0 {
		t.Errorf("the names %q are still there: %v", remapNames(t, h), err)
	}
}

// TestFailedCollectLeavesNoName has Collect fail after it has made a name.
func TestFailedCollectLeavesNoName(t *testing.T) {
	h := hold(t, "linked-and-notified", 5)
	if _, _, err := h.collect(everything); !errors.Is(err, ErrObstacle) {
		t.Errorf("got %v, want ErrObstacle", err)
	}
	if names := remapNames(t, h); len(names) > 0 {
		t.Errorf("it left %q", names)
	}
}

// TestLinkAgain dumps a file without its name again and again, as a tree that was
// restored is: the name of the first time is taken, and not taken back. Another
// file that has such a name is let alone.
func TestLinkAgain(t *testing.T) {
	h := hold(t, "linked", 5)
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(h.dir, linkPrefix+strconv.Itoa(i)), []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := len(remapNames(t, h))
	for range 3 {
		s, c := h.mustCollect(everything)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got := len(remapNames(t, h)); got != before+1 {
			t.Errorf("there are %d names, want one more than %d", got, before)
		}
		target := s.Remap[0].GetRemapId()
		for _, e := range s.Files {
			if e.GetId() != target {
				continue
			}
			if data, err := os.ReadFile(e.GetReg().GetName()); err != nil || string(data) != "two names" {
				t.Errorf("%s holds %q, %v", e.GetReg().GetName(), data, err)
			}
		}
	}
	_, c := h.mustCollect(everything)
	if err := c.Abandon(); err != nil || len(remapNames(t, h)) != before+1 {
		t.Errorf("the name of an earlier dump is gone: %v", err)
	}
}
