// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mountAll mounts what programs expect of any Linux.
func mountAll() error {
	mounts := []struct{ dir, kind, options string }{
		{"/proc", "proc", ""},
		{"/sys", "sysfs", ""},
		{"/dev", "devtmpfs", "mode=755"},
		{"/dev/pts", "devpts", "ptmxmode=666"},
		{"/dev/shm", "tmpfs", "mode=1777"},
		{"/tmp", "tmpfs", "mode=1777"},
		{"/run", "tmpfs", "mode=755"},
		{"/sys/fs/cgroup", "cgroup2", ""},
	}
	for _, m := range mounts {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return fmt.Errorf("folder for a mount: %w", err)
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.kind, m.dir, err)
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, filepath.Join("/dev", name)); err != nil {
			return fmt.Errorf("link to the own files: %w", err)
		}
	}
	return nil
}

// loadModules loads the modules of a folder in the order of their names.
func loadModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Everything is built in.
	}
	if err != nil {
		return fmt.Errorf("listing the modules: %w", err)
	}
	for _, e := range entries {
		if err := loadModule(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("module: %w", err)
	}
	defer f.Close()
	flags := 0
	if strings.HasSuffix(path, ".xz") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), "", flags); err != nil {
		return fmt.Errorf("loading %s: %w", path, err)
	}
	return nil
}

// loopbackUp switches on the network interface that every machine has.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("switching on the loopback: %w", err)
	}
	return nil
}

// keepPerfEventsOn opens an event that counts nothing, for as long as this process
// lives. With the first event of its life, and after the last one, a kernel rewrites
// the code of its scheduler; CRIU's breakpoints are such events, some at each dump.
// Where QEMU translates the code, a processor can see it half rewritten: two of three
// machines ended so in one run ("Oops: int3" in __schedule). A kernel without such
// events has nothing to rewrite.
func keepPerfEventsOn() {
	const ofThisThread, anyProcessor, noGroup = 0, -1, -1
	_, _ = unix.PerfEventOpen(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY, Size: unix.PERF_ATTR_SIZE_VER0,
	}, ofThisThread, anyProcessor, noGroup, unix.PERF_FLAG_FD_CLOEXEC)
}
