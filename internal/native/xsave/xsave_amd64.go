// SPDX-License-Identifier: Apache-2.0

package xsave

import "sync"

const (
	// LegacySize is the size of the area that FXSAVE writes: x87 and SSE.
	LegacySize = 512
	// HeaderEnd is where the header ends, which follows the legacy area.
	HeaderEnd = LegacySize + 64
	// Basic are the components of the legacy area.
	Basic = 1<<0 | 1<<1
)

// Layout says where a component lies, by its bit in XSTATE_BV, and how large it is,
// in bytes; zero if the processor does not know it.
func Layout(bit uint) (offset, size int) {
	if bit >= components {
		return 0, 0
	}
	l := processor().layouts[bit]
	return l[0], l[1]
}

// Area is the size of the area for the components that the kernel has enabled in
// XCR0, and which these are.
func Area() (size int, enabled uint64) { return processor().size, processor().enabled }

const (
	// components is how many there can be: one for each bit of XCR0 but the last.
	components = 63
	// leaf is the one of CPUID that describes them.
	leaf = 0xd
)

// facts is what CPUID says of the processor's extended state.
type facts struct {
	size    int
	enabled uint64
	layouts [components][2]int // Offset and size.
}

// processor asks CPUID once: in a virtual machine each question takes as long as
// some ten system calls.
var processor = sync.OnceValue(func() facts { //nolint:gochecknoglobals // Asked once.
	f := facts{size: HeaderEnd, enabled: Basic}
	const osxsave = 1 << 27 // CPUID.1:ECX: XGETBV may be used.
	if _, _, ecx, _ := cpuid(1, 0); ecx&osxsave == 0 {
		return f
	}
	_, ebx, _, _ := cpuid(leaf, 0)
	low, high := xgetbv()
	f.size, f.enabled = max(int(ebx), HeaderEnd), uint64(high)<<32|uint64(low)
	if highest, _, _, _ := cpuid(0, 0); highest < leaf {
		return f
	}
	for bit := range f.layouts {
		if f.enabled>>bit&1 != 0 {
			eax, ebx, _, _ := cpuid(leaf, uint32(bit))
			f.layouts[bit] = [2]int{int(ebx), int(eax)}
		}
	}
	return f
})

// cpuid executes CPUID.
func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

// xgetbv reads XCR0: the state components that the kernel has enabled.
func xgetbv() (eax, edx uint32)
