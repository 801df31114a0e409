// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"fmt"
	"os"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// probeArea is where the probe's stub has its area: anywhere will do.
const probeArea = 1 << 32

// Probe reports whether the engine can work here: it makes a process with a chosen
// number, runs system calls in it, and ends it.
func Probe() error {
	return ptrace.Run(func(t *ptrace.Tracer) error {
		const tries = 8
		var err error
		for range tries {
			pid, findErr := freePID()
			if findErr != nil {
				return findErr
			}
			var stub *remote.Stub
			stub, err = remote.Spawn(t, pid, probeArea)
			if err == nil {
				return stub.Kill()
			}
			if !errors.Is(err, remote.ErrPIDTaken) {
				return err
			}
		}
		return err
	})
}

// freePID finds a process number that is not in use, and seldom is.
func freePID() (int, error) {
	const highest, lowest = 32767, 300 // The smallest pid_max that systems have, and what the kernel skips.
	for pid := highest; pid > lowest; pid-- {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d", pid)); errors.Is(err, os.ErrNotExist) {
			return pid, nil
		}
	}
	return 0, errors.New("no process number is free")
}
