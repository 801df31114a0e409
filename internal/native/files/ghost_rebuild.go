// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"

	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	criutime "github.com/checkpoint-restore/go-criu/v7/crit/images/time"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// ghost returns an O_PATH descriptor of a file that has no name any more,
// through which it can be opened any number of times. It belongs to Rebuild.
//
// The file is made under its old name, so that the kernel shows that name (and
// " (deleted)") afterwards as it did before, and removed at once. Where the name
// is taken, another one is used.
func (r *Rebuild) ghost(reg *regfile.RegFileEntry, remap *remap_file_path.RemapFilePathEntry) (int, error) {
	if remap.GetRemapType() == remap_file_path.RemapType_LINKED {
		return r.linked(reg, remap)
	}
	note := noteOf[anchors](r.notes)
	if fd, ok := note.fds[remap.GetRemapId()]; ok {
		return fd, nil
	}
	g := r.set.Ghost[remap.GetRemapId()]
	if g == nil || g.Entry == nil {
		return -1, fmt.Errorf("%w: there is no ghost file %d", criuimg.ErrDamaged, remap.GetRemapId())
	}
	fd, err := anchor(reg.GetName(), func(name string) error { return create(name, g) })
	if err != nil {
		return -1, fmt.Errorf("make the deleted file again: %w", err)
	}
	note.put(remap.GetRemapId(), fd)
	return fd, nil
}

// linked is ghost for a file that was given a new name at the dump. That name
// stays, so that the images can be restored again.
func (r *Rebuild) linked(reg *regfile.RegFileEntry, remap *remap_file_path.RemapFilePathEntry) (int, error) {
	if fd, ok := r.ghosts[reg.GetId()]; ok {
		return fd, nil
	}
	target, err := r.index.regular(remap.GetRemapId())
	if err != nil {
		return -1, err
	}
	fd, err := anchor(reg.GetName(), func(name string) error {
		return unix.Linkat(unix.AT_FDCWD, target.GetName(), unix.AT_FDCWD, name, 0)
	})
	if err != nil {
		return -1, fmt.Errorf("take %s, the name it was given at the dump: %w", target.GetName(), err)
	}
	r.ghosts[reg.GetId()] = fd
	return fd, nil
}

// anchors are O_PATH descriptors of the files that were made again, by ghost id.
type anchors struct{ fds map[uint32]int }

func (a *anchors) put(id uint32, fd int) {
	if a.fds == nil {
		a.fds = map[uint32]int{}
	}
	a.fds[id] = fd
}

func (a *anchors) close() error {
	var errs []error
	for _, fd := range a.fds {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// anchor lets put make a file at a path or, where that is taken, at another,
// opens it with O_PATH, and removes the name. Directories of the path that were
// removed as well exist meanwhile.
func anchor(name string, put func(name string) error) (fd int, err error) {
	undo, err := makeParents(name)
	defer func() { err = errors.Join(err, undo()) }()
	if err != nil {
		return -1, err
	}
	if err = put(name); errors.Is(err, fs.ErrExist) {
		// The process had a file of this name open when it was removed;
		// somebody has made another since.
		name = name + ".crtime-" + strconv.Itoa(os.Getpid())
		err = put(name)
	}
	if err != nil {
		return -1, err
	}
	fd, err = unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if undo := os.Remove(name); err == nil && undo != nil {
		unix.Close(fd)
		err = undo
	}
	return fd, err
}

// makeParents makes the directories above a path that do not exist. undo, which
// is never nil, removes them again.
func makeParents(name string) (undo func() error, err error) {
	var made []string
	undo = func() error {
		var errs []error
		for _, dir := range slices.Backward(made) {
			errs = append(errs, os.Remove(dir))
		}
		return errors.Join(errs...)
	}
	var missing []string
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if _, err := os.Lstat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return undo, fmt.Errorf("make a directory that was deleted again: %w", err)
		}
		made = append(made, dir)
	}
	return undo, nil
}

// create makes a file from its image. The name must be free.
func create(name string, g *criuimg.Ghost) error {
	mode := g.Entry.GetMode()
	var err error
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		err = unix.Mkdir(name, mode&permissions)
	case unix.S_IFIFO:
		err = unix.Mkfifo(name, mode&permissions)
	case unix.S_IFREG:
		err = createRegular(name, g)
	default:
		err = fmt.Errorf("%w: a deleted file of mode %#o", criuimg.ErrUnsupported, mode)
	}
	if err != nil {
		return err
	}
	if err = attributes(name, g.Entry); err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// permissions are the bits of a mode that are not the type.
const permissions = 0o7777

// attributes sets owner, mode (which a change of owner may have changed, and
// the umask too) and times.
func attributes(name string, e *ghost_file.GhostFileEntry) error {
	if err := unix.Lchown(name, int(e.GetUid()), int(e.GetGid())); err != nil {
		return fmt.Errorf("give it its owner: %w", err)
	}
	if err := unix.Chmod(name, e.GetMode()&permissions); err != nil {
		return fmt.Errorf("give it its mode: %w", err)
	}
	if e.GetAtim() == nil || e.GetMtim() == nil {
		return nil
	}
	times := []unix.Timespec{timespec(e.GetAtim()), timespec(e.GetMtim())}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("give it its times: %w", err)
	}
	return nil
}

// timespec is the reverse of timeval.
func timespec(t *criutime.Timeval) unix.Timespec {
	const nanosPerMicro = 1000
	return unix.Timespec{Sec: int64(t.GetTvSec()), Nsec: int64(t.GetTvUsec()) * nanosPerMicro}
}

// createRegular makes a regular file with its data, holes left as holes.
func createRegular(name string, g *criuimg.Ghost) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = copyGhost(f, g); err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return errors.Join(err, f.Close())
}

// copyGhost writes a ghost's data where they belong.
func copyGhost(f *os.File, g *criuimg.Ghost) error {
	if g.Content == nil {
		return nil
	}
	ranges := g.Chunks
	if !g.Entry.GetChunks() {
		ranges = wholeFile(g.Size)
	}
	for _, c := range ranges {
		part := io.NewSectionReader(g.Content, int64(c.GetOff()), int64(c.GetLen()))
		n, err := io.Copy(io.NewOffsetWriter(f, int64(c.GetOff())), part)
		if err != nil {
			return fmt.Errorf("write its contents: %w", err)
		}
		if uint64(n) != c.GetLen() {
			return fmt.Errorf("%w: the contents of a deleted file end early", criuimg.ErrDamaged)
		}
	}
	return f.Truncate(g.Size)
}
