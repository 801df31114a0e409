// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/archive"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/timens"
)

// hintFor says what a user can do about an error whose own text does not, or "".
func hintFor(err error) string {
	_, inArchive := errors.AsType[*archive.Error](err)
	switch {
	case errors.Is(err, timens.ErrNotSupported):
		return "'crtime check' shows what this kernel can do"
	case inArchive && damaged(err):
		return "copy the archive again from where it was written, or write it again"
	case damaged(err):
		return "copy the whole directory again from where it was dumped; no process was made"
	case errors.Is(err, image.ErrUntrusted):
		return "if you know who made them and trust them, restore with --trust-images"
	case errors.Is(err, clockstate.ErrNewer):
		return "restore with the crtime that made the images, or a later one"
	case errors.Is(err, clockstate.ErrOutOfRange):
		return "'crtime plan DIR --policy freeze' shows a plan that does not depend on the outage"
	case errors.Is(err, proc.ErrGone):
		return "the process ended; 'ps -e' lists those that run"
	case errors.Is(err, syscall.ENOSPC):
		return "free some space, or choose another directory"
	case errors.Is(err, syscall.EROFS):
		return "choose a directory on a file system that can be written"
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return "crtime needs root's privileges: run it with sudo, or start the program with 'crtime run'"
	}
	return ""
}

// damaged reports whether images are not what was written.
func damaged(err error) bool {
	return errors.Is(err, image.ErrAltered) || errors.Is(err, image.ErrMissing) || errors.Is(err, image.ErrManifest) ||
		errors.Is(err, clockstate.ErrAltered) || errors.Is(err, clockstate.ErrTruncated) || errors.Is(err, clockstate.ErrMagic) ||
		errors.Is(err, archive.ErrTruncated)
}
