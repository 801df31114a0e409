// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"os"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// errNoTasks says that there is nothing to collect.
var errNoTasks = errors.New("there are no processes to collect")

// NamespaceIDs are the ids that stand for the namespaces of crtime itself, both
// in inventory.img (root_ids) and in ids-PID.img: a restore makes a namespace
// where the two differ. They are numbers of the images alone.
func NamespaceIDs() *criu_core.TaskKobjIdsEntry {
	return &criu_core.TaskKobjIdsEntry{
		VmId: proto.Uint32(1), FilesId: proto.Uint32(1), FsId: proto.Uint32(1), SighandId: proto.Uint32(1),
		PidNsId: proto.Uint32(1), NetNsId: proto.Uint32(2), IpcNsId: proto.Uint32(3), UtsNsId: proto.Uint32(4),
		TimeNsId: proto.Uint32(5), MntNsId: proto.Uint32(6), UserNsId: proto.Uint32(7), CgroupNsId: proto.Uint32(8),
	}
}

// firstTimeNamespace is the id of the first time namespace that is not crtime's; the
// further ones are counted from there.
const firstTimeNamespace = 9

// saveIDs gives every living process ids of its own for what processes could
// share (memory, descriptors, working directory, signal actions), because Survey
// refuses those that do share, and the ids of crtime's namespaces.
func saveIDs(targets []Target, s *criuimg.Set) error {
	if len(targets) == 0 {
		return errNoTasks
	}
	own, err := os.Readlink("/proc/self/ns/time")
	if err != nil {
		return err
	}
	clocks := map[string]uint32{own: NamespaceIDs().GetTimeNsId()}
	for i, t := range targets {
		if t.Process.Zombie {
			continue
		}
		ids := NamespaceIDs()
		// The first ids are crtime's own.
		n := uint32(i) + 2
		ids.VmId, ids.FilesId, ids.FsId, ids.SighandId = &n, &n, &n, &n
		clock, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", t.Process.PID))
		if err != nil {
			return err
		}
		if _, known := clocks[clock]; !known {
			clocks[clock] = firstTimeNamespace + uint32(len(clocks)) - 1
		}
		ids.TimeNsId = proto.Uint32(clocks[clock])
		s.Process[uint32(t.Process.PID)].IDs = ids
	}
	return nil
}
