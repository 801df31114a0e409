// SPDX-License-Identifier: Apache-2.0

package archive

import "github.com/crtime/crtime/clockstate"

// What is kept of an archive is bounded, each several times what a real one needs. All
// but maxMembers are in bytes.
const (
	// maxMembers bounds what is noted of the images. The largest possible tree
	// (clockstate.MaxProcesses) has about seven of them for each process.
	maxMembers = 1 << 20
	// maxName is the most that Linux allows in the name of a file.
	maxName = 255
	// maxRecord bounds config.dump and spec.dump, which have some ten kilobytes.
	maxRecord = 16 << 20
	// maxManifest bounds the manifest: about fifty bytes for each image.
	maxManifest = 64 << 20
	// maxClocks bounds the clock image: its message and the frame around it.
	maxClocks = clockstate.MaxMessage + 64
	// maxHeld bounds all images together from which the record of the clocks of a
	// plain CRIU is made: some three kilobytes for each thread.
	maxHeld = 128 << 20
	// maxWindow bounds how far zstd may look back. It is what the zstd command
	// accepts by default; podman writes with 8 MiB.
	maxWindow = 128 << 20
)
