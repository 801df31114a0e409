// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/maps"
)

// Flags of mlockall(2).
const (
	mclFuture  = 2
	mclOnFault = 4
)

// lockOfNew is what mlockall(2) was asked to do with memory that is mapped later; 0:
// nothing. The kernel does not tell, but crtime's own area is such memory: it was
// mapped a moment ago, and nobody has locked it.
//
// Where the kernel does not show what was locked on fault, it shows only in the part
// of the area that crtime has not written, see guessLockOnFault.
func lockOfNew(regions []region, own span) uint64 {
	var lock uint64
	for _, r := range regions {
		if !own.overlaps(span{r.Start, r.End}) || !r.Flags.Has(maps.FlagLocked) {
			continue
		}
		lock |= mclFuture
		if r.Flags.Has(maps.FlagLockOnFault) {
			lock |= mclOnFault
		}
	}
	return lock
}

// lockNew has the memory locked that a process maps from now on, if it was so.
func lockNew(m *mm.MmEntry, t *table) {
	if flags, _ := extra.Value(m, fieldLockNew); flags != 0 {
		t.add(must("lock memory that is mapped later (mlockall)", unix.SYS_MLOCKALL, flags))
	}
}

// checkLockNew refuses flags that would do something else.
func checkLockNew(m *mm.MmEntry) error {
	switch flags, _ := extra.Value(m, fieldLockNew); flags {
	case 0, mclFuture, mclFuture | mclOnFault:
		return nil
	default:
		return fmt.Errorf("flags %#x for mlockall: %w", flags, ErrImages)
	}
}
