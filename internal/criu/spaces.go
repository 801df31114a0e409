// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"fmt"
	"path/filepath"
	"strings"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/image/view"
)

// ownSpaces lists the kinds of namespaces in which the tree's root was and the CRIU that
// dumped it was not, such as "mnt net". It is for an estimate: what cannot be read counts
// as none.
func ownSpaces(req engine.RestoreRequest) string {
	root, err := req.State.Root()
	if err != nil {
		return ""
	}
	inv, theirs := &inventory.InventoryEntry{}, &criucore.TaskKobjIdsEntry{}
	if _, err := view.ReadEntry(filepath.Join(req.Images.Dir, "inventory.img"), inv); err != nil {
		return ""
	}
	if _, err := view.ReadEntry(filepath.Join(req.Images.Dir, fmt.Sprintf("ids-%d.img", root.PID)), theirs); err != nil {
		return ""
	}
	host := inv.GetRootIds()
	var own []string
	for _, ns := range []struct {
		kind       string
		its, hosts uint32
	}{
		{"cgroup", theirs.GetCgroupNsId(), host.GetCgroupNsId()},
		{"ipc", theirs.GetIpcNsId(), host.GetIpcNsId()},
		{"mnt", theirs.GetMntNsId(), host.GetMntNsId()},
		{"net", theirs.GetNetNsId(), host.GetNetNsId()},
		{"pid", theirs.GetPidNsId(), host.GetPidNsId()},
		{"user", theirs.GetUserNsId(), host.GetUserNsId()},
		{"uts", theirs.GetUtsNsId(), host.GetUtsNsId()},
	} {
		if ns.its != ns.hosts {
			own = append(own, ns.kind)
		}
	}
	return strings.Join(own, " ")
}
