// SPDX-License-Identifier: Apache-2.0

// Command agent is the only program that a virtual machine for tests starts with.
// As the first process it makes the machine usable, starts itself once more, and
// from then on only reaps, as the trees that crtime restores expect of a first
// process. The second one serves the host: it runs programs and moves files.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	if slices.Contains(compilers(), filepath.Base(os.Args[0])) {
		status, err := compile(os.Args)
		if err != nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			status = 1
		}
		os.Exit(status)
	}
	if os.Getpid() != 1 {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			os.Exit(1)
		}
		return
	}
	if err := boot(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
	}
	unix.Sync()
	// The machine has no use without the agent. If this fails, the end of the
	// first process is a panic of the kernel, which ends the machine as well.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// boot is the first process: it returns when the machine is to be switched off.
func boot() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	keepPerfEventsOn()
	attributes := &os.ProcAttr{
		Env:   []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin", "HOME=/root", "TMPDIR=/tmp"},
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		// The kernel starts the first process in session 0, which is none.
		Sys: &syscall.SysProcAttr{Setsid: true},
	}
	server, err := os.StartProcess("/proc/self/exe", []string{"agent"}, attributes)
	if err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	return reapUntil(server.Pid)
}

// reapUntil waits for every child that ends, and returns when pid has.
func reapUntil(pid int) error {
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for children: %w", err)
		}
		if ended == pid {
			return nil
		}
	}
}
