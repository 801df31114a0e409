// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/numa"
	"github.com/crtime/crtime/internal/native/remote"
)

// inquiry is what a process is asked about its memory, at one stop: askCalls, and
// the policies of its first mappings.
type inquiry struct {
	calls []remote.Call
	first int // How many mappings are asked about.
}

// begin allocates what the answers need and gives the calls.
func (q *inquiry) begin(c *remote.Runner, regions []region) ([]remote.Call, error) {
	q.first = min(len(regions), tableSize)
	policies, err := policyCalls(c, regions[:q.first])
	if err != nil {
		return nil, err
	}
	q.calls = append(askCalls(), policies...)
	return q.calls, nil
}

// answer fills in what was answered about the address space as a whole.
func (q *inquiry) answer(m *mm.MmEntry) error { return askAnswers(q.calls[:asked], m) }

// policies gives the memory policies of all of a process's mappings that have one,
// by their begin. It asks about those that begin has not.
func (q *inquiry) policies(c *remote.Runner, regions []region) (map[uint64]numa.Policy, error) {
	defer c.Reset()
	policies := map[uint64]numa.Policy{}
	if err := policyAnswers(policies, c, q.calls[asked:]); err != nil {
		return nil, err
	}
	regions = regions[q.first:]
	for len(regions) > 0 {
		some := regions[:min(len(regions), tableSize)]
		regions = regions[len(some):]
		calls, err := policyCalls(c, some)
		if err != nil {
			return nil, err
		}
		if err := c.Run(calls); err != nil {
			return nil, err
		}
		if err := policyAnswers(policies, c, calls); err != nil {
			return nil, err
		}
	}
	return policies, nil
}

// policySize is the room for the mode of a policy, which takes 4 bytes.
const policySize = 8

// policyCalls asks for the modes of the policies of some mappings, which the
// process gets one behind the other.
func policyCalls(c *remote.Runner, regions []region) ([]remote.Call, error) {
	c.Reset()
	at, err := c.Alloc(policySize * len(regions))
	if err != nil {
		return nil, err
	}
	var calls []remote.Call
	for _, r := range regions {
		if r.Special() {
			continue
		}
		calls = append(calls, remote.Call{
			Name: "ask for the memory policy of a mapping", Nr: unix.SYS_GET_MEMPOLICY,
			Args: [6]uint64{at, 0, 0, r.Start, unix.MPOL_F_ADDR},
		})
		at += policySize
	}
	return calls, nil
}

// policyAnswers adds the policies that were asked for.
func policyAnswers(policies map[uint64]numa.Policy, c *remote.Runner, calls []remote.Call) error {
	if len(calls) == 0 {
		return nil
	}
	modes := make([]byte, policySize*len(calls))
	if err := c.Read(calls[0].Args[0], modes); err != nil {
		return err
	}
	for i := range calls {
		err := calls[i].Err()
		if errors.Is(err, unix.ENOSYS) {
			return nil // A kernel without NUMA.
		}
		start := calls[i].Args[3]
		if err != nil {
			return fmt.Errorf("mapping at %x: %w", start, err)
		}
		mode := binary.NativeEndian.Uint32(modes[i*policySize:])
		if mode == unix.MPOL_DEFAULT {
			continue
		}
		if policies[start], err = policyAt(c, start, mode); err != nil {
			return err
		}
	}
	return nil
}

// policyAt asks for the nodes of a mapping's policy.
func policyAt(c *remote.Runner, start uint64, mode uint32) (numa.Policy, error) {
	p := numa.Policy{Mode: mode}
	c.Reset()
	at, err := c.Alloc(len(p.Nodes))
	if err != nil {
		return p, err
	}
	err = c.Run([]remote.Call{must(fmt.Sprintf("ask for the memory nodes at %x", start),
		unix.SYS_GET_MEMPOLICY, 0, at, numa.Bits, start, unix.MPOL_F_ADDR)})
	if err != nil {
		return p, err
	}
	return p, c.Read(at, p.Nodes[:])
}

// setPolicies gives the mappings of a process their policies, after the calls of
// before; if no mapping has one, it does nothing. Pages that only the process has
// move to where they are to be.
func setPolicies(sp *space, before *table, in runner) error {
	groups := map[string][]*vma.VmaEntry{}
	for _, e := range sp.areas {
		if b := extra.Bytes(e, fieldPolicy); b != nil {
			groups[string(b)] = append(groups[string(b)], e)
		}
	}
	if len(groups) == 0 {
		return nil
	}
	if err := before.run(in); err != nil {
		return err
	}
	defer in.Reset()
	for text, areas := range groups {
		p, err := numa.Decode([]byte(text))
		if err != nil {
			return err
		}
		in.Reset()
		at, size := uint64(0), uint64(0)
		if p.Named() {
			if at, err = in.Alloc(len(p.Nodes)); err != nil {
				return err
			}
			if err := in.Write(at, p.Nodes[:]); err != nil {
				return err
			}
			size = numa.SetBits
		}
		t := &table{}
		for _, e := range areas {
			s := spanOf(e)
			t.add(must(fmt.Sprintf("set the memory policy %#x of %s (mbind)", p.Mode, s),
				unix.SYS_MBIND, s.start, s.size(), uint64(p.Mode), at, size, unix.MPOL_MF_MOVE))
		}
		if err := t.run(in); err != nil {
			return err
		}
	}
	return nil
}

// checkPolicy refuses a mapping whose policy this machine cannot follow.
func checkPolicy(e *vma.VmaEntry) error {
	p, err := numa.Decode(extra.Bytes(e, fieldPolicy))
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrImages)
	}
	return p.Check()
}
