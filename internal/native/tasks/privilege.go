// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
)

// PrivilegeError says that an image asks for more than its owner may have: who
// can write images could otherwise have root make a process of any user.
type PrivilegeError struct {
	PID, TID uint32
	Owner    uint32 // Who owns the image directory.
	Wants    string // "user id 0", "capabilities 0x3fffffffff".
}

// Error says what to do.
func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("thread %d of process %d is to get %s, but its images belong to user %d: restore with --trust-images if you know who made them",
		e.TID, e.PID, e.Wants, e.Owner)
}

// CheckPrivilege reports, as a *PrivilegeError, a thread that would get more than
// the user owner has: another user id, a group that this machine's group file
// does not give owner, or any capability. Root may have everything.
func CheckPrivilege(s *criuimg.Set, owner uint32) error {
	if owner == 0 {
		return nil
	}
	groups, err := groupsOf(owner)
	if err != nil {
		return err
	}
	for _, pid := range s.PIDs() {
		p := s.Process[pid]
		if p.Zombie() {
			continue
		}
		for _, tid := range p.TIDs(pid) {
			core := p.Threads[tid]
			if tid == pid {
				core = p.Core
			}
			if wants := excess(core.GetThreadCore().GetCreds(), owner, groups); wants != "" {
				return &PrivilegeError{PID: pid, TID: tid, Owner: owner, Wants: wants}
			}
		}
	}
	return nil
}

// groupsOf lists the groups of a user. A user who is not known here has none.
func groupsOf(uid uint32) ([]uint32, error) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if _, unknown := errors.AsType[user.UnknownUserIdError](err); unknown {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("groups of user %d: %w", uid, err)
	}
	names, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %d: %w", uid, err)
	}
	groups := make([]uint32, 0, len(names))
	for _, name := range names {
		gid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("groups of user %d: %w", uid, err)
		}
		groups = append(groups, uint32(gid))
	}
	return groups, nil
}

// excess names what c has beyond the rights of user owner in groups; "" if
// nothing.
func excess(c *creds.CredsEntry, owner uint32, groups []uint32) string {
	for _, id := range []uint32{c.GetUid(), c.GetEuid(), c.GetSuid(), c.GetFsuid()} {
		if id != owner {
			return fmt.Sprintf("user id %d", id)
		}
	}
	for _, gid := range append([]uint32{c.GetGid(), c.GetEgid(), c.GetSgid(), c.GetFsgid()}, c.GetGroups()...) {
		if !slices.Contains(groups, gid) {
			return fmt.Sprintf("group id %d", gid)
		}
	}
	set := capSet(c.GetCapEff()) | capSet(c.GetCapPrm()) | capSet(c.GetCapInh()) | capSet(extra.All(c, fieldCapAmb))
	if set != 0 {
		return fmt.Sprintf("capabilities %#x", set)
	}
	return ""
}
