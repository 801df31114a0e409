// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

// helperVariable tells the test binary to be a helper program instead.
const helperVariable = "CRTIME_TIMENS_HELPER"

func TestMain(m *testing.M) {
	if role := os.Getenv(helperVariable); role != "" {
		if err := runHelper(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runHelper is what the test binary does when a test starts it as a program.
func runHelper(role string) error {
	switch role {
	case "report":
		return json.NewEncoder(os.Stdout).Encode(newReport())
	case "wait":
		fmt.Println("ready")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "errors":
		return json.NewEncoder(os.Stdout).Encode(newErrorReport())
	case "nested":
		return runNested()
	case "die":
		return runDie()
	case "limit":
		return runLimit()
	case "unshared":
		return runUnshared()
	case "many-files":
		return runManyFiles()
	}
	return fmt.Errorf("no helper %q", role)
}

// report is what a started program sees of itself.
type report struct {
	Monotonic, Raw, Coarse, Boottime int64
	Own, ForChildren                 uint64
	PID, PGID                        int
	Dir                              string
	Args                             []string
}

func newReport() report {
	var r report
	r.Monotonic = now(unix.CLOCK_MONOTONIC)
	r.Raw = now(unix.CLOCK_MONOTONIC_RAW)
	r.Coarse = now(unix.CLOCK_MONOTONIC_COARSE)
	r.Boottime = now(unix.CLOCK_BOOTTIME)
	r.Own, r.ForChildren, _ = IDOf(0)
	r.PID, r.PGID = os.Getpid(), unix.Getpgrp()
	r.Dir, _ = os.Getwd()
	r.Args = os.Args
	return r
}

// openFDs lists this process's descriptors but for the one used to look, and
// those that the Go runtime opens when it likes: its poller's and, to learn its
// share of the processors, files of its control group.
func openFDs() []int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var fds []int
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		link, linkErr := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && linkErr == nil && !strings.HasPrefix(link, "anon_inode:[event") && !strings.Contains(link, "/cgroup/") {
			fds = append(fds, fd)
		}
	}
	return fds
}

// now reads a clock of the calling process in nanoseconds.
func now(clock int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return -1
	}
	return ts.Nano()
}

// helper is a command that runs the test binary in a role, its output in out.
func helper(t testing.TB, role string, files ...*os.File) Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Command{Path: self, Env: append(os.Environ(), helperVariable+"="+role), Files: files}
}

// output starts a command by start with a pipe as its standard output, waits for
// it and returns what it wrote.
func output(t testing.TB, c Command, start func(Command) (*Process, error)) []byte {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files := append([]*os.File{nil, w, os.Stderr}, c.Files...)
	c.Files = files
	p, err := start(c)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !state.Success() {
		t.Fatalf("helper: %v; wrote %q", state, text)
	}
	return text
}

// decode reads a helper's JSON.
func decode[T any](t testing.TB, text []byte) T {
	t.Helper()
	var v T
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&v); err != nil {
		t.Fatalf("helper wrote %q: %v", text, err)
	}
	return v
}

// errorReport is what an unprivileged process gets, as text, with the reasons
// that errors.Is finds in it.
type errorReport struct {
	NewHolder, Thread, Run outcome
	Probe                  map[string]outcome
}

type outcome struct {
	Text                             string
	NotSupported, Privilege, Errno   bool
	Frozen, OutOfRange, Advises, Nil bool
}

func newOutcome(err error) outcome {
	if err == nil {
		return outcome{Nil: true}
	}
	return outcome{
		Text:         err.Error(),
		NotSupported: errors.Is(err, ErrNotSupported),
		Privilege:    errors.Is(err, ErrPrivilege),
		Frozen:       errors.Is(err, ErrFrozen),
		OutOfRange:   errors.Is(err, ErrOutOfRange),
		Errno:        errors.Is(err, unix.EPERM),
		Advises:      strings.Contains(err.Error(), "CAP_SYS_ADMIN"),
	}
}

func newErrorReport() errorReport {
	var r errorReport
	_, err := NewHolder()
	r.NewHolder = newOutcome(err)
	_, err = newThreadHolder()
	r.Thread = newOutcome(err)
	_, err = Run(os.Getpid(), Command{Path: "/bin/true"})
	r.Run = newOutcome(err)
	s, _ := Probe()
	r.Probe = map[string]outcome{
		"namespaces": newOutcome(s.Namespaces.Err), "clone3": newOutcome(s.Clone3.Err),
		"unshare": newOutcome(s.Unshare.Err), "setns": newOutcome(s.Setns.Err), "settid": newOutcome(s.SetTID.Err),
	}
	return r
}

// nestedReport is what crtime sees when it runs inside a time namespace.
type nestedReport struct {
	Own   clockstate.Offsets
	Child json.RawMessage
}

func runNested() error {
	own, err := OffsetsOf(0)
	if err != nil {
		return err
	}
	text, err := nestedChild(clockstate.Offsets{Monotonic: 10e9, Boottime: 20e9})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(nestedReport{Own: own, Child: text})
}

func nestedChild(o clockstate.Offsets) ([]byte, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := Start(Command{Path: self, Env: []string{helperVariable + "=report"}, Files: []*os.File{nil, w, os.Stderr}}, o)
	w.Close()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	_, err = p.Wait()
	return text, err
}

// runDie makes two holders and is killed by its own hand.
func runDie() error {
	for range 2 {
		h, err := newChildHolder()
		if err != nil {
			return err
		}
		fmt.Println(h.stand.(*childStand).w.process.PID)
	}
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

// runUnshared has a thread whose children will live elsewhere: it lives in the
// namespace that it was started in and has unshared one with other offsets.
func runUnshared() error {
	// A Go program cannot choose to unshare in its leader, so the id of the
	// thread that did it is printed; it is as good as a pid below /proc.
	t, err := newThread()
	if err != nil {
		return err
	}
	of, err := openOffsets(t.tid)
	if err != nil {
		return err
	}
	if err := of.write(clockstate.Offsets{Monotonic: 300e9, Boottime: 400e9}); err != nil {
		return err
	}
	fmt.Println(t.tid)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// runManyFiles prints what it can read from descriptors 3 to 249.
func runManyFiles() error {
	for fd := 3; fd < maxCommandFiles; fd++ {
		buf := make([]byte, 64)
		n, err := unix.Pread(fd, buf, 0)
		if err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
		fmt.Printf("%d=%s\n", fd, buf[:n])
	}
	return nil
}

// runLimit starts programs that print their soft and hard limit on open files, in
// each way that this kernel has.
func runLimit() error {
	for _, way := range ways {
		h, err := way.create()
		if errors.Is(err, ErrNotSupported) {
			continue
		}
		if err != nil {
			return err
		}
		c := Command{Path: "/bin/sh", Args: []string{"sh", "-c", "ulimit -Sn; ulimit -Hn"}, Files: []*os.File{nil, os.Stdout, os.Stderr}}
		p, err := h.Exec(c)
		if err != nil {
			return err
		}
		if _, err := p.Wait(); err != nil {
			return err
		}
		if err := h.Close(); err != nil {
			return err
		}
	}
	return nil
}
