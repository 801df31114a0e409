// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/signalfd"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// signalfdKind is descriptors to read signals from, signalfd(2). They hold
// nothing but a mask; the signals are the reading process's own.
type signalfdKind struct{}

func (signalfdKind) handles(d *descriptor) bool  { return d.link == "anon_inode:[signalfd]" }
func (signalfdKind) obstacle(*descriptor) string { return "" }
func (signalfdKind) types() []fdinfo.FdTypes     { return []fdinfo.FdTypes{fdinfo.FdTypes_SIGNALFD} }

func (signalfdKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	mask, err := lineNumber(d.info.rest, "sigmask", 16)
	if err != nil {
		return nil, err
	}
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_SIGNALFD.Enum(), Sgfd: &signalfd.SignalfdEntry{
		Id: proto.Uint32(0), Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC), Fown: owner, Sigmask: proto.Uint64(mask),
	}}, nil
}

func (signalfdKind) open(_ *Rebuild, e *fdinfo.FileEntry) (int, error) {
	// The kernel's set of signals is one word on the machines that we support.
	mask := unix.Sigset_t{}
	mask.Val[0] = e.GetSgfd().GetSigmask()
	fd, err := unix.Signalfd(-1, &mask, unix.SFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make a signal descriptor for the mask %#x: %w", e.GetSgfd().GetSigmask(), err)
	}
	return withStatus(fd, e.GetSgfd().GetFlags())
}
