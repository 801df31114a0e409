// SPDX-License-Identifier: Apache-2.0

package files

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// Check refuses images whose files cannot be restored, as far as that can be
// told before there is a process. The errors are criuimg.ErrDamaged, when the
// images contradict themselves, or criuimg.ErrUnsupported.
func Check(s *criuimg.Set) error {
	x, err := newIndex(s)
	if err != nil {
		return err
	}
	return x.check()
}

func (x *index) check() error {
	if len(x.set.TTYData) > 0 {
		return fmt.Errorf("tty-data.img: %w: bytes that wait in a terminal", criuimg.ErrUnsupported)
	}
	for _, e := range x.set.Files {
		if err := x.checkFile(e); err != nil {
			return fmt.Errorf("files.img: file %d: %w", e.GetId(), err)
		}
	}
	for _, e := range x.set.Remap {
		if err := x.checkRemap(e); err != nil {
			return fmt.Errorf("remap-fpath.img: what stands for file %d: %w", e.GetOrigId(), err)
		}
	}
	tables := map[uint32]uint32{}
	for _, pid := range x.set.PIDs() {
		if err := x.checkProcess(pid, tables); err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return cmp.Or(x.checkPipeData(), x.checkQueues())
}

// checkFile asks the file's kind.
func (x *index) checkFile(e *fdinfo.FileEntry) error {
	k := kindFor(e.GetType())
	if k == nil {
		return fmt.Errorf("%w: a file of type %s", criuimg.ErrUnsupported, e.GetType())
	}
	if c, ok := k.(checker); ok {
		return c.check(x, e)
	}
	return nil
}

// checkRemap looks at what stands for a file without a name.
func (x *index) checkRemap(e *remap_file_path.RemapFilePathEntry) error {
	if x.files[e.GetOrigId()].GetReg() == nil {
		return fmt.Errorf("%w: there is no such regular file", criuimg.ErrDamaged)
	}
	switch how := e.GetRemapType(); how {
	case remap_file_path.RemapType_GHOST:
		g := x.set.Ghost[e.GetRemapId()]
		if g == nil || g.Entry == nil {
			return fmt.Errorf("%w: there is no ghost file %d", criuimg.ErrDamaged, e.GetRemapId())
		}
		switch mode := g.Entry.GetMode() & unix.S_IFMT; mode {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFIFO:
		default:
			return fmt.Errorf("%w: a deleted file of mode %o", criuimg.ErrUnsupported, mode)
		}
	case remap_file_path.RemapType_LINKED:
		if x.files[e.GetRemapId()].GetReg() == nil || x.remaps[e.GetRemapId()] != nil {
			return fmt.Errorf("%w: there is no file %d to take, or it has no name itself", criuimg.ErrDamaged, e.GetRemapId())
		}
	default:
		return fmt.Errorf("%w: it belongs to a process that had ended (%s)", criuimg.ErrUnsupported, how)
	}
	return nil
}

// checkProcess looks at a process's directories, and refuses a descriptor table
// that it shares with another. tables are those seen so far.
func (x *index) checkProcess(pid uint32, tables map[uint32]uint32) error {
	p := x.set.Process[pid]
	if p == nil || p.FS == nil {
		return nil // A zombie.
	}
	for name, id := range map[string]uint32{"working": p.FS.GetCwdId(), "root": p.FS.GetRootId()} {
		if x.files[id].GetReg() == nil {
			return fmt.Errorf("%w: its %s directory is file %d, which is none", criuimg.ErrDamaged, name, id)
		}
	}
	if p.IDs == nil || p.IDs.GetFilesId() == 0 {
		return nil
	}
	if other, ok := tables[p.IDs.GetFilesId()]; ok {
		return fmt.Errorf("%w: it shares its descriptors with process %d", criuimg.ErrUnsupported, other)
	}
	tables[p.IDs.GetFilesId()] = pid
	return nil
}

// check refuses what open cannot open.
func (regularKind) check(_ *index, e *fdinfo.FileEntry) error {
	r := e.GetReg()
	switch {
	case r.GetExt():
		return fmt.Errorf("%w: %s lies outside the tree (--external)", criuimg.ErrUnsupported, r.GetName())
	case !cleanPath(r.GetName()):
		return fmt.Errorf("%w: %q is no path that the kernel would give", criuimg.ErrDamaged, r.GetName())
	case r.Size != nil && int64(r.GetSize()) < 0:
		return fmt.Errorf("%w: a file of %d bytes", criuimg.ErrDamaged, r.GetSize())
	case regularID(e) != e.GetId():
		return fmt.Errorf("%w: it also calls itself %d", criuimg.ErrDamaged, regularID(e))
	default:
		return nil
	}
}

// cleanPath reports whether a path is absolute and has no component that leads
// elsewhere than its name says, as all that the kernel gives out. CRIU ends the
// path of a directory of /proc with a slash.
func cleanPath(name string) bool {
	trimmed := strings.TrimSuffix(name, "/")
	return strings.HasPrefix(name, "/") && !strings.ContainsRune(name, 0) && len(name) < unix.PathMax &&
		(name == "/" || path.Clean(name) == trimmed)
}

// regularID is the id that stands in the message of a regular file.
func regularID(e *fdinfo.FileEntry) uint32 { return e.GetReg().GetId() }

// regular returns the entry of a regular file.
func (x *index) regular(id uint32) (*regfile.RegFileEntry, error) {
	r := x.files[id].GetReg()
	if r == nil {
		return nil, fmt.Errorf("%w: there is no regular file with id %d", criuimg.ErrDamaged, id)
	}
	return r, nil
}
