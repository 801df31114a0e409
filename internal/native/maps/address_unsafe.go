// SPDX-License-Identifier: Apache-2.0

package maps

import "unsafe"

// address is where the memory of b begins.
func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
