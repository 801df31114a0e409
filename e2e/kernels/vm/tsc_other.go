// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package vm

// tickRate is 0: this machine has no time stamp counter.
func tickRate() int64 { return 0 }
