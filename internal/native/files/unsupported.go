// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
)

// unsupportedKind is what is known to be beyond the images, or beyond this
// engine: sockets of the network, kernel objects behind a descriptor. It is here
// so that a user learns what it is and what to do. It stands last in the table.
type unsupportedKind struct{}

func (unsupportedKind) handles(d *descriptor) bool {
	what, _ := unsupported(d)
	return what != ""
}

func (unsupportedKind) what(d *descriptor) string {
	what, _ := unsupported(d)
	return what
}

func (unsupportedKind) obstacle(d *descriptor) string {
	_, why := unsupported(d)
	return why
}

func (unsupportedKind) types() []fdinfo.FdTypes { return nil }

func (unsupportedKind) collect(_ *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	_, why := unsupported(d)
	return nil, fmt.Errorf("%w: %s", ErrObstacle, why)
}

func (unsupportedKind) open(*Rebuild, *fdinfo.FileEntry) (int, error) {
	return -1, errors.New("files of this sort are never saved")
}

// Advice that fits several sorts of file.
const (
	closeFirst = "it cannot be saved: let the program close it first"
	useCRIU    = "the native engine cannot save it: use --engine criu"
)

// kernelObjects are the objects that have no file, by the text of their /proc
// link, or its beginning.
var kernelObjects = []struct{ link, what, why string }{ //nolint:gochecknoglobals // A table that is never changed.
	{"anon_inode:[io_uring]", "io_uring instance", "its queues are the kernel's: set the sysctl kernel.io_uring_disabled to 2 before starting the program"},
	{"anon_inode:[fanotify]", "fanotify instance", useCRIU},
	{"anon_inode:[perf_event]", "performance counter", closeFirst},
	{"anon_inode:[userfaultfd]", "userfaultfd", closeFirst},
	{"anon_inode:[pidfd]", "process descriptor (pidfd)", useCRIU},
	{"pidfd:", "process descriptor (pidfd)", useCRIU},
	{"anon_inode:bpf-map", "BPF map", useCRIU},
	{"anon_inode:bpf", "BPF object", closeFirst},
	{"anon_inode:btf", "BPF type table", closeFirst},
	{"anon_inode:seccomp notify", "seccomp listener", closeFirst},
	{"anon_inode:[landlock-ruleset]", "Landlock rule set", closeFirst},
	{"anon_inode:[fscontext]", "mount being made (fsopen)", closeFirst},
	{"anon_inode:kvm", "virtual machine", closeFirst},
	{"anon_inode:sync_file", "graphics fence", closeFirst},
	{"anon_inode:dmabuf", "graphics buffer", closeFirst},
	{"/dmabuf:", "graphics buffer", closeFirst},
	{"anon_inode:", "kernel object", closeFirst},
	{"mnt:[", "mount namespace", useCRIU},
	{"net:[", "network namespace", useCRIU},
	{"pid:[", "process id namespace", useCRIU},
	{"ipc:[", "IPC namespace", useCRIU},
	{"uts:[", "host name namespace", useCRIU},
	{"user:[", "user namespace", useCRIU},
	{"cgroup:[", "cgroup namespace", useCRIU},
	{"time:[", "time namespace", useCRIU},
	{"time_for_children:[", "time namespace", useCRIU},
	{"pid_for_children:[", "process id namespace", useCRIU},
}

// unsupported names an object and says why it cannot be saved; what is "" for
// one that this kind does not know.
func unsupported(d *descriptor) (what, why string) {
	switch {
	case d.mode() == unix.S_IFSOCK:
		return unsupportedSocket(d)
	case d.mode() == unix.S_IFCHR || d.mode() == unix.S_IFBLK:
		return unsupportedDevice(d)
	}
	for _, o := range kernelObjects {
		if strings.HasPrefix(d.link, o.link) {
			if o.what == "kernel object" {
				return o.what + " " + strings.TrimPrefix(d.link, "anon_inode:"), o.why
			}
			return o.what, o.why
		}
	}
	return "", ""
}

// Major numbers from the kernel's Documentation/admin-guide/devices.txt.
const (
	majorMisc = 10
	majorTUN  = majorMisc
	minorTUN  = 200
	majorFUSE = majorMisc
	minorFUSE = 229
	majorKVM  = majorMisc
	minorKVM  = 232
)

// unsupportedDevice names a device.
func unsupportedDevice(d *descriptor) (what, why string) {
	major, minor := unix.Major(d.stat.Rdev), unix.Minor(d.stat.Rdev)
	switch {
	case d.mode() == unix.S_IFBLK:
		return "block device " + d.link, closeFirst
	case major == majorTUN && minor == minorTUN:
		return "network tunnel " + d.link, useCRIU
	case major == majorFUSE && minor == minorFUSE:
		return "FUSE file system " + d.link, "the files that it serves would hang: unmount it first"
	case major == majorKVM && minor == minorKVM:
		return "virtual machine monitor " + d.link, closeFirst
	default:
		return fmt.Sprintf("device %s (%d:%d)", d.link, major, minor), "the state of a device " + closeFirst
	}
}
