// SPDX-License-Identifier: Apache-2.0

package files

import "golang.org/x/sys/unix"

// pauseCall is the system call that pause(3) makes.
const pauseCall = unix.SYS_PPOLL
