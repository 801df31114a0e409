// SPDX-License-Identifier: Apache-2.0

package waits

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Kind is a kind of call with which the kernel goes on by itself.
type Kind int

// The kinds. A call that was interrupted for the second time does not say any more
// which it was: it is restart_syscall.
const (
	Unknown Kind = iota
	Sleep
	Poll
	Futex
)

// Restarts says which kind of call the kernel would go on with in a thread that a stop
// has interrupted in one. See Prepare.
func (t Thread) Restarts() (Kind, error) {
	kinds, err := restarts()
	if err != nil {
		return Unknown, err
	}
	return kinds[t.restart], nil
}

// Prepare does what takes long of the first Restarts: it reads the kernel's list of
// symbols. The error is that of Restarts.
func Prepare() error {
	_, err := restarts()
	return err
}

// restarts are the kernel's functions that go on with calls, by their addresses.
var restarts = sync.OnceValues(func() (map[uint64]Kind, error) { //nolint:gochecknoglobals // Does not change while the system runs.
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSymbols(f)
})

// parseSymbols finds the functions in the text of /proc/kallsyms.
func parseSymbols(r io.Reader) (map[uint64]Kind, error) {
	names := map[string]Kind{"hrtimer_nanosleep_restart": Sleep, "do_restart_poll": Poll, "futex_wait_restart": Futex}
	kinds := make(map[uint64]Kind, len(names))
	for lines := bufio.NewScanner(r); len(kinds) < len(names); {
		if !lines.Scan() {
			return nil, errors.Join(lines.Err(), fmt.Errorf("/proc/kallsyms has only %d of the %d functions that go on with calls", len(kinds), len(names)))
		}
		address, rest, _ := strings.Cut(lines.Text(), " ")
		_, name, _ := strings.Cut(rest, " ")
		kind, ok := names[name]
		if !ok {
			continue
		}
		at, err := strconv.ParseUint(address, 16, 64)
		if err != nil || at == 0 {
			return nil, fmt.Errorf("/proc/kallsyms does not tell where %s is: that takes CAP_SYSLOG (kernel.kptr_restrict)", name)
		}
		kinds[at] = kind
	}
	return kinds, nil
}
