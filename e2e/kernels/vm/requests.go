// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// A request that takes no time of its own, and one that moves files, are
// answered within these, also by an emulated machine that is busy.
const (
	quick  = time.Minute
	moving = 3 * time.Minute
)

// Run runs a program to its end. A program that fails is no error, but an
// Outcome that says so.
func (m *Machine) Run(c wire.Command) (wire.Outcome, error) {
	var o wire.Outcome
	err := m.call(c.Timeout+quick, "Run", c, &o)
	return o, err
}

// Start starts a program as a daemon and returns its pid.
func (m *Machine) Start(c wire.Command) (int, error) {
	var pid int
	err := m.call(quick, "Start", c, &pid)
	return pid, err
}

// Kill kills a process and waits until it is gone.
func (m *Machine) Kill(pid int) error { return m.call(quick, "Kill", pid, &wire.Nothing{}) }

// Greet asks for the machine's clocks again.
func (m *Machine) Greet() (wire.Greeting, error) {
	var g wire.Greeting
	err := m.call(quick, "Greet", wire.Nothing{}, &g)
	return g, err
}

// Fetch brings a file or folder of the guest; its path in the archive is relative
// to the folder that it is in.
func (m *Machine) Fetch(path string) (wire.Files, error) {
	var f wire.Files
	err := m.call(moving, "Fetch", path, &f)
	return f, err
}

// Send writes files in the guest.
func (m *Machine) Send(f wire.Files) error { return m.call(moving, "Send", f, &wire.Nothing{}) }

// SendFile writes one file of the host into a folder of the guest.
func (m *Machine) SendFile(host, dir string) error {
	f, err := wire.Pack(filepath.Dir(host), filepath.Base(host))
	if err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	f.Dir = dir
	return m.Send(f)
}

// Remove removes a file or folder of the guest.
func (m *Machine) Remove(path string) error {
	return m.call(quick, "Remove", path, &wire.Nothing{})
}

// Text returns a file of the guest.
func (m *Machine) Text(path string) (string, error) {
	var text string
	err := m.call(moving, "Text", path, &text)
	return text, err
}

// SetRealtime sets the machine's wall clock by the host's, to a millisecond or so.
func (m *Machine) SetRealtime() error {
	return m.call(quick, "SetRealtime", time.Now().UnixNano(), &wire.Nothing{})
}
