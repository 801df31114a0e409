// SPDX-License-Identifier: Apache-2.0

package clockstate

import (
	"fmt"
	"unicode/utf8"
)

// Bounds of a state. They are far above anything real and keep a damaged or
// hostile image from asking for absurd amounts of memory.
const (
	// MaxProcesses is the largest number of processes in a state.
	MaxProcesses = 1 << 16
	// MaxNamespaces is the largest number of time namespaces in a state.
	MaxNamespaces = 1 << 16
	// MaxText is the greatest length of any text in a state, in bytes.
	MaxText = 256
)

// Validate reports the first contradiction in s, or nil. A valid state has a
// known format and freeze source, at least one process, unique OuterPIDs with
// the root among them, unique namespaces that include every one referred to,
// readings within what the kernel allows, and for each process exactly the
// readings that its namespace makes of the host's. The error wraps
// [ErrInvalid] or [ErrOutOfRange], and [ErrNewer] for a newer format.
func (s *State) Validate() error {
	if s == nil {
		return fmt.Errorf("%w: there is none", ErrInvalid)
	}
	if err := s.checkHead(); err != nil {
		return err
	}
	if err := s.Freeze.check(); err != nil {
		return fmt.Errorf("host clocks at the freeze: %w", err)
	}
	readings, err := s.namespaceReadings()
	if err != nil {
		return err
	}
	return s.checkProcesses(readings)
}

func (s *State) checkHead() error {
	current := CurrentFormat()
	if s.Format.Major > current.Major {
		return newerError(s.Format)
	}
	if s.Format != (Version{}) && s.Format.Major != current.Major {
		return fmt.Errorf("%w: format %d.%d does not exist", ErrInvalid, s.Format.Major, s.Format.Minor)
	}
	if s.FreezeSource < FreezeWatched || s.FreezeSource > FreezeStopped {
		return fmt.Errorf("%w: freeze source %d is not known", ErrInvalid, s.FreezeSource)
	}
	if s.FreezeWindow < 0 {
		return fmt.Errorf("%w: the freeze window is negative (%v)", ErrInvalid, s.FreezeWindow)
	}
	if s.Host.BootID != s.Freeze.BootID {
		return fmt.Errorf("%w: host has boot id %q, but its clocks were read on boot %q", ErrInvalid, s.Host.BootID, s.Freeze.BootID)
	}
	for _, t := range []struct{ name, text string }{
		{"tool version", s.ToolVersion},
		{"boot id", s.Host.BootID},
		{"kernel release", s.Host.KernelRelease},
		{"engine", s.Engine},
	} {
		if err := checkText(t.name, t.text); err != nil {
			return err
		}
	}
	// A host name can hold any bytes, as a comm can.
	return checkLength("host name", s.Host.Hostname)
}

func newerError(v Version) error {
	current := CurrentFormat()
	return fmt.Errorf("%w: it has format %d.%d and this crtime reads up to %d.x: restore it with the crtime that wrote it, or update this one",
		ErrNewer, v.Major, v.Minor, current.Major)
}

// namespaceReadings returns what a process in each namespace read at the
// freeze.
func (s *State) namespaceReadings() (map[uint64]Readings, error) {
	if len(s.Namespaces) > MaxNamespaces {
		return nil, fmt.Errorf("%w: %d time namespaces, at most %d are possible", ErrInvalid, len(s.Namespaces), MaxNamespaces)
	}
	readings := make(map[uint64]Readings, len(s.Namespaces))
	for _, ns := range s.Namespaces {
		if ns.ID == 0 {
			return nil, fmt.Errorf("%w: a time namespace has no id", ErrInvalid)
		}
		if _, dup := readings[ns.ID]; dup {
			return nil, fmt.Errorf("%w: time namespace %d is listed twice", ErrInvalid, ns.ID)
		}
		r, err := s.Freeze.Shift(ns.Offsets)
		if err == nil {
			err = r.checkRange()
		}
		if err != nil {
			return nil, fmt.Errorf("time namespace %d: %w", ns.ID, err)
		}
		readings[ns.ID] = r
	}
	return readings, nil
}

func (s *State) checkProcesses(readings map[uint64]Readings) error {
	if len(s.Processes) > MaxProcesses {
		return fmt.Errorf("%w: %d processes, at most %d are possible", ErrInvalid, len(s.Processes), MaxProcesses)
	}
	seen := make(map[int32]bool, len(s.Processes))
	for i := range s.Processes {
		p := &s.Processes[i]
		if seen[p.OuterPID] {
			return fmt.Errorf("%w: process %d is listed twice", ErrInvalid, p.OuterPID)
		}
		seen[p.OuterPID] = true
		if err := p.check(readings); err != nil {
			return fmt.Errorf("process %d: %w", p.OuterPID, err)
		}
	}
	if !seen[s.RootPID] {
		return fmt.Errorf("%w: the root process %d is not among the %d processes", ErrInvalid, s.RootPID, len(s.Processes))
	}
	return nil
}

func (p *Process) check(readings map[uint64]Readings) error {
	switch {
	case p.OuterPID <= 0 || p.PID <= 0:
		return fmt.Errorf("%w: pid %d (%d in its own pid namespace) is not positive", ErrInvalid, p.OuterPID, p.PID)
	case p.ParentPID < 0:
		return fmt.Errorf("%w: parent pid %d is negative", ErrInvalid, p.ParentPID)
	case p.Threads < 0:
		return fmt.Errorf("%w: it has %d threads", ErrInvalid, p.Threads)
	case p.CPU.User < 0 || p.CPU.System < 0:
		return fmt.Errorf("%w: its CPU time is negative", ErrInvalid)
	}
	want, ok := readings[p.Namespace]
	if !ok {
		return fmt.Errorf("%w: its time namespace %d is not listed", ErrInvalid, p.Namespace)
	}
	if _, ok := readings[p.NamespaceForChildren]; !ok {
		return fmt.Errorf("%w: its children's time namespace %d is not listed", ErrInvalid, p.NamespaceForChildren)
	}
	if p.Readings != want {
		return fmt.Errorf("%w: its readings are not those of its time namespace %d", ErrInvalid, p.Namespace)
	}
	return checkLength("comm", p.Comm)
}

func checkText(name, text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%w: the %s is not valid UTF-8", ErrInvalid, name)
	}
	return checkLength(name, text)
}

func checkLength(name, text string) error {
	if len(text) > MaxText {
		return fmt.Errorf("%w: the %s has %d bytes, at most %d are possible", ErrInvalid, name, len(text), MaxText)
	}
	return nil
}
