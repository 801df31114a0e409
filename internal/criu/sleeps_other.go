// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package criu

// sleepingCalls are not known here.
func sleepingCalls() map[int64]string { return nil }
