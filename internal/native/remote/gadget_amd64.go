// SPDX-License-Identifier: Apache-2.0

package remote

import "bytes"

// search looks at code that is at addr for what is still missing.
func (g *gadgets) search(addr uint64, code []byte) {
	for i := 0; g.call == 0 || !g.guarded(); i += syscallSize {
		n := bytes.Index(code[i:], []byte(syscallInstruction))
		if n < 0 {
			return
		}
		i += n
		if g.call == 0 {
			g.call = addr + uint64(i)
		}
		if g.callReturn == 0 && returns(code[i+syscallSize:]) {
			g.callReturn = addr + uint64(i)
		}
		if size := loadsSigreturn(code[:i]); g.trampoline == 0 && size > 0 {
			g.trampoline = addr + uint64(i-size)
		}
	}
}

// loadsSigreturn gives the size of the instruction that code ends with if it
// loads the number of rt_sigreturn: mov $15, %rax, or %eax. 0: it does not.
func loadsSigreturn(code []byte) int {
	for _, load := range []string{"\x48\xc7\xc0\x0f\x00\x00\x00", "\xb8\x0f\x00\x00\x00"} {
		if bytes.HasSuffix(code, []byte(load)) {
			return len(load)
		}
	}
	return 0
}

// returns says whether the code does nothing before it returns but clear
// registers, as kernels built to do so clear theirs in the vdso. Registers do not
// matter, for all are about to be restored.
func returns(code []byte) bool {
	for len(code) > 0 {
		switch {
		case code[0] == 0xc3:
			return true
		case clearsRegister(code):
			code = code[2:]
		case len(code) > 2 && (code[0] == 0x45 || code[0] == 0x48 || code[0] == 0x4d) && clearsRegister(code[1:]):
			code = code[3:]
		default:
			return false
		}
	}
	return false
}

// stackPointer is the number of RSP in an instruction; R12 shares it, and is
// not worth the distinction.
const stackPointer = 4

// clearsRegister recognises xor of a register with itself.
func clearsRegister(code []byte) bool {
	if len(code) < 2 || (code[0] != 0x31 && code[0] != 0x33) {
		return false
	}
	to, from := code[1]&7, code[1]>>3&7
	return code[1]>>6 == 3 && to == from && to != stackPointer
}
