// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// openPort opens the virtio port that leads to the host. The device appears a
// moment after its driver is there.
func openPort() (io.ReadWriteCloser, error) {
	for range 500 {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, fmt.Errorf("looking for the port: %w", err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err == nil && strings.TrimSpace(string(text)) == wire.PortName {
				return open(filepath.Join("/dev", filepath.Base(filepath.Dir(name))))
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, errors.New("this machine has no virtio port for the agent")
}

// port reads and writes with blocking calls: the runtime's poller would take a
// port whose host end is not there yet for one that has ended.
type port struct{ fd int }

func open(path string) (io.ReadWriteCloser, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return port{fd}, nil
}

// Read waits for at least one byte.
func (p port) Read(data []byte) (int, error) {
	for {
		n, err := unix.Read(p.fd, data)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("reading from the host: %w", err)
		case n > 0:
			return n, nil
		default:
			// The host is not, or no longer, there. It comes once, at the start.
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// Write writes all of data.
func (p port) Write(data []byte) (int, error) {
	done := 0
	for done < len(data) {
		n, err := unix.Write(p.fd, data[done:])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return done, fmt.Errorf("writing to the host: %w", err)
		}
		done += max(n, 0)
	}
	return done, nil
}

// Close closes the port.
func (p port) Close() error { return unix.Close(p.fd) }
