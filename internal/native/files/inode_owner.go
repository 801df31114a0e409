// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
)

// A pipe or a socket belongs to who made it, like any other file. That matters to a
// program without privileges that opens /dev/stderr, which is a pipe: if it
// belonged to crtime the program could not.

// Fields of crtime's own in pipe_entry and unix_sk_entry.
const (
	fieldOwnerUID = 50011
	fieldOwnerGID = 50012
)

// user is a user and a group.
type user struct{ uid, gid uint32 }

// recordUser notes a user in two fields of crtime's own.
func recordUser(m proto.Message, uid, gid protowire.Number, u user) {
	extra.Set(m, uid, uint64(u.uid))
	extra.Set(m, gid, uint64(u.gid))
}

// recordedUser is what recordUser has noted; nil: nothing.
func recordedUser(m proto.Message, uid, gid protowire.Number) *user {
	u, ok := extra.Value(m, uid)
	g, also := extra.Value(m, gid)
	if !ok || !also {
		return nil
	}
	return &user{uid: uint32(u), gid: uint32(g)}
}

// checkUsers refuses users that cannot be.
func checkUsers(m proto.Message, fields ...protowire.Number) error {
	for _, field := range fields {
		if n, ok := extra.Value(m, field); ok && n >= math.MaxUint32 {
			return fmt.Errorf("%w: there is no user or group %d", criuimg.ErrDamaged, n)
		}
	}
	return nil
}

// userOf is the user of a process that has a file; nil: nobody has it. It stands
// for what the images of CRIU do not say, and for what nobody can ask.
func (r *Rebuild) userOf(id uint32) *user {
	h, ok := r.index.holders[id]
	if !ok {
		return nil
	}
	creds := r.set.Process[h.pid].Core.GetThreadCore().GetCreds()
	if creds == nil {
		return nil
	}
	return &user{uid: creds.GetEuid(), gid: creds.GetEgid()}
}

// giveBack makes a pipe or socket, whose entry is m, belong to its owner.
func (r *Rebuild) giveBack(fd int, id uint32, m proto.Message) error {
	owner := recordedUser(m, fieldOwnerUID, fieldOwnerGID)
	if owner == nil {
		owner = r.userOf(id)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || owner == nil || *owner == (user{st.Uid, st.Gid}) {
		return err
	}
	if err := unix.Fchown(fd, int(owner.uid), int(owner.gid)); err != nil {
		return fmt.Errorf("give it to user %d and group %d: %w", owner.uid, owner.gid, err)
	}
	return nil
}
