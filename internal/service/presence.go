// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// errVanished says that the client has gone away in the middle of a request.
var errVanished = errors.New("the client has hung up")

// whilePresent makes a context that ends when the client hangs up. stop must be called.
func (s *Session) whilePresent(ctx context.Context) (present context.Context, stop func(), err error) {
	socket, err := s.conn.Duplicate()
	if err != nil {
		return nil, nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		socket.Close()
		return nil, nil, fmt.Errorf("watch the client: %w", err)
	}
	present, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if hungUp(int32(socket.Fd()), int32(wake)) {
			cancel(errVanished)
		}
	}()
	return present, func() {
		// Writing to an eventfd that was just made does not fail.
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		<-done
		unix.Close(wake)
		socket.Close()
		cancel(nil)
	}, nil
}

// hungUp waits until the other end of a socket is closed, which is true, or the eventfd
// can be read.
func hungUp(socket, wake int32) bool {
	watch := []unix.PollFd{{Fd: socket}, {Fd: wake, Events: unix.POLLIN}} // POLLHUP is always told.
	for {
		_, err := unix.Poll(watch, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && watch[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	}
}
