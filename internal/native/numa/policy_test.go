// SPDX-License-Identifier: Apache-2.0

package numa

import (
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestPolicySurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Mode: rapid.Uint32Max(1<<31-1).Draw(t, "mode")}
		copy(p.Nodes[:], rapid.SliceOfN(rapid.Byte(), 0, len(p.Nodes)).Draw(t, "nodes"))
		q, err := Decode(p.Encode())
		if err != nil || q != p {
			t.Fatalf("got %v, %v instead of %v", q, err, p)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	for _, bad := range [][]byte{{1}, {1, 2, 3}, {0, 0, 0, 0x80}, make([]byte, 5+Bits/8)} {
		if p, err := Decode(bad); err == nil {
			t.Errorf("%d bytes: got %v", len(bad), p)
		}
	}
}

func TestCheck(t *testing.T) {
	if !Supported() {
		t.Skip("a kernel without NUMA")
	}
	first, last := Nodes{1}, Nodes{len(Nodes{}) - 1: 0x80}
	for _, tt := range []struct {
		name string
		p    Policy
		ok   bool
	}{
		{"plain", Policy{}, true},
		{"the first node", Policy{unix.MPOL_BIND, first}, true},
		{"no node", Policy{unix.MPOL_LOCAL, Nodes{}}, true},
		{"a node that no machine has", Policy{unix.MPOL_BIND, last}, false},
		{"the same, relative", Policy{unix.MPOL_BIND | unix.MPOL_F_RELATIVE_NODES, last}, true},
	} {
		if err := tt.p.Check(); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
	if got := Own(); !got.Plain() {
		t.Logf("the test itself runs with the policy %#x", got.Mode)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Policy{unix.MPOL_BIND, Nodes{1}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b)
		if err != nil {
			return
		}
		if q, err := Decode(p.Encode()); err != nil || q != p {
			t.Errorf("got %v, %v instead of %v", q, err, p)
		}
	})
}
