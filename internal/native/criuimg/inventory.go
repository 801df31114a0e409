// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"google.golang.org/protobuf/proto"
)

// cgroupSet is the number of the set of control groups that the dumping program is
// said to be in (InventoryEntry.RootCgSet). Since no thread names another and
// cgroup.img describes none, a restore leaves the processes in the groups of their
// maker.
const cgroupSet = 1

// NewInventory returns what CRIU demands of inventory.img for a restore of a
// tree in the host's namespaces; root is the ids of the dumping program's own.
func NewInventory(root *criu_core.TaskKobjIdsEntry) *inventory.InventoryEntry {
	return &inventory.InventoryEntry{
		ImgVersion:  proto.Uint32(imageVersion),
		FdinfoPerId: proto.Bool(true), // CRIU refuses images without.
		NsPerId:     proto.Bool(true), // Names of namespace images have ids, not pids.
		RootIds:     root,             // Namespaces other than these are made anew.
		RootCgSet:   proto.Uint32(cgroupSet),
		Lsmtype:     inventory.Lsmtype_NO_LSM.Enum(),
		// Without it CRIU warns, and takes the same.
		NetworkLockMethod: proto.Uint32(0),
	}
}
