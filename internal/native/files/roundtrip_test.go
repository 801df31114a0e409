// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// stubArea is where the stubs of the tests live.
const stubArea = 0x10000000

// everything allows everything.
var everything = Limits{FileLocks: true, LinkRemap: true, GhostBytes: 2 << 20, ShellJob: true}

// modes are what testdata/holder.c can have open and what can be restored, with
// how much it says until it is ready.
var modes = []struct {
	mode  string
	words int
}{
	{"regular", 5},
	{"deleted", 5},
	{"pipes", 6},
	{"fifos", 5},
	{"memfds", 5},
	{"locks", 6},
	{"owners", 5},
	{"directories", 5},
	{"shared", 24},
	{"linked", 5},
	{"taken", 5},
	{"large", 5},
	{"eventfds", 6},
	{"signalfds", 5},
	{"epolls", 5},
	{"epollmoved", 5},
	{"timerfds", 5},
	{"inotifies", 5},
	{"socketpairs", 6},
	{"listeners", 5},
	{"datagrams", 5},
	{"peers", 5},
	{"procfiles", 5},
	{"namespaces", 5},
	{"ptys", 7},
	{"ctty", 7},
	{"masters", 5},
	{"many", 5},
}

// TestRoundTrip collects the files of a tree, writes and reads the images, kills
// the tree, rebuilds the files in new processes of the same numbers, and compares
// all that can be seen of both.
func TestRoundTrip(t *testing.T) {
	for _, test := range modes {
		t.Run(test.mode, func(t *testing.T) {
			roundTrip(t, hold(t, test.mode, test.words), nil)
		})
	}
}

// roundTrip does it for one tree. terminal is that of a shell job, if it is one.
func roundTrip(t *testing.T, h *holderTree, terminal *os.File) {
	t.Helper()
	before := picture(t, h.pids)
	pids := h.pids
	s, c := h.mustCollect(everything)
	contents := memfdContents(t, c.Memfds())
	s = write(t, s, c)
	if err := Check(s); err != nil {
		t.Fatal(err)
	}
	if again := picture(t, pids); again != before {
		t.Errorf("the dump has left traces:\n%s", difference(before, again))
	}
	// What it holds would keep pipes and sockets alive.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	h.end()
	rebuilt(t, s, given{terminal, contents}, func() {
		if after := picture(t, pids); after != before {
			t.Errorf("the restored tree differs:\n%s", difference(before, after))
		}
	})
}

// memfdContents reads memory files, which is not this package's work.
func memfdContents(t *testing.T, list []Memfd) map[uint32][]byte {
	t.Helper()
	contents := map[uint32][]byte{}
	for _, m := range list {
		data, err := io.ReadAll(io.NewSectionReader(m.File, 0, m.Size))
		if err != nil {
			t.Fatal(err)
		}
		contents[m.ShmID] = data
	}
	return contents
}

// given is what a restore gets from elsewhere.
type given struct {
	terminal *os.File // For a shell job.
	memfds   map[uint32][]byte
}

// rebuilt restores the files of a set into new processes, without threads or
// memory, and calls f while they stand still.
func rebuilt(t testing.TB, s *criuimg.Set, from given, f func()) {
	t.Helper()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	err = ptrace.Run(func(tr *ptrace.Tracer) (err error) {
		r, err := NewRebuild(s, dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		if from.terminal != nil {
			r.UseTerminal(int(from.terminal.Fd()))
		}
		if err := r.OpenAll(); err != nil {
			return err
		}
		b := &birth{set: s, files: r, stubs: map[uint32]*remote.Stub{}}
		defer func() { err = errors.Join(err, b.end()) }()
		if err := b.all(tr); err != nil {
			return err
		}
		if err := restoreInto(r, b, from.memfds); err != nil {
			return err
		}
		f()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// birth makes the processes of a set, with their sessions and groups.
type birth struct {
	set   *criuimg.Set
	files *Rebuild
	stubs map[uint32]*remote.Stub
}

func (b *birth) all(tr *ptrace.Tracer) error {
	for _, e := range b.set.Tree {
		var stub *remote.Stub
		var err error
		if parent := b.stubs[e.GetPpid()]; parent != nil {
			stub, err = parent.Fork(int(e.GetPid()), 0)
		} else {
			stub, err = remote.Spawn(tr, int(e.GetPid()), stubArea)
		}
		if err != nil {
			return err
		}
		b.stubs[e.GetPid()] = stub
		if err := b.join(e.GetPid(), e.GetSid(), e.GetPgid(), stub); err != nil {
			return err
		}
	}
	return nil
}

// join brings a process into its session and group.
func (b *birth) join(pid, session, group uint32, stub *remote.Stub) error {
	if session == pid {
		if err := stub.Run([]remote.Call{{Name: "setsid", Nr: unix.SYS_SETSID, Must: true}}); err != nil {
			return err
		}
		return b.files.TakeTerminal(int(pid), stub.Runner)
	}
	if now, err := unix.Getpgid(int(pid)); err != nil || now == int(group) {
		return err
	}
	return stub.Run([]remote.Call{{Name: "setpgid", Nr: unix.SYS_SETPGID, Args: [6]uint64{0, uint64(group)}, Must: true}})
}

// end kills the processes, children first.
func (b *birth) end() error {
	var errs []error
	pids := b.set.PIDs()
	for _, pid := range slices.Backward(pids) {
		if stub := b.stubs[pid]; stub != nil {
			errs = append(errs, stub.Kill())
		}
	}
	// Those that were no children of the test are, since their parents are gone.
	for _, pid := range pids {
		unix.Wait4(int(pid), nil, unix.WALL, nil)
	}
	return errors.Join(errs...)
}

// restoreInto gives processes their files.
func restoreInto(r *Rebuild, b *birth, memfds map[uint32][]byte) error {
	list, err := r.Memfds()
	if err != nil {
		return err
	}
	for _, m := range list {
		if _, err := m.File.WriteAt(memfds[m.ShmID], 0); err != nil {
			return err
		}
	}
	if err := r.Seal(); err != nil {
		return err
	}
	for _, pid := range b.set.PIDs() {
		if err := r.Install(int(pid), b.stubs[pid].Runner); err != nil {
			return err
		}
	}
	for _, pid := range b.set.PIDs() {
		if err := r.Arm(int(pid), b.stubs[pid].Runner); err != nil {
			return err
		}
	}
	return nil
}

// difference lists the lines that only one of two texts has.
func difference(a, b string) string {
	var out strings.Builder
	for _, one := range []struct{ mark, text, other string }{{"- ", a, b}, {"+ ", b, a}} {
		for line := range strings.Lines(one.text) {
			if !strings.Contains(one.other, line) {
				out.WriteString(one.mark + line)
			}
		}
	}
	return out.String()
}
