// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// capability is the number of a privilege in the kernel's
// include/uapi/linux/capability.h.
type capability uint

// The capabilities that crtime and CRIU make use of.
const (
	capNetAdmin    capability = 12
	capSysPtrace   capability = 19
	capSysAdmin    capability = 21
	capSysResource capability = 24
	capSysTime     capability = 25
)

// capabilities is a set of them, as /proc/PID/status shows it.
type capabilities uint64

// has reports whether a capability is in the set.
func (c capabilities) has(one capability) bool { return c>>one&1 == 1 }

// ownCapabilities are those that this process can use now.
func ownCapabilities() (capabilities, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read this process's capabilities: %w", err)
	}
	defer f.Close()
	return parseCapabilities(f)
}

// parseCapabilities finds the effective set in a status file.
func parseCapabilities(r io.Reader) (capabilities, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		value, ok := strings.CutPrefix(lines.Text(), "CapEff:")
		if !ok {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("effective capabilities: %w", err)
		}
		return capabilities(set), nil
	}
	return 0, errors.Join(errors.New("a status file without effective capabilities"), lines.Err())
}
