// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"

	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/proc"
)

// defaultCoreFilter is what kernels have unless they are told otherwise at boot
// (coredump_filter=), see core(5).
const defaultCoreFilter = 0x33

// coreFilterPath is the file that says which memory of a process a core dump holds.
func coreFilterPath[N int | uint32](pid N) string {
	return fmt.Sprintf("/proc/%d/coredump_filter", pid)
}

// saveCoreFilter keeps which memory of a process a core dump would hold.
func saveCoreFilter(pid int, tc *criu_core.TaskCoreEntry) error {
	filter, err := readNumber(coreFilterPath(pid), 16)
	if errors.Is(err, proc.ErrGone) {
		return nil // A kernel without core dumps; a process that is gone is noticed elsewhere.
	}
	if err != nil {
		return err
	}
	if filter != defaultCoreFilter {
		extra.Set(tc, fieldCoreFilter, uint64(filter))
	}
	return nil
}

// setCoreFilter gives a process its filter, from outside.
func setCoreFilter(pid uint32, tc *criu_core.TaskCoreEntry) error {
	want, saved := extra.Value(tc, fieldCoreFilter)
	if !saved {
		want = defaultCoreFilter
	}
	have, err := readNumber(coreFilterPath(pid), 16)
	if err == nil && uint64(have) == want || errors.Is(err, proc.ErrGone) && !saved {
		return nil
	}
	if err == nil {
		err = os.WriteFile(coreFilterPath(pid), []byte("0x"+strconv.FormatUint(want, 16)), 0)
	}
	if err != nil {
		return fmt.Errorf("set which memory a core dump holds to %#x: %w", want, err)
	}
	return nil
}
