// SPDX-License-Identifier: Apache-2.0

package files

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fsnotify"
	"golang.org/x/sys/unix"
)

// inotifyIOCSetNextWD is INOTIFY_IOC_SETNEXTWD of linux/inotify.h: _IOW('I', 0,
// __s32). Kernels with CONFIG_CHECKPOINT_RESTORE have it.
const inotifyIOCSetNextWD = 0x40044900

// watchFlags are the bits of a recorded mask that a watch can be made with. The
// kernel shows some more, of its own.
const watchFlags = unix.IN_ALL_EVENTS | unix.IN_ONESHOT | unix.IN_EXCL_UNLINK

func (inotifyKind) open(_ *Rebuild, e *fdinfo.FileEntry) (int, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("make an inotify instance: %w", err)
	}
	watches := slices.Clone(e.GetIfy().GetWd())
	slices.SortFunc(watches, func(a, b *fsnotify.InotifyWdEntry) int { return cmp.Compare(a.GetWd(), b.GetWd()) })
	for _, w := range watches {
		if err := addWatch(fd, w); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return withStatus(fd, e.GetIfy().GetFlags())
}

// addWatch adds one watch under its recorded number.
func addWatch(fd int, w *fsnotify.InotifyWdEntry) error {
	path := w.GetFHandle().GetPath()
	var file int
	var err error
	if path != "" {
		file, err = unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	} else {
		file, err = openWatched(w)
	}
	if err != nil {
		return fmt.Errorf("watch %d: find the file %s: %w", w.GetWd(), path, err)
	}
	defer unix.Close(file)
	if err := unix.IoctlSetInt(fd, inotifyIOCSetNextWD, int(w.GetWd())); err != nil {
		return fmt.Errorf("watch %d: choose its number (the kernel needs CONFIG_CHECKPOINT_RESTORE): %w", w.GetWd(), err)
	}
	// The link of /proc leads to the file itself, not to what may have its path.
	wd, err := unix.InotifyAddWatch(fd, "/proc/self/fd/"+strconv.Itoa(file), w.GetMask()&watchFlags)
	if err != nil {
		return fmt.Errorf("watch %d: watch %s: %w", w.GetWd(), path, err)
	}
	if wd != int(w.GetWd()) {
		return fmt.Errorf("watch %d: the kernel called it %d: %s is watched twice", w.GetWd(), wd, path)
	}
	return nil
}

// arm throws away the events that the restore itself has caused, such as the
// opening of files. It is done as late as can be; what others have done since
// the watches were made is lost with them.
func (inotifyKind) arm(_ *Rebuild, _ *fdinfo.FileEntry, fd int) error {
	buf := make([]byte, 64<<10)
	for {
		waiting, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		if err != nil {
			return fmt.Errorf("ask for waiting events: %w", err)
		}
		if waiting == 0 {
			return nil
		}
		if _, err := unix.Read(fd, buf); err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("read the events of the restore itself: %w", err)
		}
	}
}
