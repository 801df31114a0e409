// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"

	core_x86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// machine is how a core image names this machine.
const machine = criu_core.CoreEntry_X86_64

// userCS is the code segment of 64-bit programs on Linux; a thread in another
// one runs 32-bit code.
const userCS = 0x33

// errCompat says that a thread runs 32-bit code.
var errCompat = errors.New("it runs 32-bit code, which the native engine does not support")

// saveState writes registers and extended state into a core image.
func saveState(core *criu_core.CoreEntry, st *remote.State) error {
	if st.Registers.Cs != userCS {
		return errCompat
	}
	fp, err := saveExtended(st.Extended)
	if err != nil {
		return err
	}
	core.ThreadInfo = &core_x86.ThreadInfoX86{
		ClearTidAddr: proto.Uint64(0),
		Gpregs:       saveRegisters(&st.Registers),
		Fpregs:       fp,
		Tls:          emptyTLS(),
	}
	return nil
}

// saveRegisters converts the general registers to the image's form.
func saveRegisters(r *ptrace.Registers) *core_x86.UserX86RegsEntry {
	return &core_x86.UserX86RegsEntry{
		R15: &r.R15, R14: &r.R14, R13: &r.R13, R12: &r.R12,
		Bp: &r.Rbp, Bx: &r.Rbx, R11: &r.R11, R10: &r.R10, R9: &r.R9, R8: &r.R8,
		Ax: &r.Rax, Cx: &r.Rcx, Dx: &r.Rdx, Si: &r.Rsi, Di: &r.Rdi, OrigAx: &r.Orig_rax,
		Ip: &r.Rip, Cs: &r.Cs, Flags: &r.Eflags, Sp: &r.Rsp, Ss: &r.Ss,
		FsBase: &r.Fs_base, GsBase: &r.Gs_base, Ds: &r.Ds, Es: &r.Es, Fs: &r.Fs, Gs: &r.Gs,
		Mode: core_x86.UserX86RegsMode_NATIVE.Enum(),
	}
}

// loadState is the reverse of saveState.
//
// The thread is in no system call any more: the image's registers already say
// what is to become of one that was interrupted, so the number of the call is
// taken away and the kernel repeats nothing by itself.
func loadState(core *criu_core.CoreEntry) (remote.State, error) {
	ti := core.GetThreadInfo()
	g := ti.GetGpregs()
	if core.GetMtype() != machine || g == nil {
		return remote.State{}, fmt.Errorf("its registers are those of another machine (%s), and this one is %s", core.GetMtype(), machine)
	}
	if g.GetMode() != core_x86.UserX86RegsMode_NATIVE {
		return remote.State{}, errCompat
	}
	extended, err := loadExtended(ti.GetFpregs())
	if err != nil {
		return remote.State{}, err
	}
	regs := ptrace.Registers{PtraceRegs: unix.PtraceRegs{
		R15: g.GetR15(), R14: g.GetR14(), R13: g.GetR13(), R12: g.GetR12(),
		Rbp: g.GetBp(), Rbx: g.GetBx(), R11: g.GetR11(), R10: g.GetR10(), R9: g.GetR9(), R8: g.GetR8(),
		Rax: g.GetAx(), Rcx: g.GetCx(), Rdx: g.GetDx(), Rsi: g.GetSi(), Rdi: g.GetDi(),
		Rip: g.GetIp(), Cs: g.GetCs(), Eflags: g.GetFlags(), Rsp: g.GetSp(), Ss: g.GetSs(),
		Fs_base: g.GetFsBase(), Gs_base: g.GetGsBase(),
		Ds: g.GetDs(), Es: g.GetEs(), Fs: g.GetFs(), Gs: g.GetGs(),
	}}
	if regs.Cs != userCS {
		return remote.State{}, errCompat
	}
	if err := checkSegments(&regs); err != nil {
		return remote.State{}, err
	}
	regs.SetSyscallNumber(-1)
	return remote.State{Registers: regs, Extended: extended}, nil
}

// checkSegments refuses segment registers that the kernel would refuse when
// everything else is done: selectors of another privilege level than the user's,
// and bases outside user memory.
func checkSegments(r *ptrace.Registers) error {
	const userLevel = 3
	for i, selector := range []uint64{r.Ss, r.Ds, r.Es, r.Fs, r.Gs} {
		if selector>>16 != 0 || selector&userLevel != userLevel && (selector != 0 || i == 0) {
			return fmt.Errorf("its image has the segment selector %#x", selector)
		}
	}
	for _, base := range []uint64{r.Fs_base, r.Gs_base} {
		if base >= highestAddress {
			return fmt.Errorf("its image has a segment that begins at %#x, outside user memory", base)
		}
	}
	return nil
}

// firstTLS is the first of the three entries of the GDT that belong to a thread
// (GDT_ENTRY_TLS_MIN of the kernel's asm/segment.h). 64-bit programs do not use
// them; CRIU expects all three all the same.
const firstTLS = 12

// emptyTLS is three unused entries.
func emptyTLS() []*core_x86.UserDescT {
	tls := make([]*core_x86.UserDescT, 3)
	for i := range tls {
		tls[i] = &core_x86.UserDescT{
			EntryNumber: proto.Uint32(uint32(firstTLS + i)), BaseAddr: proto.Uint32(0), Limit: proto.Uint32(0),
			Seg_32Bit: proto.Bool(false), ContentsH: proto.Bool(false), ContentsL: proto.Bool(false),
			ReadExecOnly: proto.Bool(true), LimitInPages: proto.Bool(false),
			SegNotPresent: proto.Bool(true), Usable: proto.Bool(false),
		}
	}
	return tls
}

// checkTLS refuses segments that this engine would lose.
func checkTLS(core *criu_core.CoreEntry) error {
	for _, d := range core.GetThreadInfo().GetTls() {
		if d.GetLimit() != 0 || d.GetBaseAddr() != 0 || d.GetUsable() || !d.GetSegNotPresent() {
			return fmt.Errorf("%w: it uses segment %d of the GDT, which the native engine does not rebuild", criuimg.ErrUnsupported, d.GetEntryNumber())
		}
	}
	return nil
}

// setClearTID notes the address at which the kernel clears the thread id when
// the thread ends.
func setClearTID(core *criu_core.CoreEntry, addr uint64) { core.ThreadInfo.ClearTidAddr = &addr }

// clearTID is the reverse of setClearTID.
func clearTID(core *criu_core.CoreEntry) uint64 { return core.GetThreadInfo().GetClearTidAddr() }
