// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"os"
	"strings"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/ns"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// nsKind is descriptors of namespaces: those that crtime itself is in, of which a
// restored one is of the namespace that crtime is in then, and the time namespaces that
// processes of the tree live in.
type nsKind struct{}

// namespaceSort is one sort of namespace.
type namespaceSort struct {
	name string // As /proc/PID/ns has it.
	flag uint32 // Of clone.
	id   func(*criu_core.TaskKobjIdsEntry) *uint32
}

// namespaceSorts are those that can be saved.
var namespaceSorts = []namespaceSort{ //nolint:gochecknoglobals // A table that is never changed.
	{"mnt", unix.CLONE_NEWNS, func(e *criu_core.TaskKobjIdsEntry) *uint32 { return e.MntNsId }},
	{"net", unix.CLONE_NEWNET, func(e *criu_core.TaskKobjIdsEntry) *uint32 { return e.NetNsId }},
	{"pid", unix.CLONE_NEWPID, func(e *criu_core.TaskKobjIdsEntry) *uint32 { return e.PidNsId }},
	{"ipc", unix.CLONE_NEWIPC, func(e *criu_core.TaskKobjIdsEntry) *uint32 { return e.IpcNsId }},
	{"uts", unix.CLONE_NEWUTS, func(e *criu_core.TaskKobjIdsEntry) *uint32 { return e.UtsNsId }},
	{"user", unix.CLONE_NEWUSER, func(e *criu_core.TaskKobjIdsEntry) *uint32 { return e.UserNsId }},
	{"cgroup", unix.CLONE_NEWCGROUP, func(e *criu_core.TaskKobjIdsEntry) *uint32 { return e.CgroupNsId }},
	{"time", unix.CLONE_NEWTIME, func(e *criu_core.TaskKobjIdsEntry) *uint32 { return e.TimeNsId }},
}

// ofTime says that namespaces of this sort are not crtime's: the restore makes them anew.
func (s namespaceSort) ofTime() bool { return s.flag == unix.CLONE_NEWTIME }

// namespaceOf finds the sort of the namespace that a descriptor is of.
func namespaceOf(d *descriptor) (namespaceSort, bool) {
	for _, sort := range namespaceSorts {
		if strings.HasPrefix(d.link, sort.name+":[") {
			return sort, true
		}
	}
	return namespaceSort{}, false
}

func (nsKind) handles(d *descriptor) bool {
	_, ok := namespaceOf(d)
	return ok && d.fd >= 0
}

func (nsKind) types() []fdinfo.FdTypes { return []fdinfo.FdTypes{fdinfo.FdTypes_NS} }

// what names a namespace.
func (nsKind) what(d *descriptor) string { return "namespace " + d.link }

func (nsKind) obstacle(d *descriptor) string {
	sort, _ := namespaceOf(d)
	if sort.ofTime() {
		return obstacleOfTime(d)
	}
	own, err := os.Readlink("/proc/thread-self/ns/" + sort.name)
	switch {
	case err != nil:
		return fmt.Sprintf("crtime's own namespace cannot be looked at (%v)", err)
	case own != d.link:
		return "it is not the one that crtime is in: " + useCRIU
	case d.info.flags&unix.O_PATH != 0:
		return "it was opened with O_PATH: " + closeFirst
	default:
		return ""
	}
}

// obstacleOfTime is obstacle for a time namespace. One that a process has made for its
// children is made again when all files are open already.
func obstacleOfTime(d *descriptor) string {
	_, inhabited := d.tree.livingIn(d.link)
	switch {
	case !inhabited:
		return "no process of the tree lives in it: " + closeFirst
	case d.tree.madeForChildren(d.link):
		return "a process has made it for its children: " + closeFirst
	case d.info.flags&unix.O_PATH != 0:
		return "it was opened with O_PATH: " + closeFirst
	default:
		return ""
	}
}

// livingIn finds a process of the tree that lives in a time namespace.
func (t *tree) livingIn(link string) (pid int, found bool) {
	for _, pid := range t.pids {
		if own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", pid)); err == nil && own == link {
			return pid, true
		}
	}
	return 0, false
}

// madeForChildren says whether a process of the tree has made a time namespace in which it
// does not live itself.
func (t *tree) madeForChildren(link string) bool {
	for _, pid := range t.pids {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time_for_children", pid))
		if err != nil || theirs != link {
			continue
		}
		if own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", pid)); err == nil && own != link {
			return true
		}
	}
	return false
}

func (nsKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	sort, _ := namespaceOf(d)
	pid := d.pid
	if sort.ofTime() {
		pid, _ = d.tree.livingIn(d.link)
	}
	var id *uint32
	if p := c.set.Process[uint32(pid)]; p != nil && p.IDs != nil {
		id = sort.id(p.IDs)
	}
	if id == nil {
		return nil, fmt.Errorf("the images have no id for the %s namespace of process %d", sort.name, pid)
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_NS.Enum(), Nsf: &ns.NsFileEntry{
		Id: proto.Uint32(0), NsId: proto.Uint32(*id), NsCflag: proto.Uint32(sort.flag),
		Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC),
	}}, nil
}

// sortOf finds the sort of an entry's namespace.
func sortOf(e *ns.NsFileEntry) (namespaceSort, bool) {
	for _, sort := range namespaceSorts {
		if sort.flag == e.GetNsCflag() {
			return sort, true
		}
	}
	return namespaceSort{}, false
}

// check refuses namespaces that no process of the tree is in: but for time, all of them
// are in crtime's own.
func (nsKind) check(x *index, e *fdinfo.FileEntry) error {
	sort, ok := sortOf(e.GetNsf())
	if !ok {
		return fmt.Errorf("%w: a descriptor of a namespace of sort %#x", criuimg.ErrUnsupported, e.GetNsf().GetNsCflag())
	}
	for _, pid := range x.set.PIDs() {
		if p := x.set.Process[pid]; p != nil && p.IDs != nil {
			if id := sort.id(p.IDs); id != nil && *id == e.GetNsf().GetNsId() {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: a descriptor of a %s namespace that the tree is not in", criuimg.ErrUnsupported, sort.name)
}

// timeNamespaces is the note that holds what UseTimeNamespaces was given.
type timeNamespaces struct{ doors map[uint32]*os.File }

// UseTimeNamespaces says which time namespaces processes are to live in, by the numbers
// that they have in the images. The files stay the caller's. Without it OpenAll fails
// if a process has a descriptor of one.
func (r *Rebuild) UseTimeNamespaces(doors map[uint32]*os.File) {
	noteOf[timeNamespaces](r.notes).doors = doors
}

func (nsKind) open(r *Rebuild, e *fdinfo.FileEntry) (int, error) {
	sort, ok := sortOf(e.GetNsf())
	if !ok {
		return -1, fmt.Errorf("%w: a namespace of sort %#x", criuimg.ErrUnsupported, e.GetNsf().GetNsCflag())
	}
	if sort.ofTime() {
		door := noteOf[timeNamespaces](r.notes).doors[e.GetNsf().GetNsId()]
		if door == nil {
			return -1, fmt.Errorf("%w: a time namespace that is not there before the processes are", criuimg.ErrUnsupported)
		}
		return unix.Open(fmt.Sprintf("/proc/self/fd/%d", door.Fd()), reopenFlags(e.GetNsf().GetFlags()), 0)
	}
	return unix.Open("/proc/thread-self/ns/"+sort.name, reopenFlags(e.GetNsf().GetFlags()), 0)
}
