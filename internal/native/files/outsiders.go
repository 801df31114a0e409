// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/parallel"
)

// outsiders is what processes outside the tree have open, to one of those that
// have it. Descriptors of crtime itself do not count.
type outsiders struct {
	linked map[string]int // Pipes and sockets, told by the text of their links.
	named  map[string]int // What has a path, told by its identity.
}

// outsider returns a process outside the tree that has the same file open, told
// by its identity; 0: none has. All are looked at when it is first asked, for a
// pipe or socket alone as long as nobody asks for anything else: these need no
// more than the text of the link.
func (t *tree) outsider(id string) int {
	if isNumbered(id) {
		if t.outside.linked == nil {
			t.outside.linked = t.lookOutside(linkedIdentity)
		}
		return t.outside.linked[id]
	}
	if t.outside.named == nil {
		t.outside.named = t.lookOutside(t.namedIdentity)
	}
	return t.outside.named[id]
}

// isNumbered reports whether a link is that of a pipe or socket, and has its number.
func isNumbered(link string) bool {
	return strings.HasPrefix(link, "pipe:[") || strings.HasPrefix(link, "socket:[")
}

// seenFile is a descriptor of another process, for those who want to look closer.
type seenFile struct {
	pid, fd int
	dir     int // The process's directory of descriptors.
}

// lookOutside looks at all descriptors outside the tree. identify gives what is to
// be noted of a file, from its link; "": nothing.
func (t *tree) lookOutside(identify func(link string, f seenFile) string) map[string]int {
	var pids []int
	for _, pid := range allPids() {
		if !t.inside[pid] && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	found := make([][]string, len(pids))
	parallel.Each(len(pids), func(i int) { found[i] = openIn(pids[i], identify) })
	seen := map[string]int{}
	for i, ids := range found {
		for _, id := range ids {
			seen[id] = pids[i]
		}
	}
	return seen
}

// openIn lists the identities of what a process has open. Of one that has ended,
// or that crtime may not look at, nothing is known.
func openIn(pid int, identify func(link string, f seenFile) string) []string {
	dir, err := openDirectory("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return nil
	}
	defer unix.Close(dir)
	fds, err := numbersIn(dir)
	if err != nil {
		return nil
	}
	var ids []string
	link := make([]byte, 2*unix.PathMax)
	for _, fd := range fds {
		n, err := unix.Readlinkat(dir, strconv.Itoa(fd), link)
		if err != nil {
			continue
		}
		if id := identify(string(link[:n]), seenFile{pid, fd, dir}); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// linkedIdentity notes pipes and sockets.
func linkedIdentity(link string, _ seenFile) string {
	if isNumbered(link) {
		return link
	}
	return ""
}

// namedIdentity notes what has a path.
func (t *tree) namedIdentity(link string, f seenFile) string {
	if !strings.HasPrefix(link, "/") || isNull(link) {
		return ""
	}
	if strings.HasSuffix(link, "/ptmx") {
		if d, err := t.readDescriptor(f.pid, f.fd); err == nil {
			if index, err := ptyIndex(d); err == nil {
				return masterIdentity(index)
			}
		}
		return ""
	}
	var st unix.Stat_t
	if unix.Fstatat(f.dir, strconv.Itoa(f.fd), &st, 0) != nil {
		return ""
	}
	return identity(link, &st)
}

// isNull reports whether a link is that of the file which most daemons have
// open, and nobody asks for.
func isNull(link string) bool { return link == "/dev/null" }

// identity is what tells an open file apart from all others of the system: the
// link text, where that holds a number ("pipe:[4711]"), or else the inode.
func identity(link string, st *unix.Stat_t) string {
	if !strings.HasPrefix(link, "/") {
		return link
	}
	return fmt.Sprintf("inode %d of device %d", st.Ino, st.Dev)
}
