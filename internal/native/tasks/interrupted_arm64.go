// SPDX-License-Identifier: Apache-2.0

package tasks

import "github.com/crtime/crtime/internal/native/ptrace"

// syscallInstruction is svc.
const syscallInstruction = "\x01\x00\x00\xd4"

// syscallSize is its length.
const syscallSize = uint64(len(syscallInstruction))

// setRepeat does nothing: saveState refuses this machine, whose first argument
// the result has overwritten.
func setRepeat(*ptrace.Registers) {}

// No calls, SysPoll is to be that of poll: this machine does not have poll and select.
const (
	SysPoll   = -1
	sysSelect = -2
)

// isEpollWait reports whether nr is epoll_wait, which this machine does not have.
func isEpollWait(int64) bool { return false }
