// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// insideEnv marks the process that Enter started.
const insideEnv = "CRTIME_E2E_INSIDE"

// Enter runs the calling program once more, with the same arguments, in a mount
// namespace of its own, and ends this one with its status. It returns only in
// the inner one, or with an error. Call it first thing in main or TestMain.
//
// Inside, mounts stay private, /run is a tmpfs (CRIU keeps what it learned
// about the kernel there, and would otherwise probe it anew at each start), and
// the process is a subreaper. When it is gone, the outer process kills what is
// left of its descendants, also after a SIGKILL or a test's timeout.
func Enter() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming a subreaper: %w", err)
	}
	if os.Getenv(insideEnv) == "1" {
		return setUpInside()
	}
	// Pdeathsig is tied to the thread that forks.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	// The inner process has the same terminal and decides what an interrupt means.
	signal.Ignore(unix.SIGINT)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s in a mount namespace of its own (are you root?): %w", os.Args[0], err)
	}
	err := cmd.Wait()
	killDescendants()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("waiting for the inner %s: %w", os.Args[0], err)
	}
	if status := cmd.ProcessState.ExitCode(); status >= 0 {
		os.Exit(status)
	}
	os.Exit(1) // Killed by a signal.
	return nil
}

// Inside reports whether this process is the inner one.
func Inside() bool { return os.Getenv(insideEnv) == "1" }

func setUpInside() error {
	// What a shell or a build tool left open would be inherited by the programs,
	// and CRIU could not dump a file that lies outside the mount namespace.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keeping open files from the programs: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/run", &fs); err != nil {
		return fmt.Errorf("looking at /run: %w", err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		return nil
	}
	if err := unix.Mount("crtime-e2e", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting a tmpfs on /run: %w", err)
	}
	return nil
}

// killDescendants ends everything below this process and reaps it.
func killDescendants() {
	for range 100 {
		pids := descendants(os.Getpid())
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			// A process that is already gone is what is wanted.
			_ = unix.Kill(pid, unix.SIGKILL)
			reap(pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Run is the life of a command that needs a lab: do gets one, with a context that ends
// at SIGINT and SIGTERM.
func Run(do func(ctx context.Context, lab *Lab) error) error {
	if err := Enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	lab, err := Open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, lab), lab.Close())
}
