// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"errors"
	"sync"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/numa"
)

// askMemoryPolicy adds the call that asks from which nodes a thread's memory comes.
// The returned function notes it after the batch was run.
func askMemoryPolicy(b *batch) (func(*criu_core.ThreadCoreEntry) error, error) {
	const offNodes, size = 8, 8 + numa.Bits/8
	at, err := b.alloc(size)
	if err != nil {
		return nil, err
	}
	asked := b.may("ask for its memory policy").call(unix.SYS_GET_MEMPOLICY, at, at+offNodes, numa.Bits, 0, 0)
	return func(tc *criu_core.ThreadCoreEntry) error {
		switch err := b.calls[asked].Err(); {
		case errors.Is(err, unix.ENOSYS):
			return nil // A kernel without NUMA.
		case err != nil:
			return err
		}
		var answer [size]byte
		if err := b.in.Read(at, answer[:]); err != nil {
			return err
		}
		p := numa.Policy{Mode: binary.NativeEndian.Uint32(answer[:]), Nodes: numa.Nodes(answer[offNodes:])}
		if !p.Plain() {
			extra.SetBytes(tc, fieldPolicy, p.Encode())
		}
		return nil
	}, nil
}

// checkMemoryPolicy refuses a policy that this machine cannot follow.
func checkMemoryPolicy(tc *criu_core.ThreadCoreEntry) error {
	p, err := numa.Decode(extra.Bytes(tc, fieldPolicy))
	if err != nil {
		return err
	}
	return p.Check()
}

// inheritedPolicy is the policy that every stub has from crtime.
var inheritedPolicy = sync.OnceValue(numa.Own) //nolint:gochecknoglobals // Never changed.

// writeMemoryPolicy adds the call that gives a thread its policy.
func writeMemoryPolicy(b *batch, tc *criu_core.ThreadCoreEntry) error {
	p, err := numa.Decode(extra.Bytes(tc, fieldPolicy))
	if err != nil || p == inheritedPolicy() {
		return err
	}
	var at, size uint64
	if p.Named() {
		if at, err = b.put(p.Nodes[:]); err != nil {
			return err
		}
		size = numa.SetBits
	}
	b.must("set its memory policy %#x", p.Mode).call(unix.SYS_SET_MEMPOLICY, uint64(p.Mode), at, size)
	return nil
}
