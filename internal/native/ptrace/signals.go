// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// maskSize is the size of the kernel's signal mask in bytes.
const maskSize = 8

// SigInfo is the kernel's siginfo_t in the machine's byte order.
type SigInfo [128]byte

// Signal is si_signo.
func (i *SigInfo) Signal() unix.Signal {
	return unix.Signal(int32(binary.NativeEndian.Uint32(i[0:])))
}

// Code is si_code.
func (i *SigInfo) Code() int32 { return int32(binary.NativeEndian.Uint32(i[8:])) }

// PID is si_pid. It means something only for signals that a process sent.
func (i *SigInfo) PID() int { return int(int32(binary.NativeEndian.Uint32(i[16:]))) }

// SignalMask reads which signals a stopped thread blocks: bit n-1 is signal n.
// For a thread inside sigsuspend, ppoll and their kin it is the mask that the
// thread will have afterwards.
func (th *Thread) SignalMask() (uint64, error) {
	var b [maskSize]byte
	err := th.data("read the signal mask of", unix.PTRACE_GETSIGMASK, maskSize, b[:])
	return binary.NativeEndian.Uint64(b[:]), err
}

// SetSignalMask sets which signals a stopped thread blocks. SIGKILL and SIGSTOP
// are ignored.
func (th *Thread) SetSignalMask(mask uint64) error {
	var b [maskSize]byte
	binary.NativeEndian.PutUint64(b[:], mask)
	err := th.data("set the signal mask of", unix.PTRACE_SETSIGMASK, maskSize, b[:])
	return err
}

// SignalInfo reads the siginfo of the signal that stopped the thread. For a
// stop without a signal it says what the kernel made up for it.
func (th *Thread) SignalInfo() (SigInfo, error) {
	var info SigInfo
	err := th.data("read the signal of", unix.PTRACE_GETSIGINFO, 0, info[:])
	return info, err
}

// SetSignalInfo replaces the siginfo of the signal that stopped the thread.
func (th *Thread) SetSignalInfo(info SigInfo) error {
	err := th.data("set the signal of", unix.PTRACE_SETSIGINFO, 0, info[:])
	return err
}

// Pending reads the signals that wait for delivery, as siginfo_t in the order of
// the queue: those sent to the process (shared) or to this thread.
func (th *Thread) Pending(shared bool) ([][128]byte, error) {
	const what = "read the pending signals of"
	if th.gone {
		return nil, th.explain(what, unix.ESRCH)
	}
	flags := uint32(0)
	if shared {
		flags = unix.PTRACE_PEEKSIGINFO_SHARED
	}
	var all [][128]byte
	var some [16][128]byte
	for {
		n, err := requestPending(th.TID, uint64(len(all)), flags, some[:])
		if err != nil {
			return nil, th.explain(what, err)
		}
		all = append(all, some[:n]...)
		if n < len(some) {
			return all, nil
		}
	}
}

// data makes a request with a buffer and explains its failure.
func (th *Thread) data(what string, req int, addr uintptr, buf []byte) error {
	if th.gone {
		return th.explain(what, unix.ESRCH)
	}
	return th.explain(what, requestData(req, th.TID, addr, buf))
}
