// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/maps"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// detours are code of crtime's in a process, and its data, for threads that wait for a
// socket with the time limit of that. The limit is the socket's, not an argument: made
// again, the call would wait anew for the whole of it. So the thread goes by a few
// instructions first that wait for the socket for what is left. If something comes they
// make the call, otherwise they give the program the result of one whose time is over.
//
// There is one slot for each thread that needs one. A slot is taken for as long as a
// thread is in it, or is to come back to it from a signal handler: it says so itself.
// The memory stays with the process; the next detours are the same.
type detours struct {
	in    caller
	pid   int
	at    uint64          // 0: they are not there yet.
	taken map[uint64]bool // By their numbers, slots in which a thread is; nil: not looked at.
}

// The layout: code that nobody can write, in slots of which the first is a mark, and
// behind it the data of each.
const (
	detourSlots    = 64
	detourCodeSize = 256
	detourDataSize = 64
	detoursCode    = detourSlots * detourCodeSize
	detoursData    = detourSlots * detourDataSize
)

// The data of a slot: a struct pollfd, the time limit, and a byte that says whether the
// slot is in use.
const (
	detourLimit = 8
	detourInUse = 24
)

// detoursMark is what they begin with, by which the next crtime knows them.
const detoursMark = "crtime: detours\x00"

// ready sees to it that they are there.
func (d *detours) ready() error {
	if d.at != 0 {
		return nil
	}
	if err := d.find(); err != nil || d.at != 0 {
		return err
	}
	// Executable from the beginning: a hardened process may make nothing so afterwards.
	const page = 4096
	b := newBatch(d.in)
	mapped := b.must("map memory for detours").call(unix.SYS_MMAP, 0, detoursCode+detoursData+2*page,
		unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0))
	if err := b.run(nil); err != nil {
		return err
	}
	at := uint64(b.calls[mapped].Ret) + page
	b = newBatch(d.in)
	b.must("make the data of detours writable").call(unix.SYS_MPROTECT, at+detoursCode, detoursData, unix.PROT_READ|unix.PROT_WRITE)
	b.must("guard the detours").call(unix.SYS_MPROTECT, at-page, page, unix.PROT_NONE)
	b.must("guard the data of detours").call(unix.SYS_MPROTECT, at+detoursCode+detoursData, page, unix.PROT_NONE)
	if err := b.run(nil); err != nil {
		return err
	}
	d.at = at
	return remote.WriteCode(d.pid, at, []byte(detoursMark))
}

// find looks for those of an earlier crtime.
func (d *detours) find() error {
	all, err := maps.Read(d.pid)
	if err != nil {
		return err
	}
	for _, m := range all {
		var mark [len(detoursMark)]byte
		if m.Size() == detoursCode && !m.File() && !m.Shared() && m.Perms&maps.PermExec != 0 &&
			d.in.Read(m.Start, mark[:]) == nil && string(mark[:]) == detoursMark {
			d.at = m.Start
			return nil
		}
	}
	return nil
}

// occupy keeps the slots in which threads are: they may have left their polls, and say no
// more that they are there.
func (d *detours) occupy(pcs []uint64) {
	d.taken = map[uint64]bool{}
	for _, pc := range pcs {
		if pc >= d.at && pc < d.at+detoursCode {
			d.taken[(pc-d.at)/detourCodeSize] = true
		}
	}
}

// slot finds a free one. The first is the mark's.
func (d *detours) slot() (code, data uint64, err error) {
	for i := uint64(1); i < detourSlots; i++ {
		if d.taken[i] {
			continue
		}
		code, data = d.at+i*detourCodeSize, d.at+detoursCode+i*detourDataSize
		var inUse [1]byte
		if err := d.in.Read(data+detourInUse, inUse[:]); err != nil {
			return 0, 0, err
		}
		if inUse[0] == 0 {
			d.taken[i] = true
			return code, data, nil
		}
	}
	return 0, 0, fmt.Errorf("more than %d threads of process %d wait for a socket with a time limit", detourSlots-1, d.pid)
}

// lay makes a detour for a call whose instruction is at insn, and returns where its code
// and its data are. They are ready.
func (d *detours) lay(c *call, insn uint64, left int64) (code, data uint64, err error) {
	if code, data, err = d.slot(); err != nil {
		return 0, 0, err
	}
	events, _ := waitsForSocket(c.number)
	b := binary.NativeEndian.AppendUint32(nil, uint32(c.args[0]))
	b = binary.NativeEndian.AppendUint16(b, uint16(events))
	b = binary.NativeEndian.AppendUint16(b, 0) // What comes.
	b = append(append(b, timespec(left)...), 1)
	if err := d.in.Write(data, b); err != nil {
		return 0, 0, err
	}
	return code, data, remote.WriteCode(d.pid, code, detourCode(c, insn, code, data))
}

// late is what is left of a wait for a socket. Its timer counts in ticks: it is never to
// be early.
func (c *call) late(left int64) int64 { return left + c.rest.Fuzz }

// detour has a thread of a restore take one.
func (r *Resumer) detour(c *call, state *remote.State) error {
	d := &r.detours
	if d.taken == nil { // The first of the process.
		if err := d.ready(); err != nil {
			return err
		}
		d.occupy(r.pcs())
	}
	// The call is to be made again: it comes next.
	code, data, err := d.lay(c, state.Registers.PC(), c.late(r.Left.Released(c.rest)))
	if err != nil {
		return err
	}
	state.Registers.SetPC(code)
	r.Late = append(r.Late, func() error { return r.Stub.Write(data+detourLimit, timespec(c.late(r.Left.Now(c.rest)))) })
	return nil
}

// pcs are the instructions at which the threads of the images are.
func (r *Resumer) pcs() []uint64 {
	var pcs []uint64
	for _, tid := range r.Set.Process[r.PID].TIDs(r.PID) {
		if state, err := State(r.Set, r.PID, tid); err == nil {
			pcs = append(pcs, state.Registers.PC())
		}
	}
	return pcs
}

// prolongSocket is Prolong for a thread that waits for a socket. It looks as if the
// thread had been stopped in the poll: a signal that has come meanwhile ends that, and
// so the call, as it would have without the stop.
func (a *Annex) prolongSocket(th *ptrace.Thread, regs *ptrace.Registers, c *call, left int64) error {
	if a == nil || a.detours.at == 0 {
		return nil
	}
	code, data, err := a.detours.lay(c, regs.PC()-syscallSize, c.late(left))
	if err != nil {
		return err
	}
	for i, arg := range []uint64{data, 1, data + detourLimit, 0, 0} {
		regs.SetArg(i, arg)
	}
	regs.SetPC(code + detourPolled)
	regs.SetSyscallNumber(unix.SYS_PPOLL)
	regs.SetResult(restartNoHand)
	return th.SetRegisters(*regs)
}
