// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// inheritance is what a CRIU has open when it starts.
type inheritance struct {
	files  []*os.File // By their numbers in CRIU; nil: closed.
	socket int        // The number of its socket.
	own    []*os.File // Those that close closes.
}

// inherit says what CRIU gets: its socket and, if there is a client, all that this
// process was started with, which may be what the client's options speak of. The caller
// closes it when CRIU runs.
func (e *Engine) inherit(socket *os.File) (*inheritance, error) {
	if e.Client == nil {
		// CRIU gives a --shell-job the terminal that is its standard input.
		files := []*os.File{os.Stdin, nil, os.Stderr, socket}
		return &inheritance{files: files, socket: len(files) - 1}, nil
	}
	in := &inheritance{socket: e.Client.Socket}
	if err := in.takeInheritable(); err != nil {
		in.close()
		return nil, err
	}
	in.put(in.socket, socket)
	return in, nil
}

// takeInheritable adds the descriptors that a program started by this process would
// have: those that crtime was started with, since it opens all others close-on-exec.
func (in *inheritance) takeInheritable() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list the descriptors that criu is to inherit: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		// A File of its own: one that is collected closes its descriptor.
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("duplicate descriptor %d for criu: %w", fd, err)
		}
		f := os.NewFile(uintptr(dup), "inherited as "+e.Name())
		in.own = append(in.own, f)
		in.put(fd, f)
	}
	return nil
}

// put gives a file its number.
func (in *inheritance) put(fd int, f *os.File) {
	for len(in.files) <= fd {
		in.files = append(in.files, nil)
	}
	in.files[fd] = f
}

// close closes crtime's duplicates.
func (in *inheritance) close() {
	for _, f := range in.own {
		f.Close()
	}
}

// args are CRIU's arguments.
func (in *inheritance) args(path string) []string {
	return []string{path, "swrk", strconv.Itoa(in.socket)}
}
