// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// allPids lists every process there is.
func allPids() []int {
	pids, err := listNumbers("/proc")
	if err != nil {
		return nil
	}
	return pids
}

// listDescriptors lists the numbers of a process's descriptors, in order.
func listDescriptors(pid int) ([]int, error) {
	fds, err := listNumbers("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return nil, fmt.Errorf("list the descriptors of process %d: %w", pid, err)
	}
	return fds, nil
}

// listNumbers lists those entries of a directory that are numbers, in order.
func listNumbers(path string) ([]int, error) {
	dir, err := openDirectory(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	return numbersIn(dir)
}

// openDirectory opens a directory of /proc. The caller closes it.
func openDirectory(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// numbersIn lists those entries of an open directory that are numbers, in order.
// It makes a third of the system calls of os.ReadDir, and no strings.
func numbersIn(dir int) ([]int, error) {
	var list []int
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.Getdents(dir, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, fmt.Errorf("list a directory: %w", err)
		case n == 0:
			slices.Sort(list)
			return list, nil
		}
		list = appendNumbers(list, buf[:n])
	}
}

// appendNumbers takes the numbers out of entries as getdents64(2) gives them.
func appendNumbers(list []int, entries []byte) []int {
	const recordLength, name = 16, 19 // Offsets in struct linux_dirent64.
	for len(entries) > name {
		size := int(binary.NativeEndian.Uint16(entries[recordLength:]))
		if size <= name || size > len(entries) {
			break
		}
		text, _, _ := bytes.Cut(entries[name:size], []byte{0})
		if n, ok := digits(text); ok {
			list = append(list, n)
		}
		entries = entries[size:]
	}
	return list
}

// digits reads a number that consists of nothing but digits.
func digits(text []byte) (n int, ok bool) {
	const most = 10 // More than any pid or descriptor has.
	if len(text) == 0 || len(text) > most {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
