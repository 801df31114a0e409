// SPDX-License-Identifier: Apache-2.0

// Package version says which crtime this is.
package version

import "runtime/debug"

// release is set by the linker: -X github.com/crtime/crtime/internal/version.release=...
var release string

// String returns the release, or what Go recorded of the source it was built
// from, or "devel".
func String() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
