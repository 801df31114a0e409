// SPDX-License-Identifier: Apache-2.0

// Package archive reads the checkpoint archives that container engines export
// (podman container checkpoint --export, and what CRI-O and containerd write for the
// kubelet), to show what is in them.
//
// Such an archive is a tar file, often compressed. What CRIU, or crtime in its place,
// has written lies in the folder checkpoint/; beside it are what the engine knows of the
// container (config.dump, spec.dump) and what has changed in its root file system
// (rootfs-diff.tar).
//
// Read goes over an archive once, from the first byte to the last, and checks all that
// passes: the checksums of the compression, the end of the tar file, and every image
// against crtime's manifest. Nothing is written anywhere, so that no name in an archive
// can lead out of it; names that would when it is unpacked are refused all the same.
// What is kept in memory is bounded whatever the archive holds (limits.go).
//
// An engine restores what it has unpacked. So that this is what has been checked, a file
// that is there twice, of which the last would count, is refused too. All this finds
// accidents: whoever alters an archive on purpose can alter its checksums.
package archive
