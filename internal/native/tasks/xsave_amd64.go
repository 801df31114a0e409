// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"errors"
	"fmt"

	core_x86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/xsave"
)

// The XSAVE area in its standard form, Intel SDM volume 1, 13.4: the legacy
// area (as FXSAVE writes it), the header, then the components. ptrace hands out
// this form whatever the kernel uses itself, and puts XCR0, the set of
// components that the kernel has enabled, into bytes of the legacy area that
// software may use (struct user_xstateregs).
const (
	offControl = 0   // FCW, FSW, FTW (2 bytes each), FOP.
	offFIP     = 8   // Last instruction's address.
	offFDP     = 16  // Last operand's address.
	offMXCSR   = 24  // MXCSR and its mask.
	offST      = 32  // ST0 to ST7 in 16 bytes each.
	offXMM     = 160 // XMM0 to XMM15.
	offXCR0    = 464
	// XSTATE_BV: components that are not in their initial state.
	offBV = xsave.LegacySize
)

// component is a part of the XSAVE area that the image has a field for.
type component struct {
	bit   uint // In XSTATE_BV.
	name  string
	words func(*core_x86.UserX86XsaveEntry) *[]uint32 // Exactly one of words and longs is set.
	longs func(*core_x86.UserX86XsaveEntry) *[]uint64
	size  int // In bytes, as the image demands it.
}

// components lists what images can hold.
func components() []component {
	type entry = core_x86.UserX86XsaveEntry
	return []component{
		{bit: 2, name: "AVX", size: 256, words: func(x *entry) *[]uint32 { return &x.YmmhSpace }},
		{bit: 3, name: "MPX bounds", size: 64, longs: func(x *entry) *[]uint64 { return &x.BndregState }},
		{bit: 4, name: "MPX control", size: 64, longs: func(x *entry) *[]uint64 { return &x.BndcsrState }},
		{bit: 5, name: "AVX-512 masks", size: 64, longs: func(x *entry) *[]uint64 { return &x.OpmaskReg }},
		{bit: 6, name: "AVX-512 upper halves", size: 512, longs: func(x *entry) *[]uint64 { return &x.ZmmUpper }},
		{bit: 7, name: "AVX-512 ZMM16 to ZMM31", size: 1024, longs: func(x *entry) *[]uint64 { return &x.Hi16Zmm }},
		{bit: 9, name: "protection keys", size: 8, words: func(x *entry) *[]uint32 { return &x.Pkru }},
	}
}

// saveExtended converts an XSAVE area to the image's form.
func saveExtended(area []byte) (*core_x86.UserX86FpregsEntry, error) {
	if len(area) < xsave.HeaderEnd {
		return nil, fmt.Errorf("its extended state has %d bytes, less than the %d of the legacy area: this processor has no XSAVE", len(area), xsave.HeaderEnd)
	}
	le := binary.LittleEndian
	fp := &core_x86.UserX86FpregsEntry{
		Cwd:       proto.Uint32(uint32(le.Uint16(area[offControl:]))),
		Swd:       proto.Uint32(uint32(le.Uint16(area[offControl+2:]))),
		Twd:       proto.Uint32(uint32(le.Uint16(area[offControl+4:]))),
		Fop:       proto.Uint32(uint32(le.Uint16(area[offControl+6:]))),
		Rip:       proto.Uint64(le.Uint64(area[offFIP:])),
		Rdp:       proto.Uint64(le.Uint64(area[offFDP:])),
		Mxcsr:     proto.Uint32(le.Uint32(area[offMXCSR:])),
		MxcsrMask: proto.Uint32(le.Uint32(area[offMXCSR+4:])),
		StSpace:   words(area[offST:offXMM]),
		XmmSpace:  words(area[offXMM : offXMM+256]),
	}
	bv := le.Uint64(area[offBV:])
	fp.Xsave = &core_x86.UserX86XsaveEntry{XstateBv: &bv}
	enabled := le.Uint64(area[offXCR0:])
	known := uint64(xsave.Basic)
	for _, c := range components() {
		known |= 1 << c.bit
		if enabled&(1<<c.bit) == 0 {
			continue
		}
		at, size := xsave.Layout(c.bit)
		if size != c.size || at < xsave.HeaderEnd || at+size > len(area) {
			return nil, fmt.Errorf("the processor keeps %s in %d bytes at %d of %d, which images cannot describe", c.name, size, at, len(area))
		}
		if c.words != nil {
			*c.words(fp.Xsave) = words(area[at : at+size])
		} else {
			*c.longs(fp.Xsave) = longs(area[at : at+size])
		}
	}
	if rest := bv &^ known; rest != 0 {
		return nil, fmt.Errorf("it uses processor state (XSAVE components %#x) that images have no place for", rest)
	}
	return fp, nil
}

// errNoXsave says that an image has no extended state, as one of a processor
// without XSAVE.
var errNoXsave = errors.New("its image has no XSAVE state, which this processor needs")

// usesShadowStack looks into a user_x86_cet_entry, which images have also of
// threads without a shadow stack, all of it zero then.
func usesShadowStack(cet []byte) bool {
	for len(cet) > 0 {
		_, _, tag := protowire.ConsumeTag(cet)
		if tag < 0 {
			return true
		}
		v, size := protowire.ConsumeVarint(cet[tag:])
		if size < 0 || v != 0 {
			return true
		}
		cet = cet[tag+size:]
	}
	return false
}

// loadExtended is the reverse of saveExtended. Components that the thread never
// used and this processor does not have are left out; one that it used is an
// error.
func loadExtended(fp *core_x86.UserX86FpregsEntry) ([]byte, error) {
	x := fp.GetXsave()
	if x == nil || len(fp.GetStSpace()) != 32 || len(fp.GetXmmSpace()) != 64 {
		return nil, errNoXsave
	}
	if usesShadowStack(extra.Bytes(x, fieldCET)) {
		return nil, fmt.Errorf("%w: it uses a shadow stack, which the native engine does not rebuild", criuimg.ErrUnsupported)
	}
	if fp.GetMxcsr()&^mxcsrBits != 0 {
		return nil, fmt.Errorf("its image has reserved bits set in MXCSR (%#x)", fp.GetMxcsr())
	}
	total, enabled := xsave.Area()
	area := make([]byte, total)
	loadLegacy(area, fp)
	bv := x.GetXstateBv()
	for _, c := range components() {
		if bv&(1<<c.bit) == 0 {
			continue
		}
		at, size := xsave.Layout(c.bit)
		if enabled&(1<<c.bit) == 0 || size != c.size || at < xsave.HeaderEnd || at+size > total {
			return nil, fmt.Errorf("it uses %s, which this processor does not have", c.name)
		}
		if err := c.load(area[at:at+size], x); err != nil {
			return nil, err
		}
	}
	if rest := bv &^ enabled; rest != 0 {
		return nil, fmt.Errorf("it uses processor state (XSAVE components %#x) that this processor does not have", rest)
	}
	binary.LittleEndian.PutUint64(area[offBV:], bv)
	binary.LittleEndian.PutUint64(area[offXCR0:], enabled) // As in an area that ptrace hands out.
	return area, nil
}

// loadLegacy writes the state of x87 and SSE.
func loadLegacy(area []byte, fp *core_x86.UserX86FpregsEntry) {
	le := binary.LittleEndian
	le.PutUint16(area[offControl:], uint16(fp.GetCwd()))
	le.PutUint16(area[offControl+2:], uint16(fp.GetSwd()))
	le.PutUint16(area[offControl+4:], uint16(fp.GetTwd()))
	le.PutUint16(area[offControl+6:], uint16(fp.GetFop()))
	le.PutUint64(area[offFIP:], fp.GetRip())
	le.PutUint64(area[offFDP:], fp.GetRdp())
	le.PutUint32(area[offMXCSR:], fp.GetMxcsr())
	le.PutUint32(area[offMXCSR+4:], fp.GetMxcsrMask())
	putWords(area[offST:], fp.GetStSpace())
	putWords(area[offXMM:], fp.GetXmmSpace())
}

// load writes a component, which must have exactly the size of into.
func (c component) load(into []byte, x *core_x86.UserX86XsaveEntry) error {
	var have int
	if c.words != nil {
		if have = 4 * len(*c.words(x)); have == len(into) {
			putWords(into, *c.words(x))
		}
	} else if have = 8 * len(*c.longs(x)); have == len(into) {
		putLongs(into, *c.longs(x))
	}
	if have != len(into) {
		return fmt.Errorf("its image has %d bytes of %s instead of %d", have, c.name, len(into))
	}
	return nil
}

// mxcsrBits are those of MXCSR that some processor has: the lower sixteen, and
// AMD's mark for misaligned operands (MXCSR.MM).
const mxcsrBits = 0xffff | 1<<17

func words(b []byte) []uint32 {
	w := make([]uint32, len(b)/4)
	for i := range w {
		w[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return w
}

func longs(b []byte) []uint64 {
	w := make([]uint64, len(b)/8)
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return w
}

func putWords(b []byte, values []uint32) {
	for i, v := range values {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
}

func putLongs(b []byte, values []uint64) {
	for i, v := range values {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
}
