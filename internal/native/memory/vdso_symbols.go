// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"debug/elf"
	"fmt"
)

// symbol is a function that a vdso exports.
type symbol struct {
	offset uint64 // From the start of the vdso.
	size   uint64 // Of its code, at least.
}

// symbolsOf lists the functions of a vdso. The code may be from an image: nothing
// in it is believed, and all offsets lie within it.
func symbolsOf(code []byte) (map[string]symbol, error) {
	f, err := elf.NewFile(bytes.NewReader(code))
	if err != nil {
		return nil, fmt.Errorf("it is no ELF image: %w", err)
	}
	if f.Machine != machine || f.Class != elf.ELFCLASS64 {
		return nil, fmt.Errorf("it is code for %s and not for %s", f.Machine, machine)
	}
	dynamic, err := f.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read its symbols: %w", err)
	}
	base, err := loadAddress(f)
	if err != nil {
		return nil, err
	}
	out := make(map[string]symbol, len(dynamic))
	for _, s := range dynamic {
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Section == elf.SHN_UNDEF {
			continue
		}
		size := uint64(len(code))
		if at := s.Value - base; s.Value >= base && at < size && s.Size <= size-at {
			out[s.Name] = symbol{offset: at, size: s.Size}
			continue
		}
		return nil, fmt.Errorf("function %s lies outside it", s.Name)
	}
	return out, nil
}

// loadAddress is the address that the start of a vdso is linked to, 0 with all
// kernels of these years.
func loadAddress(f *elf.File) (uint64, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			return p.Vaddr - min(p.Vaddr, p.Off), nil
		}
	}
	return 0, fmt.Errorf("it has no segment to load")
}
