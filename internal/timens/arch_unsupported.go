// SPDX-License-Identifier: Apache-2.0

//go:build !linux || (!amd64 && !arm64)

package timens

// The child's loop is written in assembly, for these two architectures alone.
var _ = crtime_needs_linux_on_amd64_or_arm64
