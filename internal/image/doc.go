// SPDX-License-Identifier: Apache-2.0

// Package image keeps a directory of checkpoint images whole: it is either
// complete, checksummed and under its final name, or it is not there.
//
// A dump writes into a Staging directory beside the final one and commits it
// with a rename. What lies in the directory is listed in a manifest (file
// FileManifest) with sizes and checksums, and Open checks all of it before a
// restore may look at any of it. Images hold the memory of processes, keys
// included: directories are 0700, files 0600.
//
// OpenForeign is for directories that crtime has not written and that have no
// manifest.
package image
