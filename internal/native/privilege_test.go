// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/tasks"
)

// TestCheckPrivilege has images of a user's hold a process of root's.
func TestCheckPrivilege(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	set := criuimg.NewSet()
	set.Tree = []*pstree.PstreeEntry{{Pid: proto.Uint32(1000), Threads: []uint32{1000}}}
	set.Process[1000] = &criuimg.Process{Core: &criu_core.CoreEntry{
		Tc:         &criu_core.TaskCoreEntry{TaskState: proto.Uint32(criuimg.TaskAlive)},
		ThreadCore: &criu_core.ThreadCoreEntry{Creds: &creds.CredsEntry{}},
	}}
	dir := t.TempDir()
	if err := checkPrivilege(set, dir); err != nil {
		t.Errorf("images of root's: %v", err)
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	var privilege *tasks.PrivilegeError
	if err := checkPrivilege(set, dir); !errors.As(err, &privilege) || privilege.Owner != 65534 || !strings.Contains(err.Error(), "--trust-images") {
		t.Errorf("images of another user's: %v", err)
	}
	if err := checkPrivilege(set, dir+"/nothing"); err == nil {
		t.Error("images that do not exist")
	}
}
