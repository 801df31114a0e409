// SPDX-License-Identifier: Apache-2.0

// Package numa knows from which memory nodes memory is to come: the policies of
// set_mempolicy(2), which threads have, and of mbind(2), which mappings have.
package numa

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Policy says where memory comes from. The zero value is that of a program which
// never chose.
type Policy struct {
	Mode  uint32 // MPOL_* and its flags.
	Nodes Nodes
}

// Nodes is a set of memory nodes: bit n%8 of byte n/8 is node n. It has room for as
// many nodes as kernels are built for.
type Nodes [Bits / 8]byte

// Bits is how many nodes a set can name. Get calls take it for the size of a set.
const Bits = 1024

// SetBits is what calls that set a policy take for the size of a set: they count one
// bit less than they are told.
const SetBits = Bits + 1

// Plain reports whether it is the policy of a program that never chose.
func (p Policy) Plain() bool { return p.Mode == unix.MPOL_DEFAULT }

// Named reports whether the policy names any node.
func (p Policy) Named() bool { return p.Nodes != Nodes{} }

// wordSize is the size of the mode in the form of the images.
const wordSize = 4

// Encode gives the policy the form that it has in images: the mode, lowest byte
// first, and the nodes up to the last byte that is not zero.
func (p Policy) Encode() []byte {
	return append(binary.LittleEndian.AppendUint32(nil, p.Mode), bytes.TrimRight(p.Nodes[:], "\x00")...)
}

// Decode is the reverse of Encode. Nothing at all is the plain policy.
func Decode(b []byte) (Policy, error) {
	var p Policy
	switch {
	case len(b) == 0:
		return p, nil
	case len(b) < wordSize || len(b) > wordSize+len(p.Nodes) || binary.LittleEndian.Uint32(b) > math.MaxInt32:
		return p, fmt.Errorf("the image has a memory policy of %d bytes", len(b))
	}
	p.Mode = binary.LittleEndian.Uint32(b)
	copy(p.Nodes[:], b[wordSize:])
	return p, nil
}

// Check refuses a policy that names no memory node of this machine.
func (p Policy) Check() error {
	if p.Plain() {
		return nil
	}
	_, here, err := get(unix.MPOL_F_MEMS_ALLOWED)
	if err != nil {
		return fmt.Errorf("it has a memory policy, which this kernel does not know; use --engine criu, which leaves it out: %w", err)
	}
	// Nodes that count within a set the kernel takes as they are.
	if !p.Named() || p.Mode&unix.MPOL_F_RELATIVE_NODES != 0 {
		return nil
	}
	for i, bits := range p.Nodes {
		if bits&here[i] != 0 {
			return nil
		}
	}
	return errors.New("its memory comes from nodes that this machine does not have or crtime may not use (set_mempolicy, mbind); use --engine criu, which leaves the policy out")
}

// Own is the policy of the calling thread; the plain one on kernels without NUMA.
func Own() Policy {
	mode, nodes, err := get(0)
	if err != nil {
		return Policy{}
	}
	return Policy{mode, nodes}
}

// Supported reports whether this kernel has memory policies.
func Supported() bool {
	_, _, err := get(0)
	return !errors.Is(err, unix.ENOSYS)
}
