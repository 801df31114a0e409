// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/testkit"
)

// criuDump lets CRIU dump the tree, and reads its images.
func (h *holderTree) criuDump(criu string, more ...string) *criuimg.Set {
	h.t.Helper()
	set, _ := nativetest.DumpByCRIU(h.t, criu, h.pids[0], append([]string{
		"--file-locks", "--link-remap", "--shell-job", "--ghost-limit", "4194304",
	}, more...)...)
	return set
}

// refusedByCRIU are modes that CRIU 4.2 does not dump, and why.
var refusedByCRIU = map[string]string{
	"pipes":      "it refuses packet mode (O_DIRECT)",
	"epollmoved": "it names a duplicate's number for a watch whose own is gone, and that twice if it is watched as well",
	"ctty":       "it refuses /dev/tty in a session of the tree (ctty inheritance)",
	"many":       "it would tell nothing new",
	"peers":      "it does not save whose connections are",
}

// lostByCRIU are the differences, line by line, between what CRIU 4.2 saves and
// what this package does.
var lostByCRIU = map[string]*regexp.Regexp{
	// A POSIX lock of a process that has its descriptor from its parent.
	"locks": regexp.MustCompile(`^-.* lock .*start:50`),
	// Which counters are semaphores: see eventfdKind.
	"eventfds": regexp.MustCompile(`^[-+].*(counter:3$|semaphore: 1$)`),
	// That reading from a master fails, because its other end was closed.
	"masters": regexp.MustCompile(`^[-+].*(50001:1| pty:\{index:\d+\} dev:\d+ uid:0 gid:0$|poll 0x10$)`),
}

// unexplained drops the lines that lostByCRIU names from a difference. That they
// are there at all is to be shown, too: a newer CRIU may save more.
func unexplained(t *testing.T, mode, difference string) string {
	t.Helper()
	known := lostByCRIU[mode]
	if known == nil {
		return difference
	}
	var rest strings.Builder
	found := false
	for line := range strings.Lines(difference) {
		if known.MatchString(strings.TrimSuffix(line, "\n")) {
			found = true
			continue
		}
		rest.WriteString(line)
	}
	if !found {
		t.Errorf("CRIU does not lose %s any more: drop that from the table", known)
	}
	return rest.String()
}

// withoutChunks leaves out which parts of a deleted file were stored as data: where
// a file system keeps holes is its business. The contents stay.
func withoutChunks(text string) string {
	return regexp.MustCompile(`chunks \[[^]]*\]`).ReplaceAllString(text, "chunks")
}

// TestOracle lets CRIU and this package dump the same tree, and compares what
// the images say of each descriptor.
func TestOracle(t *testing.T) {
	criu := testkit.CRIU(t)
	for _, test := range modes {
		t.Run(test.mode, func(t *testing.T) {
			if why := refusedByCRIU[test.mode]; why != "" {
				t.Skip("not for CRIU: " + why)
			}
			h := hold(t, test.mode, test.words)
			theirs := withoutChunks(saying(h.criuDump(criu, "--leave-running")))
			s, c := h.mustCollect(everything)
			ours := withoutChunks(saying(write(t, s, c)))
			if left := unexplained(t, test.mode, difference(ours, theirs)); left != "" {
				t.Errorf("ours (-) and CRIU's (+):\n%s", left)
			}
		})
	}
}

// TestRestoreOfCRIU rebuilds the files of a tree from CRIU's images of it.
func TestRestoreOfCRIU(t *testing.T) {
	criu := testkit.CRIU(t)
	for _, test := range modes {
		t.Run(test.mode, func(t *testing.T) {
			if why := refusedByCRIU[test.mode]; why != "" {
				t.Skip("not for CRIU: " + why)
			}
			h := hold(t, test.mode, test.words)
			before := picture(t, h.pids)
			pids := h.pids
			_, c := h.mustCollect(everything)
			contents := memfdContents(t, c.Memfds())
			if err := c.Abandon(); err != nil {
				t.Fatal(err)
			}
			s := h.criuDump(criu)
			h.end()
			if err := Check(s); err != nil {
				t.Fatal(err)
			}
			rebuilt(t, s, given{memfds: contents}, func() {
				if left := unexplained(t, test.mode, difference(before, picture(t, pids))); left != "" {
					t.Errorf("the tree restored from CRIU's images differs:\n%s", left)
				}
			})
		})
	}
}

// saying is what images say of the descriptors of a tree.
func saying(s *criuimg.Set) string {
	x := &describer{set: s, files: map[uint32]*fdinfo.FileEntry{}, numbers: map[string]string{}}
	for _, e := range s.Files {
		x.files[e.GetId()] = e
	}
	for _, pid := range slices.Sorted(slices.Values(s.PIDs())) {
		p := s.Process[pid]
		x.print("%d: working directory %s, root %s", pid, x.files[p.FS.GetCwdId()].GetReg().GetName(), x.files[p.FS.GetRootId()].GetReg().GetName())
		table := slices.Clone(p.Fdinfo)
		slices.SortFunc(table, func(a, b *fdinfo.FdinfoEntry) int { return int(a.GetFd()) - int(b.GetFd()) })
		for _, d := range table {
			x.descriptor(pid, d)
		}
	}
	return x.text.String()
}

type describer struct {
	set     *criuimg.Set
	files   map[uint32]*fdinfo.FileEntry
	numbers map[string]string
	text    strings.Builder
}

func (x *describer) print(format string, args ...any) { fmt.Fprintf(&x.text, format+"\n", args...) }

// number replaces an id by the order of its appearance.
func (x *describer) number(sort string, id any) string {
	key := fmt.Sprint(sort, " ", id)
	if x.numbers[key] == "" {
		x.numbers[key] = fmt.Sprintf("%s-%d", sort, len(x.numbers)+1)
	}
	return x.numbers[key]
}

func (x *describer) descriptor(pid uint32, d *fdinfo.FdinfoEntry) {
	x.print("%d %d: %s flags %d %s", pid, d.GetFd(), d.GetType(), d.GetFlags(), x.number("file", d.GetId()))
	e := x.files[d.GetId()]
	x.message(e)
	reg := uint32(0)
	switch {
	case e.GetFifo() != nil:
		reg = fifoPath(e.GetFifo())
		x.content(x.set.FIFOData, e.GetFifo().GetPipeId())
	case e.GetTty() != nil:
		reg = e.GetTty().GetRegfId()
		for _, info := range x.set.TTYInfo {
			if info.GetId() == e.GetTty().GetTtyInfoId() {
				for _, modes := range []*tty.TermiosEntry{info.GetTermios(), info.GetTermiosLocked()} {
					if modes != nil {
						const used = 5 // CRIU leaves what was in memory in the others.
						modes.CCc = modes.CCc[:used]
					}
				}
				x.print("  %s", text(info))
			}
		}
	case e.GetPipe() != nil:
		x.content(x.set.PipeData, e.GetPipe().GetPipeId())
	case e.GetMemfd() != nil:
		for _, m := range x.set.Memfd {
			if m.GetInodeId() == uint64(e.GetMemfd().GetInodeId()) {
				m = proto.CloneOf(m)
				m.InodeId, m.Shmid = proto.Uint64(0), proto.Uint32(0)
				x.print("  %s", text(m))
			}
		}
	}
	if reg != 0 && reg != e.GetId() {
		x.message(x.files[reg])
	}
	for _, p := range x.set.SocketQueue {
		if p.Entry.GetIdFor() == d.GetId() {
			x.print("  waits: %q", p.Data)
		}
	}
	for _, l := range x.set.FileLock {
		if l.GetPid() == int32(pid) && l.GetFd() == int32(d.GetFd()) {
			x.print("  lock %s", text(l))
		}
	}
	for _, m := range x.set.Remap {
		if m.GetOrigId() == d.GetId() || m.GetOrigId() == reg {
			x.remap(m.GetRemapId(), m.GetRemapType().String())
		}
	}
}

func (x *describer) remap(id uint32, how string) {
	g := x.set.Ghost[id]
	if how != "GHOST" || g == nil {
		x.print("  %s", how)
		return
	}
	content := make([]byte, g.Size)
	if g.Content != nil {
		g.Content.ReadAt(content, 0)
	}
	g.Entry.Atim = nil // CRIU's own reading changes it.
	x.print("  ghost %s chunks %v holds %.40q of %d", text(g.Entry), g.Chunks, bytes.Trim(content, "\x00"), g.Size)
}

func (x *describer) content(list []*criuimg.PipeData, id uint32) {
	for _, p := range list {
		if p.Entry.GetPipeId() == id {
			x.print("  holds %q in %d", p.Data, p.Entry.GetSize())
		}
	}
}

// identities are fields whose numbers are arbitrary.
var identities = map[protoreflect.Name]string{
	"id": "", "regf_id": "", "inode_id": "", "pipe_id": "pipe", "ino": "socket", "peer": "socket", "ns_id": "",
}

// message prints the message of a file's own kind.
func (x *describer) message(e *fdinfo.FileEntry) {
	e = proto.CloneOf(e)
	if t := e.GetTfd(); timerLeft(t) > 0 {
		// The two look at different times.
		const minute = 60
		t.Vsec, t.Vnsec = proto.Uint64((t.GetVsec()+minute)/minute*minute), proto.Uint64(0)
	}
	if reg := e.GetReg(); reg != nil && reg.GetName() != "/" {
		reg.Name = proto.String(strings.TrimSuffix(reg.GetName(), "/")) // CRIU adds one to /proc/PID.
	}
	m := body(e)
	if e.GetUsk() != nil || e.GetPipe() != nil {
		m.SetUnknown(nil) // Fields of crtime's own: whose they are.
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		sort, arbitrary := identities[f.Name()]
		if !arbitrary || !m.Has(f) || f.Kind() == protoreflect.BytesKind {
			continue
		}
		if sort != "" && m.Get(f).Uint() != 0 {
			x.print("  %s %s", f.Name(), x.number(sort, m.Get(f).Uint()))
		}
		m.Set(f, m.NewField(f))
	}
	x.print("  %s", text(m.Interface()))
}

var spaces = regexp.MustCompile(`\s+`)

// text is a message in one line.
func text(m proto.Message) string {
	return spaces.ReplaceAllString(prototext.MarshalOptions{AllowPartial: true}.Format(m), " ")
}
