// SPDX-License-Identifier: Apache-2.0

// Package kernels runs crtime on other kernels than the one at hand: Debian's,
// in virtual machines. `make test-kernels` gets QEMU and the kernels and runs it.
//
// In each kernel run the tests of the packages that talk to the kernel, and crtime
// dumps and restores programs. Between two of them, programs are moved: dumped on
// one, restored on the other, and back. What happens is said by the tests here, on
// the host; package vm makes the machines and what the tests ask of them.
//
// The tests take:
//
//	CRTIME_KERNELS="6.1=DIR ..."  the kernels, each a folder made by get-kernel.sh;
//	                              without it every test is skipped
//	CRTIME_KERNELS_ACCEL=tcg      do not try KVM
//	CRTIME_CRIU=PATH              run the criu engine too, with this CRIU
package kernels
