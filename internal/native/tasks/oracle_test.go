// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/testkit"
)

// differs are the fields in which our images differ from CRIU's on purpose.
var differs = []struct {
	path *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`^(tc|thread_core)\.500\d\d`), "crtime's own fields"},
	{regexp.MustCompile(`^tc\.timers`), "package timers writes them"},
	{regexp.MustCompile(`^tc\.personality`), "CRIU misreads the number, see personalityOf"},
	{regexp.MustCompile(`^thread_info\.fpregs\.xsave\.9`), "CRIU says of every thread that it has no shadow stack"},
	{regexp.MustCompile(`^thread_info\.fpregs\.xsave\.xstate_bv`), "the processor may say of a component in its initial state that it is in use; the contents are compared"},
	{regexp.MustCompile(`^(tc|thread_core)\.cg_set`), "the lead writes what images say of control groups"},
}

// superPriv is PF_SUPERPRIV of the kernel's sched.h: a thread has used a privilege. Our
// question for PR_GET_IO_FLUSHER uses CAP_SYS_RESOURCE, where it is granted, and CRIU
// comes after us.
const superPriv = 0x100

// TestCollectIsWhatCRIUDumps compares field by field.
func TestCollectIsWhatCRIUDumps(t *testing.T) {
	criu := testkit.CRIU(t)
	f := startFamily(t)
	// In this order, because CRIU leaves traces: it ends sleeping calls, and sends
	// another signal to what is stopped.
	got := f.collect()
	f.settle()
	want, _ := nativetest.DumpByCRIU(t, criu, f.root, "--leave-running")
	if len(want.Tree) != len(got.Tree) {
		t.Fatalf("CRIU found %d processes, we %d", len(want.Tree), len(got.Tree))
	}
	skip := func(path string) bool {
		for _, d := range differs {
			if d.path.MatchString(path) {
				return true
			}
		}
		return false
	}
	compare := func(what string, a, b proto.Message) {
		t.Helper()
		if list := differences(a, b, skip); len(list) > 0 {
			t.Errorf("%s: CRIU and we say\n\t%s", what, strings.Join(list, "\n\t"))
		}
	}
	if err := Check(want); err != nil {
		t.Errorf("Check of CRIU's images: %v", err)
	}
	places := map[uint32]*pstree.PstreeEntry{}
	for _, e := range got.Tree {
		places[e.GetPid()] = e
	}
	for _, e := range want.Tree {
		if places[e.GetPid()] == nil {
			t.Fatalf("we did not find process %d", e.GetPid())
		}
		compare("place in the tree", e, places[e.GetPid()])
		p, q := want.Process[e.GetPid()], got.Process[e.GetPid()]
		for _, tid := range p.TIDs(e.GetPid()) {
			a, b := p.Core, q.Core
			if tid != e.GetPid() {
				a, b = p.Threads[tid], q.Threads[tid]
			}
			if b.GetThreadCore().GetComm() == "gamma" {
				// CRIU's images have epoll_wait return EINTR, ours make it wait on.
				equal(t, "gamma's result", int64(a.ThreadInfo.Gpregs.GetAx()), -int64(unix.EINTR))
				equal(t, "gamma's next instruction", b.ThreadInfo.Gpregs.GetIp(), a.ThreadInfo.Gpregs.GetIp()-2)
				b.ThreadInfo.Gpregs.Ax, b.ThreadInfo.Gpregs.Ip = a.ThreadInfo.Gpregs.Ax, a.ThreadInfo.Gpregs.Ip
			}
			if g := a.GetThreadInfo().GetGpregs(); g.GetOrigAx() == unix.SYS_RESTART_SYSCALL {
				// A sleep that goes on after a stop, ours, is that call.
				equal(t, "the thread", b.GetThreadCore().GetComm(), "beta")
				b.ThreadInfo.Gpregs.OrigAx = g.OrigAx
			}
			if tc := a.GetTc(); tc.GetFlags()&superPriv != 0 && b.GetTc().GetFlags()&superPriv == 0 {
				tc.Flags = proto.Uint32(tc.GetFlags() &^ superPriv)
			}
			compare(fmt.Sprintf("thread %d of process %d (%s)", tid, e.GetPid(), p.Core.GetTc().GetComm()), a, b)
		}
		if !p.Zombie() {
			equal(t, "personality", personalityOf(p.Core.Tc), personalityOf(q.Core.Tc))
			equal(t, "umask", q.FS.GetUmask(), p.FS.GetUmask())
		}
	}
}
