// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/stats"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/checkpoint"
	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/restore"
)

// Clients read statistics of CRIU's from their work directory: podman shows them, and
// CRIU's own tests compare them with the images. CRIU writes them itself; for the native
// engine they are written here. What that one does not count is 0.

// writeDumpStats writes the statistics of a dump.
func writeDumpStats(p *places, r *checkpoint.Report) error {
	if strings.HasPrefix(r.Engine, criu.Name) {
		return nil
	}
	pages, err := pagesIn(p.images)
	if err != nil {
		return err
	}
	return writeStats(p.work, "stats-dump", &stats.StatsEntry{Dump: &stats.DumpStatsEntry{
		FreezingTime: proto.Uint32(0), FrozenTime: micros(r.Frozen), MemdumpTime: proto.Uint32(0), MemwriteTime: proto.Uint32(0),
		PagesScanned: proto.Uint64(pages), PagesSkippedParent: proto.Uint64(0), PagesWritten: proto.Uint64(pages),
		IrmapResolve: proto.Uint32(0), PagesLazy: proto.Uint64(0), ShpagesWritten: proto.Uint64(0),
	}})
}

// writeRestoreStats writes the statistics of a restore.
func writeRestoreStats(p *places, r *restore.Report) error {
	if strings.HasPrefix(r.Engine, criu.Name) {
		return nil
	}
	pages, err := pagesIn(p.images)
	if err != nil {
		return err
	}
	return writeStats(p.work, "stats-restore", &stats.StatsEntry{Restore: &stats.RestoreStatsEntry{
		PagesCompared: proto.Uint64(0), PagesSkippedCow: proto.Uint64(0),
		ForkingTime: proto.Uint32(0), RestoreTime: micros(r.Duration), PagesRestored: proto.Uint64(pages),
	}})
}

// pagesIn counts the pages in the images.
func pagesIn(images *os.File) (uint64, error) {
	// What reads the directory by the client's descriptor would move its position.
	entries, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", images.Fd()))
	if err != nil {
		return 0, err
	}
	var size int64
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "pages-") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return uint64(size) / uint64(os.Getpagesize()), nil
}

// micros is a time as the statistics have it.
func micros(n clockstate.Nanos) *uint32 {
	const micro = 1000
	return proto.Uint32(uint32(min(max(n/micro, 0), math.MaxUint32)))
}

// The magic numbers that statistics begin with (criu/include/magic.h).
const (
	serviceMagic = 0x55105940 // IMG_SERVICE_MAGIC.
	statsMagic   = 0x57093306 // STATS_MAGIC.
)

// writeStats writes a file of statistics. As with the log, a link is not followed.
func writeStats(dir *os.File, name string, e *stats.StatsEntry) error {
	message, err := proto.Marshal(e)
	if err != nil {
		return err
	}
	data := binary.LittleEndian.AppendUint32(nil, serviceMagic)
	data = binary.LittleEndian.AppendUint32(data, statsMagic)
	data = append(binary.LittleEndian.AppendUint32(data, uint32(len(message))), message...)
	const mode = 0o644 // CRIU's.
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}
