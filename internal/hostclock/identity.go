// SPDX-License-Identifier: Apache-2.0

package hostclock

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

// bootIDFile holds a random id that is new at every boot.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// bootID reads the boot id without its newline.
func bootID() (string, error) {
	text, err := os.ReadFile(bootIDFile)
	if err != nil {
		return "", fmt.Errorf("identify this boot: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Identity says which machine and which boot this is. The hostname is that of
// the caller's UTS namespace.
func Identity() (clockstate.Host, error) {
	id, err := bootID()
	if err != nil {
		return clockstate.Host{}, err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return clockstate.Host{}, fmt.Errorf("identify this host: uname: %w", err)
	}
	return clockstate.Host{
		BootID:        id,
		Hostname:      unix.ByteSliceToString(name.Nodename[:]),
		KernelRelease: unix.ByteSliceToString(name.Release[:]),
	}, nil
}
