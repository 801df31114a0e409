// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The kernel's structures on 64-bit machines, and where their fields are
// (include/uapi/linux/time.h, include/uapi/asm-generic/siginfo.h). All machines
// that this project is built for are little-endian.
const (
	timeSize     = 16  // struct timespec, struct timeval.
	spanSize     = 32  // struct itimerspec, struct itimerval: the interval, then the value.
	sigeventSize = 64  // struct sigevent.
	siginfoSize  = 128 // siginfo_t.
	idSize       = 4   // timer_t of the kernel.

	siginfoCode    = 8
	siginfoTimer   = 16 // si_tid: the number of the timer.
	siginfoOverrun = 20
	siginfoValue   = 24

	siTimer  = -2   // SI_TIMER
	siKernel = 0x80 // SI_KERNEL
)

// The kinds of interval timers, ITIMER_ of include/uapi/linux/time.h.
const (
	itimerReal    = 0
	itimerVirtual = 1
	itimerProf    = 2
)

// PR_TIMER_CREATE_RESTORE_IDS of include/uapi/linux/prctl.h, Linux 6.15.
const (
	restoreIDs    = 77
	restoreIDsOff = 0
	restoreIDsOn  = 1
	restoreIDsGet = 2
)

// span is a struct itimerspec in nanoseconds, or a struct itimerval in
// microseconds.
type span struct{ interval, value int64 }

// encode lays a span out for the kernel; unit is how many of what it counts make
// a second.
func (s span) encode(unit int64) []byte {
	b := make([]byte, 0, spanSize)
	for _, v := range []int64{s.interval, s.value} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v/unit))
		b = binary.LittleEndian.AppendUint64(b, uint64(v%unit))
	}
	return b
}

// decodeSpan is the opposite of encode. The kernel gives nothing that the result
// could not hold.
func decodeSpan(b []byte, unit int64) span {
	return span{interval: decodeTime(b, unit), value: decodeTime(b[timeSize:], unit)}
}

// decodeTime reads a struct timespec or timeval.
func decodeTime(b []byte, unit int64) int64 {
	return int64(binary.LittleEndian.Uint64(b))*unit + int64(binary.LittleEndian.Uint64(b[8:]))
}

// encodeEvent makes the sigevent with which the timer is created.
func (t posix) encodeEvent() []byte {
	b := make([]byte, sigeventSize)
	binary.LittleEndian.PutUint64(b, t.value)
	binary.LittleEndian.PutUint32(b[8:], uint32(t.signal))
	binary.LittleEndian.PutUint32(b[12:], uint32(t.notify))
	binary.LittleEndian.PutUint32(b[16:], uint32(t.thread))
	return b
}

// encodeSignal makes the siginfo of the signal that the timer sends.
func (t posix) encodeSignal(overrun int32) []byte {
	b := signalInfo(unix.Signal(t.signal), siTimer)
	binary.LittleEndian.PutUint32(b[siginfoTimer:], uint32(t.id))
	binary.LittleEndian.PutUint32(b[siginfoOverrun:], uint32(overrun))
	binary.LittleEndian.PutUint64(b[siginfoValue:], t.value)
	return b
}

// signalInfo makes a siginfo without further fields.
func signalInfo(signal unix.Signal, code int32) []byte {
	b := make([]byte, siginfoSize)
	binary.LittleEndian.PutUint32(b, uint32(signal))
	binary.LittleEndian.PutUint32(b[siginfoCode:], uint32(code))
	return b
}
