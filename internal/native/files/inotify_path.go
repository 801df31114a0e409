// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fsnotify"
	"golang.org/x/sys/unix"
)

// watchedPath finds the path of a watched file, through crtime's own mounts.
func watchedPath(w *fsnotify.InotifyWdEntry) (string, error) {
	fd, err := openWatched(w)
	if err != nil {
		return "", fmt.Errorf("the file of watch %d (inode %d, device %#x) cannot be found: %w", w.GetWd(), w.GetIIno(), w.GetSDev(), err)
	}
	defer unix.Close(fd)
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", fmt.Errorf("ask for the path of watch %d: %w", w.GetWd(), err)
	}
	// The link may be of a file that was deleted, or that another mount hides.
	var there unix.Stat_t
	if err := unix.Lstat(path, &there); err != nil || there.Ino != w.GetIIno() {
		return "", fmt.Errorf("the file of watch %d (%s) was deleted or cannot be reached by its path: let the program remove the watch", w.GetWd(), path)
	}
	return path, nil
}

// openWatched opens a watched file by its handle, without a right to read it.
// The caller closes the descriptor.
func openWatched(w *fsnotify.InotifyWdEntry) (int, error) {
	handle := handleBytes(w.GetFHandle().GetHandle(), int(w.GetFHandle().GetBytes()))
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return -1, fmt.Errorf("list the mounts: %w", err)
	}
	last := errors.New("crtime sees no mount of that device")
	for _, point := range mountsOf(data, w.GetSDev()) {
		mount, err := unix.Open(point, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			last = err // A file that is mounted, or one that another mount hides.
			continue
		}
		fd, err := unix.OpenByHandleAt(mount, unix.NewFileHandle(int32(w.GetFHandle().GetType()), handle), unix.O_PATH|unix.O_CLOEXEC)
		unix.Close(mount)
		if err == nil {
			return fd, nil
		}
		last = fmt.Errorf("open it by its handle: %w", err)
		if errors.Is(err, unix.EPERM) {
			last = fmt.Errorf("%w: this needs CAP_DAC_READ_SEARCH", last)
		}
	}
	return -1, last
}

// handleBytes unpacks the words of an image.
func handleBytes(words []uint64, n int) []byte {
	b := make([]byte, 0, 8*len(words))
	for _, word := range words {
		b = binary.NativeEndian.AppendUint64(b, word)
	}
	return b[:min(n, len(b))]
}

// mountsOf lists the mount points of a device, given in the kernel's own
// encoding, from a mountinfo file.
func mountsOf(mountinfo []byte, dev uint32) []string {
	var points []string
	for line := range bytes.Lines(mountinfo) {
		// ID, parent, major:minor, root, mount point, ...
		fields := strings.Fields(string(line))
		if len(fields) < 5 {
			continue
		}
		major, minor, ok := strings.Cut(fields[2], ":")
		if !ok {
			continue
		}
		ma, err1 := strconv.ParseUint(major, 10, 12)
		mi, err2 := strconv.ParseUint(minor, 10, 20)
		if err1 == nil && err2 == nil && deviceNumber(unix.Mkdev(uint32(ma), uint32(mi))) == dev {
			points = append(points, unescapeMount(fields[4]))
		}
	}
	return points
}

// unescapeMount undoes the kernel's octal escapes of white space and backslash
// (mangle_path in fs/seq_file.c).
func unescapeMount(s string) string {
	const escape = 4 // Backslash and three digits.
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+escape <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+escape], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += escape - 1
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
