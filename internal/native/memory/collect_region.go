// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/maps"
)

// region is a mapping of a live process, and what there is behind it.
type region struct {
	maps.VMA
	link string // Path below /proc that leads to the mapped object; "": there is none.
	// access is how the object was opened when it was mapped (O_RDONLY and its
	// like); only with a link.
	access uint32
	object unix.Stat_t // Of what is behind the link; zero without one.
	// open keeps the file open that link leads to, if that is crtime's own descriptor.
	open *os.File
}

// String names the mapping as /proc/PID/maps does.
func (r region) String() string {
	if r.Path == "" {
		return fmt.Sprintf("%x-%x", r.Start, r.End)
	}
	return fmt.Sprintf("%x-%x (%s)", r.Start, r.End, r.Path)
}

// sharedAnonymous says that it is memory of mmap(MAP_SHARED|MAP_ANONYMOUS). The
// kernel names it after the device that such memory came from in former times.
func (r region) sharedAnonymous() bool {
	return r.Path == "/dev/zero" && r.Deleted && r.ofSharedMemory()
}

// ofSharedMemory says that it maps an object of the kernel's nameless shared
// memory: a memfd, System V memory or an anonymous shared mapping.
func (r region) ofSharedMemory() bool {
	dev, err := maps.SharedMemoryDevice()
	return err == nil && r.link != "" && uint64(r.object.Dev) == dev //nolint:unconvert // Another type on other machines.
}

// objects remembers what is behind mappings: most processes of a tree map the same
// files. It is safe for concurrent use.
type objects struct {
	mu    sync.Mutex
	known map[fileKey]mappedFile
}

// mappedFile is what is behind mappings.
type mappedFile struct {
	stat unix.Stat_t
	open *os.File // Where the kernel's own link may not be followed.
}

func newObjects() *objects { return &objects{known: make(map[fileKey]mappedFile)} }

// readRegions lists the mappings of a process.
func readRegions(pid int) ([]region, error) { return newObjects().readRegions(pid) }

func (o *objects) readRegions(pid int) ([]region, error) {
	all, err := maps.Read(pid)
	if err != nil {
		return nil, err
	}
	links := mapFiles{pid: pid, path: "/proc/" + strconv.Itoa(pid) + "/map_files", fd: -1}
	defer links.close()
	out := make([]region, len(all))
	for i := range all {
		out[i].VMA = all[i]
		guessLockOnFault(&out[i])
		if err := o.lookBehind(&out[i], &links); err != nil {
			return nil, fmt.Errorf("mapping %s: %w", out[i], err)
		}
	}
	return out, nil
}

// mapFiles is a folder /proc/PID/map_files, opened when it is first needed.
type mapFiles struct {
	pid  int
	path string
	fd   int
}

// link looks at a link in it.
func (m *mapFiles) link(name string, st *unix.Stat_t, flags int) error {
	if m.fd < 0 {
		fd, err := unix.Open(m.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		m.fd = fd
	}
	return unix.Fstatat(m.fd, name, st, flags)
}

func (m *mapFiles) close() {
	if m.fd >= 0 {
		unix.Close(m.fd)
	}
}

// lookBehind finds out what is behind a mapping of a file. Nothing is opened: to
// open a device may do something to it.
func (o *objects) lookBehind(r *region, links *mapFiles) error {
	if !r.File() {
		return nil
	}
	name := strconv.FormatUint(r.Start, 16) + "-" + strconv.FormatUint(r.End, 16)
	link := links.path + "/" + name
	var st unix.Stat_t
	switch err := links.link(name, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case errors.Is(err, fs.ErrNotExist):
		// Gone, or a mapping that the kernel has no file for.
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", link, err)
	}
	// The link's own permissions tell how the file was opened (proc_pid_map_files(5)).
	switch st.Mode & 0o600 {
	case 0o600:
		r.access = unix.O_RDWR
	case 0o200:
		r.access = unix.O_WRONLY
	default:
		r.access = unix.O_RDONLY
	}
	key := fileKey{r.Major, r.Minor, r.Inode, r.Path}
	o.mu.Lock()
	found, known := o.known[key]
	o.mu.Unlock()
	if !known {
		err := links.link(name, &found.stat, 0)
		if errors.Is(err, unix.EPERM) {
			found, err = openMapped(links.pid, r)
		}
		if err != nil {
			return fmt.Errorf("follow %s: %w", link, err)
		}
		o.mu.Lock()
		o.known[key] = found
		o.mu.Unlock()
	}
	if r.link, r.object, r.open = link, found.stat, found.open; r.open != nil {
		r.link = fmt.Sprintf("/proc/self/fd/%d", r.open.Fd())
	}
	return nil
}

// openMapped opens a mapped file by its name, for a crtime that has no right to follow
// the kernel's own link, and makes sure that it is the file.
func openMapped(pid int, r *region) (mappedFile, error) {
	const needs = "only CAP_CHECKPOINT_RESTORE lets crtime at it: run crtime as root"
	if r.Deleted || !strings.HasPrefix(r.Path, "/") {
		return mappedFile{}, fmt.Errorf("%w: it has no name any more, and %s", engine.ErrUnsupported, needs)
	}
	path := fmt.Sprintf("/proc/%d/root%s", pid, r.Path)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return mappedFile{}, fmt.Errorf("open %s: %w", path, err)
	}
	o := mappedFile{open: os.NewFile(uintptr(fd), r.Path)}
	if err := unix.Fstat(fd, &o.stat); err != nil {
		return mappedFile{}, fmt.Errorf("look at %s: %w", path, err)
	}
	dev := uint64(o.stat.Dev) //nolint:unconvert // Another type on other machines.
	if o.stat.Ino == r.Inode && unix.Major(dev) == r.Major && unix.Minor(dev) == r.Minor {
		return o, nil
	}
	same, err := mapsAs(fd, r)
	if err != nil {
		return mappedFile{}, fmt.Errorf("map %s: %w", path, err)
	}
	if !same {
		return mappedFile{}, fmt.Errorf("%w: %s is another file now, and %s", engine.ErrUnsupported, r.Path, needs)
	}
	return o, nil
}

// mapsAs reports whether a mapping of an open file shows as another mapping does. What
// fstat calls the file's device is another one on some file systems (btrfs, overlayfs).
func mapsAs(fd int, r *region) (bool, error) {
	m, err := unix.Mmap(fd, 0, 1, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Munmap(m) }()
	all, err := maps.Read(os.Getpid())
	if err != nil {
		return false, err
	}
	for i := range all {
		if at := addressOf(m); all[i].Start <= at && at < all[i].End {
			return all[i].Major == r.Major && all[i].Minor == r.Minor && all[i].Inode == r.Inode, nil
		}
	}
	return false, nil
}

// cutOut takes a range out of the mappings: crtime's own area, which the kernel
// may have joined with memory of the process beside it.
func cutOut(regions []region, hole span) []region {
	if hole.empty() {
		return regions
	}
	var out []region
	for _, r := range regions {
		s := span{r.Start, r.End}
		if !s.overlaps(hole) {
			out = append(out, r)
			continue
		}
		if s.start < hole.start {
			below := r
			below.End = hole.start
			out = append(out, below)
		}
		if hole.end < s.end {
			above := r
			above.Start = hole.end
			if r.File() {
				above.Offset += hole.end - s.start
			}
			out = append(out, above)
		}
	}
	return out
}
