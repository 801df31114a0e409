// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
)

// procSuperMagic is PROC_SUPER_MAGIC of linux/magic.h.
const procSuperMagic = 0x9fa0

// procOwner returns whose file below /proc a path is: a process, and one of its
// threads where the path goes on with task/TID. 0: nobody's. Every path is taken
// for one of the usual mount of /proc.
func procOwner(path string) (pid, tid int) {
	parts := strings.Split(path, "/")
	const process, task, thread = 2, 3, 4 // Parts of /proc/PID/task/TID.
	if len(parts) <= process || parts[0] != "" || parts[1] != "proc" {
		return 0, 0
	}
	pid, err := strconv.Atoi(parts[process])
	if err != nil || pid <= 0 {
		return 0, 0
	}
	if len(parts) > thread && parts[task] == "task" {
		if tid, err = strconv.Atoi(parts[thread]); err == nil && tid > 0 {
			return pid, tid
		}
	}
	return pid, pid
}

// procObstacle says why a file of /proc cannot be saved, or "". Those of a process
// are opened by their path again, so that it must be one that will exist.
func procObstacle(d *descriptor) string {
	pid, tid := procOwner(d.link)
	if pid == 0 {
		return ""
	}
	switch {
	case !onProc(d.path):
		return ""
	case d.stat.Nlink == 0 || strings.HasSuffix(d.link, deletedSuffix):
		return fmt.Sprintf("process %d, whose file it is, has ended: let the program close it first", pid)
	case !d.tree.inside[pid]:
		return fmt.Sprintf("it is a file of process %d, which is not in the tree and may be another one at the restore: let the program close it first", pid)
	case tid != pid:
		return fmt.Sprintf("it is a file of thread %d, which does not exist yet when files are opened again: let the program close it first", tid)
	default:
		return ""
	}
}

// onProc reports whether a file lies in a proc file system.
func onProc(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == procSuperMagic
}

// late: the files of a process below /proc are there as soon as it is.
func (regularKind) late(r *Rebuild, e *fdinfo.FileEntry) bool {
	pid, _ := procOwner(e.GetReg().GetName())
	return pid != 0 && r.set.Process[uint32(pid)] != nil
}
