// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
)

// CommandError is a command that did not end with status 0.
type CommandError struct {
	Argv []string
	// Code is the exit status, -1 if a signal ended the command.
	Code int
	// Stderr is what it said.
	Stderr string
}

// Error implements error.
func (e *CommandError) Error() string {
	return fmt.Sprintf("%s: status %d: %s", strings.Join(e.Argv, " "), e.Code, strings.TrimSpace(e.Stderr))
}

// CodeOf returns the exit status that an error of this package carries: 0 for
// nil, -1 if it carries none.
func CodeOf(err error) int {
	var failed *CommandError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failed):
		return failed.Code
	}
	return -1
}

// run runs a command and returns its standard output and what it took. Standard error goes into
// the error. Output is taken through files, not pipes: what a restore leaves
// running may keep a pipe open for ever.
func run(ctx context.Context, argv []string, env ...string) ([]byte, Usage, error) {
	stdout, err := os.CreateTemp("", "e2e-stdout-*")
	if err != nil {
		return nil, Usage{}, fmt.Errorf("output of %s: %w", argv[0], err)
	}
	defer closeRemove(stdout)
	stderr, err := os.CreateTemp("", "e2e-stderr-*")
	if err != nil {
		return nil, Usage{}, fmt.Errorf("output of %s: %w", argv[0], err)
	}
	defer closeRemove(stderr)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = append(os.Environ(), env...)
	runErr := cmd.Run()
	used := usageOf(cmd.ProcessState)
	out, err := os.ReadFile(stdout.Name())
	if err != nil {
		return nil, used, fmt.Errorf("output of %s: %w", argv[0], err)
	}
	said, err := os.ReadFile(stderr.Name())
	if err != nil {
		return nil, used, fmt.Errorf("output of %s: %w", argv[0], err)
	}
	if exit, ok := errors.AsType[*exec.ExitError](runErr); ok {
		return out, used, &CommandError{argv, exit.ExitCode(), string(said)}
	}
	if runErr != nil {
		return out, used, fmt.Errorf("running %s: %w", argv[0], runErr)
	}
	return out, used, nil
}

// Usage is what a command took of the machine.
type Usage struct {
	// Memory is the most that it had in memory at once, in bytes.
	Memory int64
	// CPU is the processor time of the command and of what it waited for.
	CPU time.Duration
}

// usageOf reads the usage of a command that has ended, the zero value if it was
// never started.
func usageOf(s *os.ProcessState) Usage {
	if s == nil {
		return Usage{}
	}
	used := Usage{CPU: s.UserTime() + s.SystemTime()}
	if r, ok := s.SysUsage().(*syscall.Rusage); ok {
		used.Memory = r.Maxrss * 1024
	}
	return used
}

func closeRemove(f *os.File) {
	// A scratch file that cannot be removed is found by the leftover check.
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// CRIU runs plain CRIU, to compare with.
type CRIU struct {
	Path string
}

// Dump dumps and kills the tree below pid into dir, which must exist.
func (c CRIU) Dump(ctx context.Context, pid int, dir string, flags ...string) (Usage, error) {
	_, used, err := run(ctx, append([]string{c.Path, "dump", "-t", fmt.Sprint(pid), "-D", dir, "-o", "dump.log"}, flags...))
	return used, err
}

// Restore restores the tree of dir, and returns when it runs.
func (c CRIU) Restore(ctx context.Context, dir string, flags ...string) (Usage, error) {
	_, used, err := run(ctx, append([]string{c.Path, "restore", "-d", "-D", dir, "-o", "restore.log"}, flags...))
	return used, err
}

// Crtime runs the built command.
type Crtime struct {
	Path string
	// CRIU is the one that it finds.
	CRIU CRIU
	// Engine is given to each dump and restore; "": crtime chooses.
	Engine string
	// Prefix is a command that runs crtime, for instance in a namespace.
	Prefix []string
	// Session is the one that crtime runs in, or nil for the caller's.
	Session *Session
}

// Readings are the clocks of a host, in nanoseconds.
type Readings struct {
	Monotonic       int64 `json:"monotonic_ns"`
	MonotonicRaw    int64 `json:"monotonic_raw_ns"`
	MonotonicCoarse int64 `json:"monotonic_coarse_ns"`
	Boottime        int64 `json:"boottime_ns"`
	Realtime        int64 `json:"realtime_ns"`
}

// DumpResult is what crtime dump --json prints.
type DumpResult struct {
	PID          int           `json:"pid"`
	Images       string        `json:"images"`
	Processes    int           `json:"processes"`
	Threads      int           `json:"threads"`
	Engine       string        `json:"engine"`
	Freeze       Readings      `json:"freeze"`
	FreezeSource string        `json:"freeze_source"`
	Frozen       time.Duration `json:"frozen_ns"`
	Duration     time.Duration `json:"dump_ns"`
	Bytes        int64         `json:"bytes"`
	Usage        Usage         `json:"-"` // Of the command.
}

// Outage is how long a restore says that the tree was away.
type Outage struct {
	Duration time.Duration `json:"duration_ns"`
	Source   string        `json:"source"`
	Error    time.Duration `json:"error_ns"`
	Bounded  bool          `json:"bounded"`
}

// Correction is a forward shift beyond what the policy asks for.
type Correction struct {
	Namespace uint64        `json:"namespace"`
	Clock     string        `json:"clock"`
	Forward   time.Duration `json:"forward_ns"`
	Why       string        `json:"why"`
}

// ProvenClock is one clock of a restored namespace.
type ProvenClock struct {
	Namespace uint64        `json:"namespace"`
	Clock     string        `json:"clock"`
	Before    int64         `json:"before_ns"`
	After     int64         `json:"after_ns"`
	Margin    time.Duration `json:"margin_ns"`
	Kept      bool          `json:"kept"`
}

// Warning is something that a restore wants known.
type Warning struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// RestoreResult is what crtime restore --json prints.
type RestoreResult struct {
	PID         int           `json:"pid"`
	Policy      string        `json:"policy"`
	Engine      string        `json:"engine"`
	Outage      Outage        `json:"outage"`
	Planned     Readings      `json:"planned"`
	Jump        time.Duration `json:"jump_ns"`
	Corrections []Correction  `json:"corrections"`
	Kept        bool          `json:"kept"`
	Clocks      []ProvenClock `json:"clocks"`
	Warnings    []Warning     `json:"warnings"`
	Held        time.Duration `json:"held_ns"`
	Duration    time.Duration `json:"restore_ns"`
	Usage       Usage         `json:"-"` // Of the command.
}

// Forward is by how much crtime says that it moved a clock beyond what the
// policy asks for. RAW and COARSE share the offset of MONOTONIC, so what one of
// them needs counts for all three.
func (r RestoreResult) Forward(clock clocklog.Clock) time.Duration {
	var sum time.Duration
	for _, c := range r.Corrections {
		if (c.Clock == clocklog.Boottime.String()) == (clock == clocklog.Boottime) {
			sum += c.Forward
		}
	}
	return sum
}

// Run runs crtime and returns its standard output.
func (c Crtime) Run(ctx context.Context, args ...string) ([]byte, error) {
	out, _, err := c.run(ctx, args)
	return out, err
}

func (c Crtime) run(ctx context.Context, args []string) ([]byte, Usage, error) {
	argv := slices.Concat(c.Prefix, []string{c.Path}, args)
	if c.Session != nil {
		out, err := c.Session.run(ctx, argv)
		return out, Usage{}, err
	}
	return run(ctx, argv, "CRTIME_CRIU="+c.CRIU.Path)
}

// Dump dumps and kills the tree below pid into dir.
func (c Crtime) Dump(ctx context.Context, pid int, dir string, flags ...string) (DumpResult, error) {
	var r DumpResult
	var err error
	r.Usage, err = c.json(ctx, &r, slices.Concat([]string{"dump", "--json", "-t", fmt.Sprint(pid), "-D", dir}, c.engine(), flags))
	return r, err
}

// Restore restores the tree of dir and returns when it runs.
func (c Crtime) Restore(ctx context.Context, dir string, flags ...string) (RestoreResult, error) {
	var r RestoreResult
	var err error
	r.Usage, err = c.json(ctx, &r, slices.Concat([]string{"restore", "--json", "-d", "-D", dir}, c.engine(), flags))
	return r, err
}

// engine is the flag that chooses the engine, if any.
func (c Crtime) engine() []string {
	if c.Engine == "" {
		return nil
	}
	return []string{"--engine", c.Engine}
}

func (c Crtime) json(ctx context.Context, into any, args []string) (Usage, error) {
	out, used, err := c.run(ctx, args)
	if err != nil {
		return used, err
	}
	d := json.NewDecoder(bytes.NewReader(out))
	if err := d.Decode(into); err != nil {
		return used, fmt.Errorf("crtime %s printed %q: %w", args[0], out, err)
	}
	if d.More() {
		return used, fmt.Errorf("crtime %s printed more than one object: %q", args[0], out)
	}
	return used, nil
}
