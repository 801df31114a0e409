// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// mostMessage bounds a message: command lines and environments are shorter.
const mostMessage = 1 << 20

// opening is what a keeper is told first.
type opening struct {
	Number int // The keeper's own, as who started it sees it.
	Job    Job
}

// answer is what a keeper says to an opening or a request.
type answer struct {
	PID     int
	Status  int
	Err     string
	Refused bool // The kernel does not let the user do it.
}

// request asks a keeper to start a crtime, or later to send it a signal.
type request struct {
	Args, Env []string
	Dir       string
	Signal    int
}

// controlPair is a connection between a keeper and who starts it.
func controlPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control"), nil
}

// send sends a message, with files beside it.
func send(to *os.File, message any, files []*os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > mostMessage {
		return fmt.Errorf("a message of %d bytes is too long", len(data))
	}
	var rights []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		rights = unix.UnixRights(fds...)
	}
	// Packets of this size need room that a socket does not have by itself.
	_ = unix.SetsockoptInt(int(to.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, mostMessage)
	return os.NewSyscallError("sendmsg", unix.Sendmsg(int(to.Fd()), data, rights, nil, unix.MSG_NOSIGNAL))
}

// receive waits for a message, and takes the files that come with it. io.EOF: the other
// side has closed the connection.
func receive(from *os.File, message any) ([]*os.File, error) {
	data := make([]byte, mostMessage)
	const mostFiles = 3
	rights := make([]byte, unix.CmsgSpace(4*mostFiles))
	n, nRights, _, _, err := unix.Recvmsg(int(from.Fd()), data, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	files, err := filesOf(rights[:nRights])
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return files, io.EOF
	}
	return files, json.Unmarshal(data[:n], message)
}

// filesOf are the files that came with a message.
func filesOf(rights []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // Something else.
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "standard stream"))
		}
	}
	return files, nil
}

// closeAll closes files that were received.
func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// address is where a keeper listens, by its number as its user sees it: a socket in a
// folder that is the user's alone. (A name that is in no file system would be there for
// whoever shares the network, such as containers of the same user.)
func address(keeper int) (*unix.SockaddrUnix, error) {
	dir, err := socketDir(os.Getuid())
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrUnix{Name: filepath.Join(dir, fmt.Sprintf("keeper-%d", keeper))}, nil
}

// socketDir makes the folder of a user's sockets, if it is not there, and makes sure that
// it is his alone. It depends on nothing that may differ from shell to shell.
func socketDir(uid int) (string, error) {
	dir := fmt.Sprintf("/run/user/%d", uid)
	if st, err := os.Stat(dir); err != nil || !ownedBy(st, uid) {
		dir = fmt.Sprintf("/tmp/crtime-%d", uid)
	} else {
		dir += "/crtime"
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !st.IsDir() || !ownedBy(st, uid) || st.Mode().Perm() != 0o700 {
		return "", fmt.Errorf("%s is to be a folder of user %d alone, and is not: remove it", dir, uid)
	}
	return dir, nil
}

func ownedBy(st fs.FileInfo, uid int) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == uid
}

// peer says who is at the other end of a connection.
func peer(s *os.File) (*unix.Ucred, error) {
	cred, err := unix.GetsockoptUcred(int(s.Fd()), unix.SOL_SOCKET, unix.SO_PEERCRED)
	return cred, os.NewSyscallError("getsockopt SO_PEERCRED", err)
}
