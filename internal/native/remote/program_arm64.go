// SPDX-License-Identifier: Apache-2.0

package remote

const elfMachine = 183 // EM_AARCH64

// syscallInstruction is SVC #0.
const syscallInstruction = "\x01\x00\x00\xd4"

// waitCode is not written for this machine: stubCode refuses before.
const waitCode = syscallInstruction
