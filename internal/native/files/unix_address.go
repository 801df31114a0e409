// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// siocUnixFile is SIOCUNIXFILE of linux/un.h: it opens the file that a socket is
// bound to, with O_PATH, also when it has no name any more.
const siocUnixFile = 0x89e0

// socketFile opens the file that a socket is bound to. The caller closes the
// descriptor.
func socketFile(fd int) (int, error) {
	file, err := unix.IoctlRetInt(fd, siocUnixFile)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w: this needs CAP_NET_ADMIN", err)
	}
	if err != nil {
		return -1, fmt.Errorf("open the file of the socket: %w", err)
	}
	unix.CloseOnExec(file)
	return file, nil
}

// bySocketFile is the address under which a bound file can be reached whatever
// its name is now.
func bySocketFile(file int) []byte {
	return []byte("/proc/thread-self/fd/" + strconv.Itoa(file) + "\x00")
}

// hasFile reports whether an address is a path.
func hasFile(name []byte) bool { return len(name) > 0 && name[0] != 0 }

// recordAddress fills in what an image tells of the file that a socket is bound
// to: rights, the directory of a relative path, whether it was deleted.
func recordAddress(e *sk_unix.UnixSkEntry, fd int) error {
	if !hasFile(e.GetName()) {
		return nil
	}
	file, err := socketFile(fd)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	var st unix.Stat_t
	if err := unix.Fstat(file, &st); err != nil {
		return fmt.Errorf("look at the file of the socket: %w", err)
	}
	link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(file))
	if err != nil {
		return fmt.Errorf("ask for the path of the socket: %w", err)
	}
	e.FilePerms = &sk_unix.FilePermsEntry{Mode: proto.Uint32(st.Mode), Uid: proto.Uint32(st.Uid), Gid: proto.Uint32(st.Gid)}
	// One end of a connection bears the address of the listening socket, and
	// nobody finds it by that.
	carried := e.GetType() != unix.SOCK_DGRAM && e.GetState() == stateEstablished
	if st.Nlink == 0 {
		e.Deleted = proto.Bool(true)
		link = strings.TrimSuffix(link, deletedSuffix)
	}
	full := addressText(e.GetName())
	if !path.IsAbs(full) {
		dir, ok := strings.CutSuffix(link, "/"+path.Clean(full))
		if !ok {
			return fmt.Errorf("it was bound to %q, but its file is %s now: restore cannot make that: %w", full, link, ErrObstacle)
		}
		if dir == "" {
			dir = "/"
		}
		e.NameDir = proto.String(dir)
		full = path.Join(dir, full)
	}
	var there unix.Stat_t
	err = unix.Stat(full, &there)
	if st.Nlink != 0 && !carried && (err != nil || there.Ino != st.Ino || there.Dev != st.Dev) {
		return fmt.Errorf("it was bound to %s, but its file was renamed to %s: restore cannot make that: %w", full, link, ErrObstacle)
	}
	return nil
}
