// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// ErrEnded says that a machine has ended or does not answer.
var ErrEnded = errors.New("the machine has ended or does not answer")

// errClock says that a machine is of no use for measuring time.
var errClock = errors.New("the clocks of the machine are wrong")

// Kernel is one that get-kernel.sh has fetched.
type Kernel struct {
	Name string // As get-kernel.sh calls it.
	Dir  string
}

// Machine is a running virtual machine. Its methods may be called concurrently.
type Machine struct {
	Kernel Kernel
	Accel  Accel
	// Greeting is what the agent first said of the machine.
	Greeting wire.Greeting
	// BootTook is the time from QEMU's start to the agent's first answer.
	BootTook time.Duration

	// Failed are the attempts to boot it before the one that succeeded.
	Failed []error

	dir    string // The machine's own files.
	client *rpc.Client
	cmd    *exec.Cmd
	ended  chan struct{} // Closed when QEMU has ended.
	words  bytes.Buffer  // What QEMU itself printed; whole when it has ended.
}

// boot is one attempt; after an error, QEMU does not run.
func (m *Machine) boot(ctx context.Context) error {
	begin := time.Now()
	if err := m.start(); err != nil {
		return err
	}
	err := m.connect(ctx)
	if err == nil {
		err = m.call(m.Accel.bootTime(), "Greet", wire.Nothing{}, &m.Greeting)
	}
	if err == nil {
		m.BootTook = time.Since(begin)
		err = m.checkClock()
	}
	if err == nil {
		err = m.SetRealtime()
	}
	if err != nil {
		m.kill()
	}
	return err
}

// checkClock returns an error if the machine's time does not pass as the host's
// does: then no time limit and no measurement in it means anything.
func (m *Machine) checkClock() error {
	begin := time.Now()
	first, err := m.Greet()
	if err != nil {
		return err
	}
	// Much longer than what an answer takes.
	time.Sleep(500 * time.Millisecond)
	second, err := m.Greet()
	if err != nil {
		return err
	}
	passed, here := second.Boottime-first.Boottime, time.Since(begin)
	if passed < 250*time.Millisecond || passed > 2*here {
		return fmt.Errorf("%s: %w: its clocks went %v while %v passed", m.Kernel.Name, errClock, passed, here)
	}
	return nil
}

// start starts QEMU.
func (m *Machine) start() error {
	m.words.Reset()
	m.ended = make(chan struct{})
	m.cmd = m.qemu()
	m.cmd.Stdout, m.cmd.Stderr = &m.words, &m.words
	if err := m.cmd.Start(); err != nil {
		return fmt.Errorf("starting QEMU: %w", err)
	}
	go func() {
		// How it ended does not matter: whoever waits knows what to expect.
		_ = m.cmd.Wait()
		close(m.ended)
	}()
	return nil
}

// connect waits until QEMU listens, which it does before it runs the kernel.
func (m *Machine) connect(ctx context.Context) error {
	dialer := net.Dialer{}
	for {
		conn, err := dialer.DialContext(ctx, "unix", m.path("agent"))
		if err == nil {
			m.client = rpc.NewClient(conn)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for QEMU: %w", context.Cause(ctx))
		case <-m.ended:
			return m.dead("QEMU did not start")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// call asks the agent for something. An error of the agent comes back as it is;
// ErrEnded means that nothing can be asked any more.
func (m *Machine) call(limit time.Duration, method string, request, answer any) error {
	call := m.client.Go("Service."+method, request, answer, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error == nil {
			return nil
		}
		if _, ok := errors.AsType[rpc.ServerError](call.Error); ok {
			return fmt.Errorf("%s: %w", m.Kernel.Name, call.Error)
		}
		return errors.Join(call.Error, m.dead("no answer to "+method))
	case <-m.ended:
		return m.dead("no answer to " + method)
	case <-time.After(limit):
		err := m.dead(fmt.Sprintf("no answer to %s in %v", method, limit))
		m.kill()
		return err
	}
}

// dead makes an ErrEnded with what there is to see.
func (m *Machine) dead(what string) error {
	words := ""
	select {
	case <-m.ended:
		words = m.words.String()
	default:
	}
	return fmt.Errorf("%s: %w: %s\n%s\nconsole: %s", m.Kernel.Name, ErrEnded, what, words, m.Console())
}

// Console returns the end of what the kernel and the agent have printed.
func (m *Machine) Console() string {
	data, err := os.ReadFile(m.path("console"))
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-8000):])
}

// Close switches the machine off, and ends it if it does not obey.
func (m *Machine) Close() error {
	err := m.call(20*time.Second, "Off", wire.Nothing{}, &wire.Nothing{})
	if errors.Is(err, ErrEnded) {
		// The answer and the end race each other.
		err = nil
	}
	select {
	case <-m.ended:
	case <-time.After(30 * time.Second):
		err = errors.Join(err, m.dead("it does not switch itself off"))
	}
	m.kill()
	return err
}

// kill ends QEMU, if it still runs.
func (m *Machine) kill() {
	// Only fails for a process that has ended.
	_ = m.cmd.Process.Kill()
	<-m.ended
	if m.client != nil {
		m.client.Close()
	}
}

func (m *Machine) path(name string) string { return filepath.Join(m.dir, name) }
