// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/seqpacket"
)

// ErrInUse says that another service answers at an address.
var ErrInUse = errors.New("another service answers there")

// Listener is a named socket. Each client is served by a process of its own, so that
// none can harm another, and what it restores is an orphan when that process ends, as
// with CRIU.
type Listener struct {
	socket *os.File
	path   string // Of the socket that Listen has made; "" otherwise.
	log    *zap.Logger
}

// backlog is how many clients may wait to be accepted.
const backlog = 128

// Listen makes a socket that its owner alone can connect to. One that a service has left
// which is no more is replaced; the error is ErrInUse if it still is.
func Listen(path string, log *zap.Logger) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	socket := os.NewFile(uintptr(fd), path)
	if err := bindPrivately(fd, path); err != nil {
		return nil, errors.Join(fmt.Errorf("listen at %s: %w", path, err), socket.Close())
	}
	l := &Listener{socket: socket, path: path, log: log}
	// Until here nobody can connect, whatever the mode was.
	if err := errors.Join(os.Chmod(path, 0o600), unix.Listen(fd, backlog)); err != nil {
		return nil, errors.Join(fmt.Errorf("listen at %s: %w", path, err), l.Close())
	}
	return l, nil
}

// bindPrivately gives a socket its name.
func bindPrivately(fd int, path string) error {
	err := unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if !errors.Is(err, unix.EADDRINUSE) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%w: it is no socket, and stays", unix.EADDRINUSE)
	}
	probe, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(probe)
	if err := unix.Connect(probe, &unix.SockaddrUnix{Name: path}); !errors.Is(err, unix.ECONNREFUSED) {
		return errors.Join(ErrInUse, err)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrUnix{Name: path})
}

// Adopted makes a Listener of a socket that systemd has made. Who may connect to it is
// systemd's affair; who is served is not.
func Adopted(socket *os.File, log *zap.Logger) (*Listener, error) {
	fd := int(socket.Fd())
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil && kind != unix.SOCK_SEQPACKET {
		err = fmt.Errorf("it is not of type SOCK_SEQPACKET (ListenSequentialPacket=): %w", unix.EPROTOTYPE)
	}
	if err = errors.Join(err, unix.SetNonblock(fd, true)); err != nil {
		return nil, errors.Join(fmt.Errorf("the socket %s that was passed: %w", socket.Name(), err), socket.Close())
	}
	return &Listener{socket: socket, log: log}, nil
}

// Address says where it listens.
func (l *Listener) Address() string { return l.socket.Name() }

// Close ends the listening and removes the socket that Listen has made.
func (l *Listener) Close() error {
	err := l.socket.Close()
	if l.path != "" {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}

// Worker starts a process that serves the client at the other end of a connection, and
// returns what waits for its end. The connection stays the caller's.
type Worker func(ctx context.Context, conn *os.File) (wait func() error, err error)

// Serve starts a worker for each client, at most so many at once; others wait. It
// returns when ctx has ended and with it, as start sees to, all workers.
func (l *Listener) Serve(ctx context.Context, most int, start Worker) error {
	free := make(chan struct{}, most)
	var workers sync.WaitGroup
	defer workers.Wait()
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := l.accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept a client: %w", err)
		}
		workers.Go(func() {
			defer func() { <-free }()
			l.attend(ctx, conn, start)
		})
	}
}

// attend has one client served.
func (l *Listener) attend(ctx context.Context, conn *os.File, start Worker) {
	client, err := peerOf(conn)
	if err == nil {
		err = client.mayAsk()
		client.close()
	}
	if err != nil {
		l.log.Warn("a client was refused", zap.Error(err))
		refuse(conn, err)
		return
	}
	log := l.log.With(zap.Int("client", client.pid))
	wait, err := start(ctx, conn)
	conn.Close()
	if err != nil {
		log.Error("a client cannot be served", zap.Error(err))
		return
	}
	log.Debug("serving")
	if err := wait(); err != nil {
		log.Info("a client's last request failed", zap.Error(err))
	}
}

// refuse tells a client why it is not served, if it can be told at once.
func refuse(conn *os.File, why error) {
	s := &Session{Options: Options{Patience: time.Second}}
	var err error
	if s.conn, err = seqpacket.New(conn); err != nil {
		return
	}
	defer s.conn.Close()
	// What is not read when a socket is closed resets the connection, and the client
	// would not see the answer.
	if packet, err := s.within(s.Patience, s.conn.Receive); err == nil {
		packet.CloseFiles()
	}
	_ = s.respond(rpc.CriuReqType_EMPTY, failure(why)) // Nobody else wants to know.
}

// accept waits for a client.
func (l *Listener) accept(ctx context.Context) (*os.File, error) {
	const look = 100 * time.Millisecond // How often for the end of ctx.
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(l.socket.Fd()), Events: unix.POLLIN}}, int(look.Milliseconds()))
		if n == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		fd, _, err := unix.Accept4(int(l.socket.Fd()), unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), "client"), nil
		case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE):
			time.Sleep(look) // Some client will end.
		case errors.Is(err, unix.EBADF) || errors.Is(err, unix.EINVAL):
			return nil, err
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED):
			l.log.Warn("a client cannot be accepted", zap.Error(err))
			time.Sleep(look)
		}
	}
	return nil, ctx.Err()
}
