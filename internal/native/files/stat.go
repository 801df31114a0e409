// SPDX-License-Identifier: Apache-2.0

package files

import (
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	criutime "github.com/checkpoint-restore/go-criu/v7/crit/images/time"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// deviceNumber is a device number as the kernel itself has it (20 bits of minor
// number below 12 bits of major), which is what CRIU stores.
func deviceNumber(dev uint64) uint32 {
	const minorBits = 20
	return unix.Major(dev)<<minorBits | unix.Minor(dev)
}

// timeval is a file's time in an image, which knows no nanoseconds.
func timeval(t unix.Timespec) *criutime.Timeval {
	const nanosPerMicro = 1000
	return &criutime.Timeval{TvSec: proto.Uint64(uint64(t.Sec)), TvUsec: proto.Uint64(uint64(t.Nsec / nanosPerMicro))}
}

// linkEntry is the entry of a name that was made for a file.
func linkEntry(name string) *fdinfo.FileEntry {
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Reg: &regfile.RegFileEntry{
		Flags: proto.Uint32(0), Pos: proto.Uint64(0), Name: proto.String(name), Fown: noOwner(),
	}}
}

// wholeFile is one range for all of a file.
func wholeFile(size int64) []*ghost_file.GhostChunkEntry {
	return []*ghost_file.GhostChunkEntry{{Off: proto.Uint64(0), Len: proto.Uint64(uint64(size))}}
}
