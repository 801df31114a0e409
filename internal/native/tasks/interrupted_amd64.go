// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// syscallInstruction is syscall.
const syscallInstruction = "\x0f\x05"

// syscallSize is its length.
const syscallSize = uint64(len(syscallInstruction))

// setRepeat makes the registers ready for the same call again: its number stands
// where the result did.
func setRepeat(regs *ptrace.Registers) { regs.SetResult(regs.SyscallNumber()) }

// The numbers of calls that only older machines have; SysPoll is that of poll.
const (
	SysPoll   = unix.SYS_POLL
	sysSelect = unix.SYS_SELECT
)

// isEpollWait reports whether nr is epoll_wait, which only older machines have.
func isEpollWait(nr int64) bool { return nr == unix.SYS_EPOLL_WAIT }
