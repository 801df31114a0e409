// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// Credentials gives thread tid of process pid its users and groups, capabilities,
// securebits, no_new_privs and parent-death signal (but for the root of the tree,
// which has lost its parent), and then its scheduling and I/O priority. It is
// the last that is done in a thread, and for the threads of a process it must be
// called in the order of criuimg.Process.TIDs: with the last of them come the
// resource limits, whether the process may dump core and be traced, which another
// thread's change of user would undo, and a pending SIGCONT.
//
// No call is made for what is right already, so that crtime needs no more rights
// than the difference asks for. In the end the kernel must say of the thread what
// the images do, because some of the calls cannot fail.
//
// A hard limit above crtime's own is a *LimitError, as with CRIU. The capability
// bounding set may come out smaller than in the images, where crtime itself or
// this kernel has less.
func Credentials(set *criuimg.Set, pid, tid uint32, stub *remote.Stub, th *ptrace.Thread) error { //nolint:revive // A thread, and where it is.
	core, err := threadOf(set, pid, tid)
	if err != nil {
		return err
	}
	p := set.Process[pid]
	tids := p.TIDs(pid)
	last := tid == tids[len(tids)-1]
	if last {
		// From outside and before this thread changes its user: another user's
		// limits are only for CAP_SYS_RESOURCE.
		if err := setLimits(int(tid), p.Core.GetTc().GetRlimits()); err != nil {
			return threadError(set, pid, tid, err)
		}
	}
	b := newBatch(stub)
	check, err := writeIdentity(b, int(pid), int(tid), core.GetThreadCore().GetCreds())
	if err != nil {
		return threadError(set, pid, tid, err)
	}
	// The parent of the root is crtime's tracer, whose end the root is not to notice.
	if sig := core.GetThreadCore().GetPdeathSig(); sig != 0 && pid != set.Tree[0].GetPid() {
		// A change of user or capabilities takes it back.
		b.must("set the parent-death signal").call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uint64(sig))
	}
	if last {
		writeDumpable(b, p.MM)
	}
	for _, step := range []func() error{
		func() error { return b.run(th) },
		check,
		func() error { return restoreSched(int(tid), core.GetThreadCore()) },
		func() error {
			if !last {
				return nil
			}
			return queueContinue(p, pid, stub)
		},
	} {
		if err := step(); err != nil {
			return threadError(set, pid, tid, err)
		}
	}
	return nil
}

// writeDumpable adds the call that says whether the process may dump core and be
// looked into by its own user. The kernel also has a third value, which nobody can
// set and which differs only in who may read the core.
func writeDumpable(b *batch, m *mm.MmEntry) {
	dumpable := uint64(1)
	if m != nil && m.Dumpable != nil && m.GetDumpable() != 1 {
		dumpable = 0
	}
	b.must("set whether it may dump core").call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, dumpable)
}

// writeIdentity adds the calls that make credentials out of those that a thread of
// a stub has. check says afterwards whether they did.
func writeIdentity(b *batch, pid, tid int, want *creds.CredsEntry) (check func() error, err error) {
	have, err := readStatus(pid, tid)
	if err != nil {
		return nil, err
	}
	// The stub has inherited crtime's securebits, which its status does not show.
	secbits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("crtime's own securebits: %w", err)
	}
	if err := writeCredentials(b, have, uint32(secbits), want); err != nil {
		return nil, err
	}
	changed := len(b.calls) > 0
	return func() error {
		now := have
		if changed {
			var err error
			if now, err = readStatus(pid, tid); err != nil {
				return err
			}
		}
		return now.compare(want, have.capBnd)
	}, nil
}

// noSetUIDFixup is SECBIT_NO_SETUID_FIXUP: capabilities survive a change of user.
const noSetUIDFixup = 1 << 2

// writeCredentials adds the calls that lead from the credentials that a thread has
// to those that it is to get. The order matters: ids while the thread has all its
// capabilities; then the sets, of which the inheritable one can grow only as long
// as the bounding set is whole, and the ambient one only as long as securebits
// allow; and last what takes the right to do all that away.
func writeCredentials(b *batch, have *status, secbits uint32, want *creds.CredsEntry) error {
	if err := writeGroups(b, have, want); err != nil {
		return err
	}
	uid := [4]uint32{want.GetUid(), want.GetEuid(), want.GetSuid(), want.GetFsuid()}
	gid := [4]uint32{want.GetGid(), want.GetEgid(), want.GetSgid(), want.GetFsgid()}
	if uid != have.uid && secbits&noSetUIDFixup == 0 {
		secbits |= noSetUIDFixup
		b.must("keep the capabilities").call(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uint64(secbits))
	}
	if gid != have.gid {
		b.must("set the group ids").call(unix.SYS_SETRESGID, uint64(gid[0]), uint64(gid[1]), uint64(gid[2]))
		b.must("set the file system group id").call(unix.SYS_SETFSGID, uint64(gid[3]))
	}
	if uid != have.uid {
		b.must("set the user ids").call(unix.SYS_SETRESUID, uint64(uid[0]), uint64(uid[1]), uint64(uid[2]))
		b.must("set the file system user id").call(unix.SYS_SETFSUID, uint64(uid[3]))
	}
	if err := writeCapabilities(b, have, secbits, want); err != nil {
		return err
	}
	if v, ok := extra.Value(want, fieldNoNewPrivs); ok && v != 0 && !have.noNewPrivs {
		b.must("set no_new_privs").call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	return nil
}

// sameGroups reports whether a thread has the supplementary groups of an image, or those
// that it has to do: nobody can set them in a user namespace of an ordinary user's own,
// where a process keeps those of who restores it.
func (st *status) sameGroups(want *creds.CredsEntry) bool {
	sorted := func(groups []uint32) []uint32 { return slices.Sorted(slices.Values(groups)) }
	if slices.Equal(sorted(st.groups), sorted(want.GetGroups())) {
		return true
	}
	text, err := os.ReadFile("/proc/self/setgroups")
	return err == nil && strings.TrimSpace(string(text)) == "deny"
}

// writeGroups adds the call that sets the supplementary groups.
func writeGroups(b *batch, have *status, want *creds.CredsEntry) error {
	if have.sameGroups(want) {
		return nil
	}
	list := make([]byte, 0, 4*len(want.GetGroups())+4)
	for _, g := range want.GetGroups() {
		list = binary.NativeEndian.AppendUint32(list, g)
	}
	addr, err := b.put(append(list, 0, 0, 0, 0)) // Never empty.
	if err != nil {
		return err
	}
	b.must("set the supplementary groups").call(unix.SYS_SETGROUPS, uint64(len(want.GetGroups())), addr)
	return nil
}

// writeCapabilities adds the calls that set capabilities and securebits. secbits is
// what the thread has by then.
func writeCapabilities(b *batch, have *status, secbits uint32, c *creds.CredsEntry) error {
	now := capabilities{have.capEff, have.capPrm, have.capInh}
	want := capabilities{capSet(c.GetCapEff()), capSet(c.GetCapPrm()), capSet(c.GetCapInh())}
	ambient := capSet(extra.All(c, fieldCapAmb))
	if have.capAmb&^ambient != 0 {
		b.must("clear the ambient capabilities").call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
		have.capAmb = 0
	}
	if want.inheritable&^now.inheritable != 0 {
		now = capabilities{now.permitted, now.permitted, now.inheritable | want.inheritable}
		if err := now.write(b); err != nil {
			return err
		}
	}
	for capability := range 64 {
		if (ambient&^have.capAmb)&(1<<capability) != 0 {
			b.must("raise ambient capability %d", capability).
				call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uint64(capability), 0, 0)
		}
	}
	for capability := range 64 {
		if (have.capBnd&^capSet(c.GetCapBnd()))&(1<<capability) != 0 {
			b.must("drop capability %d from the bounding set", capability).
				call(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uint64(capability))
		}
	}
	if secbits != c.GetSecbits() {
		b.must("set the securebits").call(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uint64(c.GetSecbits()))
	}
	if now != want {
		return want.write(b)
	}
	return nil
}

// capabilities are the sets of capset(2).
type capabilities struct{ effective, permitted, inheritable uint64 }

// capVersion is _LINUX_CAPABILITY_VERSION_3.
const capVersion = 0x20080522

// write adds the call that sets them. It takes a header (version and pid, 0 for
// the caller) and the three sets for each 32 capabilities.
func (c capabilities) write(b *batch) error {
	var data []byte
	for _, w := range []uint32{
		capVersion, 0,
		uint32(c.effective), uint32(c.permitted), uint32(c.inheritable),
		uint32(c.effective >> 32), uint32(c.permitted >> 32), uint32(c.inheritable >> 32),
	} {
		data = binary.NativeEndian.AppendUint32(data, w)
	}
	addr, err := b.put(data)
	if err != nil {
		return err
	}
	b.must("set the capabilities").call(unix.SYS_CAPSET, addr, addr+8)
	return nil
}

// compare reports how a thread's credentials differ from an image's. Of the
// bounding set only what was in most could be kept.
func (st *status) compare(c *creds.CredsEntry, most uint64) error {
	nnp, _ := extra.Value(c, fieldNoNewPrivs)
	for _, part := range []struct {
		what       string
		have, want any
	}{
		{"user ids", st.uid, [4]uint32{c.GetUid(), c.GetEuid(), c.GetSuid(), c.GetFsuid()}},
		{"group ids", st.gid, [4]uint32{c.GetGid(), c.GetEgid(), c.GetSgid(), c.GetFsgid()}},
		{"effective capabilities", hex(st.capEff), hex(capSet(c.GetCapEff()))},
		{"permitted capabilities", hex(st.capPrm), hex(capSet(c.GetCapPrm()))},
		{"inheritable capabilities", hex(st.capInh), hex(capSet(c.GetCapInh()))},
		{"ambient capabilities", hex(st.capAmb), hex(capSet(extra.All(c, fieldCapAmb)))},
		{"capability bounding set", hex(st.capBnd), hex(capSet(c.GetCapBnd()) & most)},
		{"no_new_privs", st.noNewPrivs, nnp != 0},
	} {
		if part.have != part.want {
			return fmt.Errorf("the kernel gave it %s %v instead of %v", part.what, part.have, part.want)
		}
	}
	if !st.sameGroups(c) {
		return fmt.Errorf("the kernel gave it supplementary groups %v instead of %v", st.groups, c.GetGroups())
	}
	return nil
}

// hex shows a set of capabilities as /proc does.
func hex(set uint64) string { return fmt.Sprintf("%016x", set) }
