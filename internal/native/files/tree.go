// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// tree is what a kind may want to know of the processes around a descriptor.
// Everything in it is looked up once, when it is first asked for.
type tree struct {
	limits Limits
	pids   []int
	inside map[int]bool // The processes of the tree.

	// What describe has found, by pid. A process that had ended is in neither.
	described map[int][]*descriptor
	stats     map[int]terminalStat

	outside outsiders
	sharers [2]sharers   // As sharedObjects has them.
	mounts  map[int]bool // Ids of the mounts that crtime sees.
	ttys    *terminals

	networks  map[int]string         // By pid: see otherNetwork.
	sockets   map[uint32]*unixSocket // All UNIX sockets of crtime's network namespace, by inode.
	listeners map[uint32]uint32      // The listening socket at which a client waits to be accepted.
}

func newTree(pids []int, l Limits) *tree {
	t := &tree{limits: l, pids: pids, inside: make(map[int]bool, len(pids))}
	for _, pid := range pids {
		t.inside[pid] = true
	}
	return t
}

// sees reports whether crtime has the mount with this id, as fdinfo gives it,
// in its own mount namespace. Without it a path leads elsewhere, or nowhere.
func (t *tree) sees(mount int) (bool, error) {
	if t.mounts == nil {
		data, err := os.ReadFile("/proc/thread-self/mountinfo")
		if err != nil {
			return false, fmt.Errorf("list the mounts: %w", err)
		}
		t.mounts = parseMountIDs(data)
	}
	return t.mounts[mount], nil
}

// parseMountIDs takes the ids, the first field, out of a mountinfo file.
func parseMountIDs(data []byte) map[int]bool {
	ids := map[int]bool{}
	for line := range bytes.Lines(data) {
		first, _, _ := bytes.Cut(line, []byte(" "))
		if id, err := strconv.Atoi(string(first)); err == nil {
			ids[id] = true
		}
	}
	return ids
}
