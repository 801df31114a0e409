// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"math"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/extra"
)

// saveCredentials writes a thread's credentials. secbits is what
// PR_GET_SECUREBITS says; everything else is in its status.
func saveCredentials(st *status, secbits uint32) *creds.CredsEntry {
	c := &creds.CredsEntry{
		Uid: &st.uid[0], Euid: &st.uid[1], Suid: &st.uid[2], Fsuid: &st.uid[3],
		Gid: &st.gid[0], Egid: &st.gid[1], Sgid: &st.gid[2], Fsgid: &st.gid[3],
		CapInh: capWords(st.capInh), CapPrm: capWords(st.capPrm),
		CapEff: capWords(st.capEff), CapBnd: capWords(st.capBnd),
		Secbits: proto.Uint32(secbits), Groups: st.groups,
	}
	if st.noNewPrivs {
		extra.Set(c, fieldNoNewPrivs, 1)
	}
	for _, w := range capWords(st.capAmb) {
		extra.Set(c, fieldCapAmb, uint64(w))
	}
	return c
}

// capWords is a set of capabilities as the image has it: two 32-bit words, the
// lower one first.
func capWords(set uint64) []uint32 { return []uint32{uint32(set), uint32(set >> 32)} }

// capSet is the reverse of capWords.
func capSet[T uint32 | uint64](words []T) uint64 {
	set := uint64(0)
	for i, w := range words {
		if i < 2 {
			set |= uint64(w) << (32 * i)
		}
	}
	return set
}

// noID is the user or group id that means "leave it" to the kernel.
const noID = math.MaxUint32

// checkCredentials refuses what the calls would misread.
func checkCredentials(c *creds.CredsEntry) error {
	if c == nil {
		return fmt.Errorf("the image has no credentials")
	}
	for _, id := range []uint32{
		c.GetUid(), c.GetEuid(), c.GetSuid(), c.GetFsuid(),
		c.GetGid(), c.GetEgid(), c.GetSgid(), c.GetFsgid(),
	} {
		if id == noID {
			return fmt.Errorf("the image has a user or group id of %d", id)
		}
	}
	// The kernel allows 65536; what the stub can take is the limit here, and more
	// than any directory service hands out.
	const most = 16384
	if len(c.GetGroups()) > most {
		return fmt.Errorf("the image has %d supplementary groups, and the native engine restores up to %d; %s", len(c.GetGroups()), most, useCRIU)
	}
	for what, words := range map[string]int{
		"effective": len(c.GetCapEff()), "permitted": len(c.GetCapPrm()),
		"inheritable": len(c.GetCapInh()), "bounding": len(c.GetCapBnd()),
	} {
		// Older images have one word; no set has more than two.
		if words > 2 {
			return fmt.Errorf("the image has %d words for the %s capabilities", words, what)
		}
	}
	if c.GetLsmProfile() != "" || c.GetLsmSockcreate() != "" {
		return fmt.Errorf("it had the security profile %q, which the native engine does not set: use --engine criu", c.GetLsmProfile())
	}
	return nil
}
