// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/crtime/crtime/internal/proc"
)

// mapping is what the search for gadgets and for free space needs of a line of
// /proc/PID/maps.
type mapping struct {
	start, end uint64
	perms      string // "r-xp"
	file       string // Offset, device and inode of what is mapped, as the line has them.
	name       string
}

func (m mapping) executable() bool { return m.perms[0] == 'r' && m.perms[2] == 'x' }

// lowest and highest bound where an area may be: above what programs and
// vm.mmap_min_addr use to catch null pointers, below the end of the address
// space that Linux gives to programs which do not ask for more.
const (
	lowestAddress  = 1 << 20
	highestAddress = 0x7ffffffff000
)

// readMappings reads /proc/PID/maps.
func readMappings(pid int) ([]mapping, error) {
	file := fmt.Sprintf("/proc/%d/maps", pid)
	text, err := proc.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all, err := parseMappings(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all, nil
}

// parseMappings reads the text of /proc/PID/maps.
func parseMappings(text []byte) ([]mapping, error) {
	var all []mapping
	for line := range bytes.Lines(text) {
		m, err := parseMapping(strings.TrimSuffix(string(line), "\n"))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(all)+1, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// parseMapping reads "start-end perms offset dev inode   name".
func parseMapping(line string) (mapping, error) {
	var m mapping
	addresses, rest, _ := strings.Cut(line, " ")
	from, to, ok := strings.Cut(addresses, "-")
	if !ok {
		return m, fmt.Errorf("no range of addresses in %q", line)
	}
	var err error
	if m.start, err = strconv.ParseUint(from, 16, 64); err != nil {
		return m, err
	}
	if m.end, err = strconv.ParseUint(to, 16, 64); err != nil {
		return m, err
	}
	var ok2 bool
	m.perms, rest, ok2 = strings.Cut(rest, " ")
	if !ok2 || len(m.perms) != 4 || m.start >= m.end {
		return m, fmt.Errorf("%q does not describe a mapping", line)
	}
	words := rest
	for range 3 {
		_, rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
	}
	m.file = strings.TrimRight(words[:len(words)-len(rest)], " ")
	m.name = strings.TrimLeft(rest, " ")
	return m, nil
}

// findHole gives the middle of the largest hole between the mappings. Far from
// everything, the area merges with no mapping, and if it is left behind by a
// tracer that was killed it is in nothing's way.
func findHole(all []mapping, size uint64) (uint64, bool) {
	var at, largest uint64
	low := uint64(lowestAddress)
	consider := func(high uint64) {
		if high > low && high-low > largest {
			largest = high - low
			at = (low + (largest-size)/2) &^ (pageSize - 1)
		}
	}
	for _, m := range all {
		if m.start >= highestAddress {
			break
		}
		consider(m.start)
		low = max(low, m.end)
	}
	consider(highestAddress)
	// A page on each side keeps it apart from its neighbours.
	return at, largest >= size+4*pageSize
}
