// SPDX-License-Identifier: Apache-2.0

package tasks

import "golang.org/x/sys/unix"

// Commands of membarrier(2). That which registers for a barrier is the next bit
// after the barrier's own.
const (
	membarrierQuery            = 0
	membarrierPrivate          = 1 << 3
	membarrierPrivateSyncCore  = 1 << 5
	membarrierPrivateRseq      = 1 << 7
	membarrierGetRegistrations = 1 << 9
)

// askMembarriers adds the calls that ask which barriers the process is registered
// for. The returned function gives the commands that registered it, after the batch
// was run.
func askMembarriers(b *batch) func() uint64 {
	known, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierQuery, 0, 0)
	switch {
	case errno != 0: // This kernel has no such call.
		return func() uint64 { return 0 }
	case known&membarrierGetRegistrations == 0:
		return tryMembarriers(b)
	}
	get := b.must("ask for its membarrier registrations").call(unix.SYS_MEMBARRIER, membarrierGetRegistrations)
	return func() uint64 { return uint64(b.calls[get].Ret) }
}

// tryMembarriers is askMembarriers for kernels before Linux 6.3, which do not tell:
// they let a process make a private barrier only if it is registered for it. The
// global one any process may make, so that a registration for that is not seen.
func tryMembarriers(b *batch) func() uint64 {
	tries := map[uint64]int{}
	for _, barrier := range []uint64{membarrierPrivate, membarrierPrivateSyncCore, membarrierPrivateRseq} {
		tries[barrier] = b.may("see whether it may make a barrier").call(unix.SYS_MEMBARRIER, barrier)
	}
	return func() uint64 {
		var registered uint64
		for barrier, call := range tries {
			if b.calls[call].Err() == nil {
				registered |= barrier << 1
			}
		}
		return registered
	}
}
