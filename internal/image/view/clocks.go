// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/urgent"
)

// timensMagic is TIMENS_MAGIC, the second magic number of CRIU's record of the clocks.
const timensMagic = 0x43114433

// ErrRecord says that a directory does not hold one record of CRIU's of the clocks.
var ErrRecord = errors.New("there is not one timens image")

// ClockOffer is CRIU's record of the clocks, which is written when CRIU has come to read
// it. CRIU subtracts its own clocks, as they are when it has read, from what it reads. So
// values for the instant at which it reads are worth more than those of any file.
//
// It is an empty file on which this process has a lease (fcntl(2), F_SETLEASE): who opens
// it waits until the lease is given up. If this process dies, the kernel gives it up, CRIU
// finds the record empty, and fails. (A pipe would have it wait for ever.) It waits for 45
// seconds at most (/proc/sys/fs/lease-break-time).
//
// Close may be called at any time, by any goroutine; the other methods by one.
type ClockOffer struct {
	file *os.File // The View's.

	mu     sync.Mutex // Held while file is used; guards closed.
	closed bool
}

// OfferClocks begins to wait for CRIU with the record of a view WithClocks, which is empty
// again. The caller must call Close before the view's and before it offers them anew.
func (v *View) OfferClocks() (*ClockOffer, error) {
	// For practice: the first message of a type takes its time, and CRIU waits for Put.
	if _, err := encodeRecord(0, 0); err != nil {
		return nil, err
	}
	if err := v.record.Truncate(0); err != nil {
		return nil, fmt.Errorf("empty the record of the clocks: %w", err)
	}
	if err := lease(v.record); err != nil {
		return nil, fmt.Errorf("take a lease on the record of the clocks: %w", err)
	}
	// The program that crtime is part of is to get no SIGIO.
	if _, err := unix.FcntlInt(v.record.Fd(), unix.F_SETOWN, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("take a lease on the record of the clocks: %w", err), release(v.record))
	}
	return &ClockOffer{file: v.record}, nil
}

// lease takes a lease. A CRIU that has just failed may have the file open still, for as
// long as its processes need to end.
func lease(file *os.File) error {
	const patience, pause = time.Second, time.Millisecond
	for begin := time.Now(); ; time.Sleep(pause) {
		_, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		if !errors.Is(err, unix.EAGAIN) || time.Since(begin) > patience {
			return err
		}
	}
}

// release gives up a lease, and may be called again.
func release(file *os.File) error {
	_, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("give up the lease on the record of the clocks: %w", err)
	}
	return nil
}

// Await returns when CRIU wants to open the record, and waits for Put. The error is
// os.ErrClosed once Close has been called. It looks often, and is best called by a thread
// that need not wait for a processor.
func (o *ClockOffer) Await() error {
	const glance = 50 * time.Microsecond
	for {
		wanted, err := o.wanted()
		if wanted || err != nil {
			return err
		}
		urgent.Sleep(glance)
	}
}

// wanted reports whether somebody waits for the lease: the kernel shows it as what it is to
// become then.
func (o *ClockOffer) wanted() (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false, os.ErrClosed
	}
	kind, err := unix.FcntlInt(o.file.Fd(), unix.F_GETLEASE, 0)
	if err != nil {
		return false, fmt.Errorf("look at the lease on the record of the clocks: %w", err)
	}
	return kind != unix.F_WRLCK, nil
}

// Put writes the record and lets CRIU read it: what the two clocks are to read, in the
// tree's new time namespace, at the moment at which CRIU subtracts its own. They must not
// be negative. It can be called once, after Await.
func (o *ClockOffer) Put(monotonic, boottime clockstate.Nanos) error {
	data, err := encodeRecord(monotonic, boottime)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return os.ErrClosed
	}
	if _, err := o.file.WriteAt(data, 0); err != nil {
		return fmt.Errorf("write the record of the clocks: %w", err)
	}
	return release(o.file)
}

// Close ends the offer. A CRIU that reads the record later finds it empty if Put was not
// called, and fails. It can be called again.
func (o *ClockOffer) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		_ = release(o.file) // Whoever waits is let go at the latest with the View.
		o.closed = true
	}
}

// encodeRecord makes the image.
func encodeRecord(monotonic, boottime clockstate.Nanos) ([]byte, error) {
	if monotonic < 0 || boottime < 0 {
		return nil, fmt.Errorf("record of the clocks: %w: MONOTONIC %v, BOOTTIME %v", clockstate.ErrOutOfRange, monotonic, boottime)
	}
	message, err := proto.Marshal(&timens.TimensEntry{Monotonic: timespec(monotonic), Boottime: timespec(boottime)})
	if err != nil {
		return nil, fmt.Errorf("record of the clocks: %w", err)
	}
	magic := binary.LittleEndian.AppendUint32(nil, commonMagic)
	return frame(binary.LittleEndian.AppendUint32(magic, timensMagic), message), nil
}

// timespec is a time as CRIU has it.
func timespec(n clockstate.Nanos) *timens.Timespec {
	sec, nsec := n.Timespec()
	return &timens.Timespec{TvSec: proto.Uint64(uint64(sec)), TvNsec: proto.Uint64(uint64(nsec))}
}
