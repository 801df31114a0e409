// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"google.golang.org/protobuf/proto"
)

// inventoryTimeNS returns the number by which a dump calls the time namespace
// that CRIU itself was in.
func inventoryTimeNS(path string) (uint32, error) {
	inv := &inventory.InventoryEntry{}
	if _, err := ReadEntry(path, inv); err != nil {
		return 0, err
	}
	return inv.GetRootIds().GetTimeNsId(), nil
}

// withTimeNS returns an ids image in which the process lives in the time
// namespace ns, or nil when it does already. A tree that was dumped inside a
// time namespace would otherwise ask CRIU to make one at restore.
func withTimeNS(path string, ns uint32) ([]byte, error) {
	ids := &criucore.TaskKobjIdsEntry{}
	magic, err := ReadEntry(path, ids)
	if err != nil {
		return nil, err
	}
	if ids.TimeNsId == nil || ids.GetTimeNsId() == ns {
		return nil, nil
	}
	ids.TimeNsId = proto.Uint32(ns)
	msg, err := proto.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return frame(magic, msg), nil
}
