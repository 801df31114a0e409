// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// view is an image directory as CRIU is to see it at restore: every image but
// CRIU's own record of the clocks, since CRIU would otherwise make a second
// time namespace by it.
//
// It is a tmpfs that is mounted nowhere and is reached by its descriptor alone,
// full of symbolic links to the images. So the user's directory is never
// changed, and nothing is left behind however this process ends. CRIU's log and
// statistics go there too, unless the user wants them elsewhere.
type view struct{ dir *os.File }

// newView makes the view of an image directory.
func newView(images string) (*view, error) {
	dir, err := detachedTmpfs()
	if err != nil {
		return nil, fmt.Errorf("make the restore view of %s: %w", images, err)
	}
	v := &view{dir: dir}
	if err := v.fill(images); err != nil {
		v.close()
		return nil, fmt.Errorf("make the restore view of %s: %w", images, err)
	}
	return v, nil
}

// close gives the tmpfs back to the kernel.
func (v *view) close() error { return v.dir.Close() }

// path is a path by which this process reaches a file of the view.
func (v *view) path(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", v.dir.Fd(), name)
}

// detachedTmpfs makes a tmpfs that is in no mount tree; see fsmount(2).
func detachedTmpfs() (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen tmpfs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "mode", "0700"); err != nil {
		return nil, fmt.Errorf("fsconfig tmpfs: %w", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("fsconfig tmpfs: %w", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("fsmount tmpfs: %w", err)
	}
	defer unix.Close(mnt)
	// The mount's own descriptor is an O_PATH one, which CRIU could not list.
	fd, err := unix.Openat(mnt, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open tmpfs: %w", err)
	}
	return os.NewFile(uintptr(fd), "restore-view"), nil
}

// fill links or rewrites every image.
func (v *view) fill(images string) error {
	entries, err := os.ReadDir(images)
	if err != nil {
		return err
	}
	hostNS, err := inventoryTimeNS(filepath.Join(images, "inventory.img"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, target := e.Name(), filepath.Join(images, e.Name())
		switch {
		case strings.HasPrefix(name, "timens-") && strings.HasSuffix(name, ".img"):
			continue
		case strings.HasPrefix(name, "ids-") && strings.HasSuffix(name, ".img"):
			rewritten, err := withTimeNS(target, hostNS)
			if err != nil {
				return err
			}
			if rewritten != nil {
				if err := os.WriteFile(v.path(name), rewritten, 0o600); err != nil {
					return err
				}
				continue
			}
		case name == "parent":
			// CRIU's link to the previous dump is relative to the images.
			if target, err = filepath.EvalSymlinks(target); err != nil {
				return err
			}
		case !strings.HasSuffix(name, ".img"):
			continue
		}
		if err := unix.Symlinkat(target, int(v.dir.Fd()), name); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

// The magic numbers that begin a CRIU image when a second one, of its kind,
// follows. An image with another one (the inventory) has that alone.
const (
	commonMagic  = 0x54564319 // IMG_COMMON_MAGIC.
	serviceMagic = 0x55105940 // IMG_SERVICE_MAGIC.
)

var errImage = errors.New("not an image of one entry")

// readEntry reads the message of a CRIU image that holds one: magic numbers,
// the message's size, the message. It returns the magic numbers too.
func readEntry(path string, into proto.Message) (magic []byte, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	const word = 4
	head := word
	if len(data) >= word {
		if first := binary.LittleEndian.Uint32(data); first == commonMagic || first == serviceMagic {
			head = 2 * word
		}
	}
	if len(data) < head+word || uint64(binary.LittleEndian.Uint32(data[head:])) != uint64(len(data)-head-word) {
		return nil, fmt.Errorf("%s: %w", path, errImage)
	}
	if err := proto.Unmarshal(data[head+word:], into); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data[:head], nil
}

// inventoryTimeNS returns the number by which a dump calls the time namespace
// that CRIU itself was in.
func inventoryTimeNS(path string) (uint32, error) {
	inv := &inventory.InventoryEntry{}
	if _, err := readEntry(path, inv); err != nil {
		return 0, err
	}
	return inv.GetRootIds().GetTimeNsId(), nil
}

// withTimeNS returns an ids image in which the process lives in the time
// namespace ns, or nil when it does already. A tree that was dumped inside a
// time namespace would otherwise ask CRIU to make one at restore.
func withTimeNS(path string, ns uint32) ([]byte, error) {
	ids := &criucore.TaskKobjIdsEntry{}
	magic, err := readEntry(path, ids)
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
	out := binary.LittleEndian.AppendUint32(slices.Clone(magic), uint32(len(msg)))
	return append(out, msg...), nil
}
