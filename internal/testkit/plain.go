// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/stats"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"github.com/checkpoint-restore/go-criu/v7/magic"
	"google.golang.org/protobuf/proto"
)

// Plain is what a plain CRIU writes of a tree without its memory and files: enough to
// know who the processes are and what their clocks read.
type Plain map[string]PlainImage

// PlainImage is the content of one image: messages of a kind that has this name in
// CRIU's list of magic numbers.
type PlainImage struct {
	Kind     string
	Messages []proto.Message
}

// The numbers that PlainTree gives to namespaces.
const (
	plainPIDSpace  = 1
	plainTimeSpace = 5
)

// PlainTree is a server (process 4711, five threads) with a helper (4712) and a zombie
// (4713), in the time namespace that CRIU was in, whose MONOTONIC read 93784.005 s and
// whose BOOTTIME 93900.005 s, up to 20.5 ms after the freeze.
func PlainTree() Plain {
	const millisecond = 1_000_000
	return Plain{
		"inventory.img": {"INVENTORY", []proto.Message{&inventory.InventoryEntry{
			ImgVersion: proto.Uint32(2), FdinfoPerId: proto.Bool(true), NsPerId: proto.Bool(true), RootIds: plainIDs(1),
		}}},
		"timens-0.img": {"TIMENS", []proto.Message{&timens.TimensEntry{
			Monotonic: &timens.Timespec{TvSec: proto.Uint64(93784), TvNsec: proto.Uint64(5 * millisecond)},
			Boottime:  &timens.Timespec{TvSec: proto.Uint64(93900), TvNsec: proto.Uint64(5 * millisecond)},
		}}},
		"pstree.img": {"PSTREE", []proto.Message{
			plainProcess(4711, 0, 4711, 4720, 4721, 4722, 4723), plainProcess(4712, 4711, 4712), plainProcess(4713, 4711, 4713),
		}},
		"core-4711.img": plainCore("server", 1),
		"core-4712.img": plainCore("hel\xffper", 1),
		"core-4713.img": plainCore("zombie", 2),
		"ids-4711.img":  {"IDS", []proto.Message{plainIDs(2)}},
		"ids-4712.img":  {"IDS", []proto.Message{plainIDs(3)}},
		"stats-dump": {"STATS", []proto.Message{&stats.StatsEntry{Dump: &stats.DumpStatsEntry{
			FreezingTime: proto.Uint32(500), FrozenTime: proto.Uint32(20000), MemdumpTime: proto.Uint32(1), MemwriteTime: proto.Uint32(1),
			PagesScanned: proto.Uint64(1), PagesSkippedParent: proto.Uint64(0), PagesWritten: proto.Uint64(1), PagesLazy: proto.Uint64(0),
		}}}},
	}
}

func plainProcess(pid, parent uint32, threads ...uint32) *pstree.PstreeEntry {
	return &pstree.PstreeEntry{
		Pid: proto.Uint32(pid), Ppid: proto.Uint32(parent), Pgid: proto.Uint32(pid), Sid: proto.Uint32(pid), Threads: threads,
	}
}

func plainCore(comm string, state uint32) PlainImage {
	return PlainImage{"CORE", []proto.Message{&criucore.CoreEntry{
		Mtype: criucore.CoreEntry_X86_64.Enum(),
		Tc: &criucore.TaskCoreEntry{
			TaskState: proto.Uint32(state), ExitCode: proto.Uint32(0), Personality: proto.Uint32(0), Flags: proto.Uint32(0),
			BlkSigset: proto.Uint64(0), Comm: proto.String(comm),
		},
	}}}
}

func plainIDs(own uint32) *criucore.TaskKobjIdsEntry {
	return &criucore.TaskKobjIdsEntry{
		VmId: proto.Uint32(own), FilesId: proto.Uint32(own), FsId: proto.Uint32(own), SighandId: proto.Uint32(own),
		PidNsId: proto.Uint32(plainPIDSpace), TimeNsId: proto.Uint32(plainTimeSpace),
	}
}

// Write writes the images into a new directory.
func (p Plain) Write(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for name, image := range p {
		data, err := image.encode()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// encode returns the file's content.
func (i PlainImage) encode() ([]byte, error) {
	numbers := magic.LoadMagic().ByName
	number, ok := numbers[i.Kind]
	if !ok {
		return nil, errors.New("CRIU has no such images")
	}
	var out []byte
	switch i.Kind {
	case "INVENTORY":
	case "STATS":
		out = binary.LittleEndian.AppendUint32(out, uint32(numbers["IMG_SERVICE"]))
	default:
		out = binary.LittleEndian.AppendUint32(out, uint32(numbers["IMG_COMMON"]))
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(number))
	for _, m := range i.Messages {
		data, err := proto.Marshal(m)
		if err != nil {
			return nil, err
		}
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(data))), data...)
	}
	return out, nil
}
