// SPDX-License-Identifier: Apache-2.0

// Package doors makes whoever opens a folder wait until a watcher has had a look.
//
// It asks for the kernel's permission events (fanotify(7), FAN_OPEN_PERM), which takes
// CAP_SYS_ADMIN and a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS. When the process that
// asked for them ends, for whatever reason, everybody goes on.
package doors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Doors are folders that are watched. Close must be called.
type Doors struct {
	events *os.File
	calls  sync.WaitGroup // Of look, and the one of serve.
}

// Watch calls look for each opening of one of the folders by another process, which
// waits for its return. It may be called several times at once. The process's own
// openings go on without.
func Watch(dirs []string, look func()) (*Doors, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("ask who opens folders: %w", err)
	}
	d := &Doors{events: os.NewFile(uintptr(fd), "fanotify")}
	for _, dir := range dirs {
		if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_ONLYDIR, unix.FAN_OPEN_PERM|unix.FAN_ONDIR, unix.AT_FDCWD, dir); err != nil {
			return nil, errors.Join(fmt.Errorf("ask who opens %s: %w", dir, err), d.events.Close())
		}
	}
	d.calls.Go(func() { d.serve(look) })
	return d, nil
}

// Close lets all go on, and waits for the calls of look that are under way.
func (d *Doors) Close() error {
	err := d.events.Close()
	d.calls.Wait()
	return err
}

// serve answers until Close.
func (d *Doors) serve(look func()) {
	self := os.Getpid()
	var buf [4096]byte
	for {
		n, err := d.events.Read(buf[:])
		if err != nil {
			return // Closed.
		}
		for rest := buf[:n]; len(rest) > 0; {
			e, length, err := parse(rest)
			if err != nil {
				// Nobody shall wait for an answer that cannot be given.
				_ = d.events.Close()
				return
			}
			rest = rest[length:]
			if e.pid == self {
				d.allow(e)
				continue
			}
			d.calls.Go(func() {
				look()
				d.allow(e)
			})
		}
	}
}

// event is a process that wants to open a folder.
type event struct {
	fd  int32 // The folder, opened for us. We close it.
	pid int
}

// parse reads the first event, a struct fanotify_event_metadata, and says how long it is.
func parse(data []byte) (e event, length int, err error) {
	const (
		atVersion = 4
		atFD      = 16
		atPID     = 20
	)
	if len(data) < unix.FAN_EVENT_METADATA_LEN {
		return event{}, 0, fmt.Errorf("an event of %d bytes: %w", len(data), io.ErrUnexpectedEOF)
	}
	length = int(binary.NativeEndian.Uint32(data))
	if length < unix.FAN_EVENT_METADATA_LEN || length > len(data) || data[atVersion] != unix.FANOTIFY_METADATA_VERSION {
		return event{}, 0, fmt.Errorf("an event of version %d that says it has %d bytes", data[atVersion], length)
	}
	return event{
		fd:  int32(binary.NativeEndian.Uint32(data[atFD:])),
		pid: int(binary.NativeEndian.Uint32(data[atPID:])),
	}, length, nil
}

// allow lets a process go on. After Close, the kernel has done so.
func (d *Doors) allow(e event) {
	if e.fd < 0 {
		return // An overflow of the queue, which is nobody's.
	}
	answer := binary.NativeEndian.AppendUint32(nil, uint32(e.fd))
	_, _ = d.events.Write(binary.NativeEndian.AppendUint32(answer, unix.FAN_ALLOW))
	_ = unix.Close(int(e.fd))
}
