// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"os"
	"slices"

	pipe_data "github.com/checkpoint-restore/go-criu/v7/crit/images/pipe-data"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
)

// fionread is FIONREAD: how many bytes can be read.
const fionread = unix.TIOCINQ

// queued returns what is in a pipe, without taking it out, from a readable end.
// Of what was written in packet mode (O_DIRECT), which CRIU does not know, the
// entry says how long each packet is.
func (c *Collection) queued(d *descriptor) (*criuimg.PipeData, error) {
	fd, err := c.file(d)
	if err != nil {
		return nil, err
	}
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return nil, fmt.Errorf("ask for the pipe's size: %w", err)
	}
	bytes, err := unix.IoctlGetInt(fd, fionread)
	if err != nil {
		return nil, fmt.Errorf("ask how much is in the pipe: %w", err)
	}
	parts, packets, err := copyOut(fd, size, bytes)
	if err != nil {
		return nil, fmt.Errorf("copy the %d bytes in the pipe: %w", bytes, err)
	}
	// An empty pipe has its size recorded all the same.
	e := &pipe_data.PipeDataEntry{PipeId: proto.Uint32(uint32(d.stat.Ino)), Bytes: proto.Uint32(uint32(bytes)), Size: proto.Uint32(uint32(size))}
	if packets {
		for _, part := range parts {
			extra.Set(e, fieldPackets, uint64(len(part)))
		}
	}
	return &criuimg.PipeData{Entry: e, Data: slices.Concat(parts...)}, nil
}

// fieldPackets is a repeated field of crtime's own in pipe_data_entry: the length
// of each packet, if what is in the pipe consists of packets.
const fieldPackets = 50001

// packetsOf splits what was in a pipe into its packets; nil: it had none.
func packetsOf(p *criuimg.PipeData) ([][]byte, error) {
	lengths := extra.All(p.Entry, fieldPackets)
	if len(lengths) == 0 {
		return nil, nil
	}
	data := p.Data
	packets := make([][]byte, len(lengths))
	for i, n := range lengths {
		if n == 0 || n > uint64(len(data)) {
			return nil, fmt.Errorf("%w: a packet of %d bytes in a pipe with %d left", criuimg.ErrDamaged, n, len(data))
		}
		packets[i], data = data[:n], data[n:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("%w: %d bytes of a pipe are in no packet", criuimg.ErrDamaged, len(data))
	}
	return packets, nil
}

// copyOut copies the n bytes in a pipe by way of another one, with tee, which
// consumes nothing. Packets stay packets in the copy, and a read returns one. From
// a pipe without packets it returns all.
//
// Whether there are packets is a matter of how each was written. The flags tell
// nothing: pipe2(2) gives O_DIRECT to the end for writing alone.
func copyOut(fd, size, n int) (parts [][]byte, packets bool, err error) {
	if n == 0 {
		return nil, false, nil
	}
	var own [2]int
	if err := unix.Pipe2(own[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, false, hint(err)
	}
	defer unix.Close(own[0])
	defer unix.Close(own[1])
	if err := setPipeSize(own[1], max(size, 2*os.Getpagesize())); err != nil { //nolint:mnd // For one page and the mark.
		return nil, false, err
	}
	copied, err := unix.Tee(fd, own[1], n, unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return nil, false, fmt.Errorf("tee: %w", err)
	}
	if int(copied) != n {
		return nil, false, fmt.Errorf("tee copied only %d", copied)
	}
	// One byte more, which is no packet: a read returns it together with what is
	// before it, unless that is one. Where there is no room for it the pipe is full:
	// that is not one packet alone, which fits into a page.
	const mark = 1
	marked, err := unix.Write(own[1], make([]byte, mark))
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return nil, false, fmt.Errorf("mark the end of the copy: %w", err)
	}
	marked = max(marked, 0)
	if parts, err = readParts(own[0], n+marked); err != nil {
		return nil, false, err
	}
	packets = len(parts) > 1
	last := len(parts) - 1
	if parts[last] = parts[last][:len(parts[last])-marked]; len(parts[last]) == 0 {
		parts = parts[:last]
	}
	return parts, packets, nil
}

// readParts reads n bytes from a pipe, and returns what each read gave.
func readParts(fd, n int) (parts [][]byte, err error) {
	buf := make([]byte, n)
	for len(buf) > 0 {
		m, err := unix.Read(fd, buf)
		if err != nil {
			return nil, fmt.Errorf("read the copy: %w", err)
		}
		if m == 0 {
			return nil, errors.New("the copy is shorter than the pipe")
		}
		parts, buf = append(parts, buf[:m:m]), buf[m:]
	}
	return parts, nil
}

// setPipeSize gives a pipe its size. More than the system's limit needs
// CAP_SYS_RESOURCE, so nothing is asked for that the pipe has already.
func setPipeSize(fd, size int) error {
	now, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err == nil && now != size {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size)
	}
	if err != nil {
		return fmt.Errorf("give a pipe the size %d (/proc/sys/fs/pipe-max-size is the limit): %w", size, err)
	}
	return nil
}
