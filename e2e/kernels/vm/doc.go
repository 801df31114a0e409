// SPDX-License-Identifier: Apache-2.0

// Package vm boots Linux kernels under QEMU, for tests that need another kernel
// than the one at hand.
//
// A machine has a kernel, two processors, some memory and a virtio port, no disk
// and no network. Everything that runs in it comes in an initramfs, see [Image],
// and over the port: the machine's first process, the agent, takes requests there
// (package wire) to run programs and to move files. So the test, on the host,
// says what happens, and may have two machines at once.
//
// KVM is used where it works. Where it does not, QEMU emulates, which is ten to
// thirty times slower. Every request has a time limit, and a machine that does
// not answer is ended, with the end of its console in the error.
package vm
