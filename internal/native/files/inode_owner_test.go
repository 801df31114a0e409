// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// TestUsersThatImagesDoNotSay restores sockets and a pipe from images that do not
// say whose they are, as those of CRIU: they belong to the user of the process that
// has them, not to crtime's.
func TestUsersThatImagesDoNotSay(t *testing.T) {
	const uid, gid = 3001, 4001
	h := hold(t, "peers", 5)
	s, c := h.mustCollect(everything)
	s = write(t, s, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	pid := h.pids[0]
	h.end()
	for _, e := range s.Files {
		if m := body(e); e.GetUsk() != nil || e.GetPipe() != nil {
			m.SetUnknown(nil)
		}
	}
	s.Process[uint32(pid)].Core.ThreadCore.Creds = &creds.CredsEntry{Euid: proto.Uint32(uid), Egid: proto.Uint32(gid)}
	rebuilt(t, s, given{}, func() {
		var dups duplicates
		defer dups.Close()
		for fd := 10; fd <= 20; fd++ {
			if fd == 18 {
				continue
			}
			var st unix.Stat_t
			if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), &st); err != nil || st.Uid != uid || st.Gid != gid {
				t.Errorf("descriptor %d belongs to user %d and group %d: %v", fd, st.Uid, st.Gid, err)
			}
			if fd > 17 { // The pipe, and a socket whose peer is gone.
				continue
			}
			own, err := dups.get(pid, fd)
			if err != nil {
				t.Fatal(err)
			}
			peer, err := unix.GetsockoptUcred(own, unix.SOL_SOCKET, unix.SO_PEERCRED)
			if fd != 17 && (err != nil || peer.Uid != uid || peer.Gid != gid) {
				t.Errorf("descriptor %d has %+v at its other end: %v", fd, peer, err)
			}
		}
	})
}
