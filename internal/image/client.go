// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// errNoDir says that a client of CRIU names no image directory.
var errNoDir = errors.New("the options name no image directory: set ImagesDirFd")

// OpenClient opens the image directory of a client of CRIU in this process, as CRIU
// would: the open directory fd or, if that is negative, the one at path. The file's name
// is an absolute path of it. The caller closes the file; fd stays the client's.
func OpenClient(fd int32, path string) (*os.File, error) {
	at := int(fd)
	switch {
	case fd >= 0:
		path = "."
	case path != "":
		at = unix.AT_FDCWD
	default:
		return nil, errNoDir
	}
	own, err := unix.Openat(at, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("image directory: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(own))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("image directory: %w", err), unix.Close(own))
	}
	return os.NewFile(uintptr(own), name), nil
}
