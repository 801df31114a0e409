// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// floor is what no dump and no restore of so much memory can be faster than: to
// copy it, by all cores, into a new file of a tmpfs, and out of one into memory
// that was never touched.
type floor struct {
	into, outOf time.Duration
}

// floorCommand is the word by which bench starts itself to measure a floor. A process
// of its own does it: the memory that a process once had counts as that of the
// commands which it starts.
const floorCommand = "floor"

// floorApart measures a floor in another process.
func floorApart(ctx context.Context, dir string, bytes int64) (f floor, err error) {
	self, err := os.Executable()
	if err != nil {
		return f, fmt.Errorf("plain copy: %w", err)
	}
	out, err := exec.CommandContext(ctx, self, floorCommand, dir, strconv.FormatInt(bytes, 10)).Output()
	if err != nil {
		return f, fmt.Errorf("plain copy: %w", err)
	}
	if _, err := fmt.Sscan(string(out), &f.into, &f.outOf); err != nil {
		return f, fmt.Errorf("plain copy: it printed %q: %w", out, err)
	}
	return f, nil
}

// printFloor is what that process does: args are a folder and a number of bytes.
func printFloor(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s: a folder and a number of bytes", floorCommand)
	}
	bytes, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", floorCommand, err)
	}
	f, err := measureFloor(args[0], bytes)
	if err != nil {
		return err
	}
	fmt.Println(int64(f.into), int64(f.outOf))
	return nil
}

// measureFloor copies so many bytes once each way, in a folder on a tmpfs.
func measureFloor(dir string, bytes int64) (f floor, err error) {
	memory, err := freshMemory(bytes)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, unix.Munmap(memory)) }()
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = byte(i >> 12)
	}
	path := filepath.Join(dir, "floor")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return f, fmt.Errorf("plain copy: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(path)) }()
	if f.into, err = timed(memory, func(part []byte, at int64) error {
		_, err := file.WriteAt(part, at)
		return err
	}); err != nil {
		return f, err
	}
	fresh, err := freshMemory(bytes)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, unix.Munmap(fresh)) }()
	f.outOf, err = timed(fresh, func(part []byte, at int64) error {
		_, err := file.ReadAt(part, at)
		return err
	})
	return f, err
}

// timed works on memory in blocks, by all cores.
func timed(memory []byte, copyPart func(part []byte, at int64) error) (time.Duration, error) {
	const block = 1 << 20
	begin := time.Now()
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for at := 0; at < len(memory); at += block {
		work.Go(func() error { return copyPart(memory[at:min(at+block, len(memory))], int64(at)) })
	}
	if err := work.Wait(); err != nil {
		return 0, fmt.Errorf("plain copy: %w", err)
	}
	return time.Since(begin), nil
}

func freshMemory(bytes int64) ([]byte, error) {
	m, err := unix.Mmap(-1, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("memory for a plain copy: %w", err)
	}
	return m, nil
}
