// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mayAsk decides whether a client of a named socket is served: whoever could do all of
// it without the service. That is a process of this one's user, or of root's, in the same
// user namespace, with all capabilities that this one has: it could trace what it wants
// dumped, and read and write what it names. Nobody gains anything by asking.
func (p peer) mayAsk() error {
	if p.uid != 0 && int(p.uid) != os.Geteuid() {
		return fmt.Errorf("process %d of user %d asks, and this service is for user %d and root: %w", p.pid, p.uid, os.Geteuid(), unix.EPERM)
	}
	own, err := effective("self")
	if err != nil {
		return err
	}
	theirs, err := effective(strconv.Itoa(p.pid))
	if err != nil {
		return err
	}
	if lacking := own &^ theirs; lacking != 0 {
		return fmt.Errorf("process %d asks, and lacks capabilities that this service has (%#x): %w", p.pid, lacking, unix.EPERM)
	}
	if err := p.sameUserNamespace(); err != nil {
		return err
	}
	return p.alive()
}

// sameUserNamespace refuses a client whose capabilities mean something else.
func (p peer) sameUserNamespace() error {
	var own, theirs unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &own); err != nil {
		return fmt.Errorf("look at the user namespace: %w", err)
	}
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/user", p.pid), &theirs); err != nil {
		return fmt.Errorf("look at the user namespace of client %d: %w", p.pid, err)
	}
	if own.Dev != theirs.Dev || own.Ino != theirs.Ino {
		return fmt.Errorf("process %d asks from another user namespace: %w", p.pid, unix.EPERM)
	}
	return nil
}

// effective are the capabilities of a process.
func effective(pid string) (uint64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, fmt.Errorf("look at the capabilities of client %s: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		if set, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(set), 16, 64)
		}
	}
	return 0, fmt.Errorf("client %s has no capabilities in its status", pid)
}
