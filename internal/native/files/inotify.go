// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fh"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fsnotify"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// inotifyKind is watches on files, inotify(7). The kernel knows the watched
// files by handles (name_to_handle_at), from which their paths are found.
type inotifyKind struct{}

func (inotifyKind) handles(d *descriptor) bool { return d.link == "anon_inode:inotify" }
func (inotifyKind) types() []fdinfo.FdTypes    { return []fdinfo.FdTypes{fdinfo.FdTypes_INOTIFY} }

func (inotifyKind) obstacle(d *descriptor) string {
	watches, err := parseInotify(d.info.rest)
	if err != nil {
		return err.Error()
	}
	for _, w := range watches {
		if _, err := watchedPath(w); err != nil {
			return err.Error()
		}
	}
	return ""
}

func (inotifyKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	fd, err := c.file(d)
	if err != nil {
		return nil, err
	}
	waiting, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return nil, fmt.Errorf("ask for waiting events: %w", err)
	}
	if waiting > 0 {
		return nil, fmt.Errorf("events of %d bytes wait in it, which can only be read once: try again when the program has read them: %w",
			waiting, ErrObstacle)
	}
	watches, err := parseInotify(d.info.rest)
	if err != nil {
		return nil, err
	}
	for _, w := range watches {
		path, err := watchedPath(w)
		if err != nil {
			return nil, err
		}
		w.FHandle.Path = proto.String(path)
	}
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_INOTIFY.Enum(), Ify: &fsnotify.InotifyFileEntry{
		Id: proto.Uint32(0), Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC), Fown: owner, Wd: watches,
	}}, nil
}

// handleWords is how many words of a file handle an image holds.
const handleWords = 16

// parseInotify reads the lines of fdinfo that tell what is watched. Their format
// is in the kernel's Documentation/filesystems/proc.rst; all numbers but the
// handle's bytes are hexadecimal.
func parseInotify(lines []string) ([]*fsnotify.InotifyWdEntry, error) {
	var watches []*fsnotify.InotifyWdEntry
	for _, line := range lines {
		if !strings.HasPrefix(line, "inotify ") {
			continue
		}
		var wd, dev, mask, ignored, size, kind uint32
		var ino uint64
		var handle string
		_, err := fmt.Sscanf(line, "inotify wd:%x ino:%x sdev:%x mask:%x ignored_mask:%x fhandle-bytes:%x fhandle-type:%x f_handle:%s",
			&wd, &ino, &dev, &mask, &ignored, &size, &kind, &handle)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		words, err := handleOf(handle)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		watches = append(watches, &fsnotify.InotifyWdEntry{
			Id: proto.Uint32(0), Wd: proto.Uint32(wd), IIno: proto.Uint64(ino), SDev: proto.Uint32(dev),
			Mask: proto.Uint32(mask), IgnoredMask: proto.Uint32(ignored),
			FHandle: &fh.FhEntry{Bytes: proto.Uint32(size), Type: proto.Uint32(kind), Handle: words},
		})
	}
	return watches, nil
}

// handleOf packs the bytes of a handle into the words of an image.
func handleOf(digits string) ([]uint64, error) {
	data, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("file handle: %w", err)
	}
	if len(data) > handleWords*8 {
		return nil, fmt.Errorf("a file handle of %d bytes", len(data))
	}
	data = append(data, make([]byte, handleWords*8-len(data))...)
	words := make([]uint64, handleWords)
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(data[i*8:])
	}
	return words, nil
}

// check refuses what inotify_add_watch could not make again.
func (inotifyKind) check(_ *index, e *fdinfo.FileEntry) error {
	seen := map[uint32]bool{}
	for _, w := range e.GetIfy().GetWd() {
		switch {
		case w.GetFHandle() == nil:
			return fmt.Errorf("%w: watch %d is of no file", criuimg.ErrDamaged, w.GetWd())
		case int32(w.GetWd()) <= 0 || seen[w.GetWd()]:
			return fmt.Errorf("%w: watch %d is there twice, or is no watch", criuimg.ErrDamaged, w.GetWd())
		case w.GetFHandle().GetPath() == "" && int(w.GetFHandle().GetBytes()) > 8*len(w.GetFHandle().GetHandle()):
			return fmt.Errorf("%w: watch %d: a file handle of %d bytes in %d", criuimg.ErrDamaged,
				w.GetWd(), w.GetFHandle().GetBytes(), 8*len(w.GetFHandle().GetHandle()))
		case w.GetFHandle().GetPath() != "" && !cleanPath(w.GetFHandle().GetPath()):
			return fmt.Errorf("%w: watch %d is of the path %q", criuimg.ErrDamaged, w.GetWd(), w.GetFHandle().GetPath())
		}
		seen[w.GetWd()] = true
		if err := checkHandle(w); err != nil {
			return err
		}
	}
	return nil
}

// checkHandle refuses a watch of a file that has gone since: CRIU, which has saved it,
// makes the file again.
func checkHandle(w *fsnotify.InotifyWdEntry) error {
	if w.GetFHandle().GetPath() != "" {
		return nil
	}
	file, err := openWatched(w)
	if errors.Is(err, unix.ESTALE) {
		return fmt.Errorf("%w: watch %d: the file is not there: %w", criuimg.ErrUnsupported, w.GetWd(), err)
	}
	if err == nil {
		unix.Close(file)
	}
	return nil // Another error is told when it matters.
}
