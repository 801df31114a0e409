// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// queueRoom is how many signals are queued at once: their siginfos have to fit
// into the stub's memory.
const queueRoom = 256

// Queue gives thread tid of process pid the signals that wait for it, in their
// order and with everything that is known about them; the first thread gets those
// of the whole process too. The thread still blocks all signals.
//
// Only the thread itself may say that a signal comes from kill(2) or the kernel,
// so it sends them to itself. Two are left out. SIGSTOP cannot wait: see Stopped.
// SIGCONT would not survive the SIGSTOP with which every batch of a stub ends; it
// is queued by Credentials when no more batches come.
func Queue(set *criuimg.Set, pid, tid uint32, stub *remote.Stub, th *ptrace.Thread) error { //nolint:revive // A thread, and where it is.
	core, err := threadOf(set, pid, tid)
	if err != nil {
		return err
	}
	own := queueable(signalInfos(core.GetThreadCore().GetSignalsP()))
	err = queue(stub, th, own, func(sig, info uint64) (uintptr, []uint64) {
		return unix.SYS_RT_TGSIGQUEUEINFO, []uint64{uint64(pid), uint64(tid), sig, info}
	})
	if err == nil && tid == pid {
		shared := queueable(signalInfos(core.GetTc().GetSignalsS()))
		err = queue(stub, th, shared, func(sig, info uint64) (uintptr, []uint64) {
			return unix.SYS_RT_SIGQUEUEINFO, []uint64{uint64(pid), sig, info}
		})
	}
	return threadError(set, pid, tid, err)
}

// queueable leaves out what Queue does.
func queueable(infos [][128]byte) [][128]byte {
	var some [][128]byte
	for i := range infos {
		info := ptrace.SigInfo(infos[i])
		if sig := info.Signal(); sig != unix.SIGSTOP && sig != unix.SIGCONT {
			some = append(some, infos[i])
		}
	}
	return some
}

// queue has a thread send signals. send says by which call, given the signal and
// the address of its siginfo.
func queue(stub *remote.Stub, th *ptrace.Thread, infos [][128]byte, send func(sig, info uint64) (uintptr, []uint64)) error {
	for len(infos) > 0 {
		n := min(len(infos), queueRoom)
		b := newBatch(stub)
		var all []byte
		for i := range infos[:n] {
			all = append(all, infos[i][:]...)
		}
		at, err := b.put(all)
		if err != nil {
			return err
		}
		for i := range infos[:n] {
			info := ptrace.SigInfo(infos[i])
			nr, args := send(uint64(info.Signal()), at+uint64(i*len(info)))
			b.must("queue signal %d", int(info.Signal())).call(nr, args...)
		}
		if err := b.run(th); err != nil {
			return err
		}
		infos = infos[n:]
	}
	return nil
}

// queueContinue queues the SIGCONTs that wait for process pid as a whole. The call
// is made without a batch, whose end would take them back, so none may follow.
func queueContinue(p *criuimg.Process, pid uint32, stub *remote.Stub) error {
	infos := signalInfos(p.Core.GetTc().GetSignalsS())
	for i := range infos {
		info := ptrace.SigInfo(infos[i])
		if info.Signal() != unix.SIGCONT {
			continue
		}
		stub.Reset()
		at, err := stub.Alloc(len(info))
		if err != nil {
			return err
		}
		if err := stub.Write(at, info[:]); err != nil {
			return err
		}
		if err := callOnce(stub, unix.SYS_RT_SIGQUEUEINFO, [6]uint64{uint64(pid), uint64(unix.SIGCONT), at}); err != nil {
			return fmt.Errorf("queue SIGCONT: %w", err)
		}
	}
	return nil
}

// callOnce makes one call in a stub's first thread from one stop to the next,
// with nothing around it.
func callOnce(stub *remote.Stub, nr uintptr, args [6]uint64) error {
	start, _ := stub.Area()
	code := make([]byte, os.Getpagesize()) // It comes first in the area.
	if err := stub.Read(start, code); err != nil {
		return err
	}
	at := bytes.Index(code, []byte(syscallInstruction))
	if at < 0 {
		return errors.New("the stub has no system call instruction")
	}
	regs, err := stub.Thread.Registers()
	if err != nil {
		return err
	}
	regs.SetSyscallNumber(-1)
	regs.SetPC(start + uint64(at))
	regs.SetCall(uint64(nr), args)
	if err := stub.Thread.SetRegisters(regs); err != nil {
		return err
	}
	for range 2 { // The beginning and the end of the call.
		if err := toSyscallStop(stub.Thread); err != nil {
			return err
		}
	}
	if regs, err = stub.Thread.Registers(); err != nil {
		return err
	}
	if ret := regs.Result(); ret < 0 {
		return unix.Errno(-ret)
	}
	return nil
}

// toSyscallStop lets a stub's thread run to its next stop at a system call.
func toSyscallStop(th *ptrace.Thread) error {
	for {
		if err := th.ContinueToSyscall(0); err != nil {
			return err
		}
		s, err := th.Wait()
		if err != nil {
			return err
		}
		switch s.Kind {
		case ptrace.SyscallStop:
			return nil
		case ptrace.SignalStop:
			// SIGSTOP alone is not blocked: somebody else has sent it. It is
			// lost, as in every batch.
			if s.Signal != unix.SIGSTOP {
				return fmt.Errorf("the thread got %s in the middle of a call", unix.SignalName(s.Signal))
			}
		default:
		}
	}
}
