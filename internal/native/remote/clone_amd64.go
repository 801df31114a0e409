// SPDX-License-Identifier: Apache-2.0

package remote

// cloneAndExec calls clone3 with b's arguments and returns the kernel's answer.
// The child asks to be killed with its parent, executes b.fd and never returns.
func cloneAndExec(b *birth) uintptr
