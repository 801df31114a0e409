// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"math"

	sk_opts "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-opts"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Options of linux/socket.h that x/sys/unix lacks on some machines.
const (
	soBufLock    = 72 // SO_BUF_LOCK
	soPassPidfd  = 76 // SO_PASSPIDFD
	soPassRights = 83 // SO_PASSRIGHTS, on unless switched off
)

// readOptions reads the options of a socket, and refuses those that an image
// has no place for.
func readOptions(fd int) (*sk_opts.SkOptsEntry, error) {
	o := optionReader{fd: fd}
	if err := o.refuseUnknown(); err != nil {
		return nil, err
	}
	e := &sk_opts.SkOptsEntry{
		SoSndbuf: o.number(unix.SO_SNDBUF), SoRcvbuf: o.number(unix.SO_RCVBUF),
		SoPriority: o.number(unix.SO_PRIORITY), SoRcvlowat: o.number(unix.SO_RCVLOWAT),
		Reuseaddr: o.flag(unix.SO_REUSEADDR), SoReuseport: o.flag(unix.SO_REUSEPORT),
		SoPasscred: o.flag(unix.SO_PASSCRED), SoPasssec: o.flag(unix.SO_PASSSEC),
		SoDontroute: o.flag(unix.SO_DONTROUTE), SoNoCheck: o.flag(unix.SO_NO_CHECK),
		SoBroadcast: o.flag(unix.SO_BROADCAST), SoKeepalive: o.flag(unix.SO_KEEPALIVE),
		SoOobinline: o.number(unix.SO_OOBINLINE),
	}
	if mark := o.number(unix.SO_MARK); *mark != 0 {
		e.SoMark = mark
	}
	e.SoSndTmoSec, e.SoSndTmoUsec = o.time(unix.SO_SNDTIMEO)
	e.SoRcvTmoSec, e.SoRcvTmoUsec = o.time(unix.SO_RCVTIMEO)
	if o.err != nil {
		return nil, o.err
	}
	if lock, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, soBufLock); err == nil { // Since Linux 5.14.
		e.SoBufLock = proto.Uint32(uint32(lock))
	}
	linger, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
	if err != nil {
		return nil, fmt.Errorf("read the option SO_LINGER: %w", err)
	}
	if linger.Onoff != 0 {
		e.SoLinger = proto.Uint32(uint32(linger.Linger))
	}
	return e, nil
}

// optionReader reads options until one fails.
type optionReader struct {
	fd  int
	err error
}

func (o *optionReader) number(option int) *uint32 {
	n, err := unix.GetsockoptInt(o.fd, unix.SOL_SOCKET, option)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("read socket option %d: %w", option, err)
	}
	return proto.Uint32(uint32(n))
}

func (o *optionReader) flag(option int) *bool { return proto.Bool(*o.number(option) != 0) }

func (o *optionReader) time(option int) (sec, usec *uint64) {
	tv, err := unix.GetsockoptTimeval(o.fd, unix.SOL_SOCKET, option)
	if err != nil {
		if o.err == nil {
			o.err = fmt.Errorf("read socket option %d: %w", option, err)
		}
		return proto.Uint64(0), proto.Uint64(0)
	}
	return proto.Uint64(uint64(tv.Sec)), proto.Uint64(uint64(tv.Usec))
}

// refuseUnknown refuses options that would be lost. A kernel without an option
// has it at its default.
func (o *optionReader) refuseUnknown() error {
	for _, option := range []struct {
		number, usual int
		name          string
	}{
		{unix.SO_PEEK_OFF, -1, "SO_PEEK_OFF"},
		{soPassPidfd, 0, "SO_PASSPIDFD"},
		{soPassRights, 1, "SO_PASSRIGHTS"},
		{unix.SO_TIMESTAMP, 0, "SO_TIMESTAMP"},
		{unix.SO_TIMESTAMPNS, 0, "SO_TIMESTAMPNS"},
	} {
		n, err := unix.GetsockoptInt(o.fd, unix.SOL_SOCKET, option.number)
		if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the option %s: %w", option.name, err)
		}
		if n != option.usual {
			return fmt.Errorf("its option %s is set, which the images have no place for: %w", option.name, ErrObstacle)
		}
	}
	locked, err := unix.GetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER)
	if err == nil && locked != 0 {
		return fmt.Errorf("its filter is locked (SO_LOCK_FILTER), which the images have no place for: %w", ErrObstacle)
	}
	n, err := filterLength(o.fd)
	if err != nil {
		return fmt.Errorf("read its filter (SO_GET_FILTER): %w", err)
	}
	if n != 0 {
		return fmt.Errorf("it has a filter of %d instructions, which cannot be saved: %w", n, ErrObstacle)
	}
	return nil
}

// setOptions gives a new socket its recorded options, those alone that differ
// from what it has.
func setOptions(fd int, e *sk_opts.SkOptsEntry) error {
	// The kernel doubles the size of a buffer that it is given.
	for _, buffer := range []struct {
		option, force int
		want          uint32
	}{
		{unix.SO_SNDBUF, unix.SO_SNDBUFFORCE, e.GetSoSndbuf()},
		{unix.SO_RCVBUF, unix.SO_RCVBUFFORCE, e.GetSoRcvbuf()},
	} {
		if err := (socketOption{buffer.option, buffer.force, buffer.want, buffer.want / 2}).apply(fd); err != nil {
			return err
		}
	}
	numbers := []struct {
		option int
		want   *uint32
	}{
		{soBufLock, e.SoBufLock},
		{unix.SO_PRIORITY, e.SoPriority},
		{unix.SO_RCVLOWAT, e.SoRcvlowat},
		{unix.SO_MARK, e.SoMark},
		{unix.SO_OOBINLINE, e.SoOobinline},
	}
	for _, flag := range []struct {
		option int
		want   *bool
	}{
		{unix.SO_PASSCRED, e.SoPasscred},
		{unix.SO_PASSSEC, e.SoPasssec},
		{unix.SO_DONTROUTE, e.SoDontroute},
		{unix.SO_NO_CHECK, e.SoNoCheck},
		{unix.SO_BROADCAST, e.SoBroadcast},
		{unix.SO_KEEPALIVE, e.SoKeepalive},
		{unix.SO_REUSEADDR, e.Reuseaddr},
		{unix.SO_REUSEPORT, e.SoReuseport},
	} {
		if flag.want != nil {
			numbers = append(numbers, struct {
				option int
				want   *uint32
			}{flag.option, proto.Uint32(oneIf(*flag.want))})
		}
	}
	for _, number := range numbers {
		if number.want == nil {
			continue
		}
		if err := (socketOption{number.option, number.option, *number.want, *number.want}).apply(fd); err != nil {
			return err
		}
	}
	return setTimes(fd, e)
}

// oneIf is 1 for true.
func oneIf(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// socketOption is a number that a socket is to have: set is the option that is
// set to value in order that option reads want.
type socketOption struct {
	option, set int
	want, value uint32
}

// apply sets the number unless the socket has it already.
func (o socketOption) apply(fd int) error {
	now, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, o.option)
	if err == nil && uint32(now) == o.want {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.set, int(int32(o.value))); err != nil {
		return fmt.Errorf("set socket option %d to %d: %w", o.set, o.value, err)
	}
	return nil
}

// setTimes sets the options that are no plain numbers.
func setTimes(fd int, e *sk_opts.SkOptsEntry) error {
	if e.SoLinger != nil {
		linger := unix.Linger{Onoff: 1, Linger: int32(e.GetSoLinger())}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger); err != nil {
			return fmt.Errorf("set SO_LINGER: %w", err)
		}
	}
	for _, limit := range []struct {
		option    int
		sec, usec uint64
	}{
		{unix.SO_SNDTIMEO, e.GetSoSndTmoSec(), e.GetSoSndTmoUsec()},
		{unix.SO_RCVTIMEO, e.GetSoRcvTmoSec(), e.GetSoRcvTmoUsec()},
	} {
		if limit.sec == 0 && limit.usec == 0 {
			continue
		}
		tv := unix.Timeval{Sec: int64(min(limit.sec, math.MaxInt64)), Usec: int64(min(limit.usec, math.MaxInt64))}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, limit.option, &tv); err != nil {
			return fmt.Errorf("set socket option %d to %d.%06d s: %w", limit.option, limit.sec, limit.usec, err)
		}
	}
	return nil
}
