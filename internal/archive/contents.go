// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/image"
)

// The names of what is looked at in an archive.
const (
	configFile   = "config.dump"
	specFile     = "spec.dump"
	rootFSFile   = "rootfs-diff.tar"
	imagesFolder = "checkpoint/"
	// statsFile is what CRIU says about a dump; podman moves it out of the folder.
	statsFile = "stats-dump"
	// preFolder is where the images of a pre-dump lie.
	preFolder = "pre-checkpoint/"
	// pagesPrefix begins the names of the images that hold memory.
	pagesPrefix = "pages-"
	// crtimePrefix begins the names of what crtime alone writes.
	crtimePrefix = "crtime-"
)

// contents are what has been kept of the members that have passed.
type contents struct {
	found map[string]image.Entry // The files in checkpoint/, by their names there.
	kept  map[string][]byte      // What is in the files that limitOf knows.
	seen  map[string]bool        // The names of the files that must not come again.
	held  held

	checkpoint, pre bool // There is a folder of this kind.
	sizes           Sizes

	buffer []byte
}

func newContents() *contents {
	return &contents{found: map[string]image.Entry{}, kept: map[string][]byte{}, seen: map[string]bool{}, buffer: make([]byte, bufferSize)}
}

// limitOf is how large a file may be that is kept whole, in bytes; ok is false for the
// others.
func limitOf(name string) (limit int64, ok bool) {
	switch name {
	case configFile, specFile:
		return maxRecord, true
	case imagesFolder + image.FileManifest:
		return maxManifest, true
	case imagesFolder + clockstate.FileName:
		return maxClocks, true
	}
	return 0, false
}

// take reads a member to its end and keeps what is wanted of it.
func (c *contents) take(name string, h *tar.Header, body io.Reader) error {
	c.pre = c.pre || strings.HasPrefix(name+"/", preFolder)
	inside, isImage := strings.CutPrefix(name+"/", imagesFolder)
	inside = strings.TrimSuffix(inside, "/")
	c.checkpoint = c.checkpoint || isImage
	isImage = isImage && inside != "" && !strings.Contains(inside, "/")
	if err := c.check(name, inside, isImage, h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return c.pass(name, body, io.Discard)
	}
	if strings.HasPrefix(name, imagesFolder) {
		c.sizes.Checkpoint += h.Size
	}
	if name == rootFSFile {
		c.sizes.RootFSDiff = h.Size
	}
	if !isImage {
		return c.record(name, h, body)
	}
	return c.image(inside, h, body)
}

// check refuses what would be something else once it is unpacked.
func (c *contents) check(name, inside string, isImage bool, h *tar.Header) error {
	if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	_, isRecord := limitOf(name)
	switch {
	case isImage && len(inside) > maxName:
		return about(name, fmt.Errorf("%w: no file can have a name of %d bytes", image.ErrAltered, len(inside)))
	case h.Typeflag != tar.TypeReg && (isRecord || name+"/" == imagesFolder || isImage && image.Listed(inside)):
		return about(name, fmt.Errorf("%w: it is not a regular file", image.ErrAltered))
	case c.seen[name]:
		return about(name, fmt.Errorf("%w: it is there twice", image.ErrAltered))
	case isImage, isRecord, name == rootFSFile:
		c.seen[name] = true
	}
	return nil
}

// record reads a file outside checkpoint/.
func (c *contents) record(name string, h *tar.Header, body io.Reader) error {
	if name == statsFile && !c.has(statsFile) && c.held.wants(statsFile, h.Size) {
		return c.hold(name, statsFile, h, body)
	}
	limit, ok := limitOf(name)
	if !ok {
		return c.pass(name, body, io.Discard)
	}
	return c.keep(name, limit, h.Size, body)
}

// has reports whether checkpoint/ has had a file.
func (c *contents) has(name string) bool { _, ok := c.found[name]; return ok }

// image reads a file of checkpoint/ and computes its checksum.
func (c *contents) image(inside string, h *tar.Header, body io.Reader) error {
	var sum image.Summer
	name := imagesFolder + inside
	body = io.TeeReader(body, &sum)
	if strings.HasPrefix(inside, crtimePrefix) {
		c.held.drop()
	}
	if strings.HasPrefix(inside, pagesPrefix) {
		c.sizes.Memory += h.Size
	}
	if image.Listed(inside) {
		c.sizes.Images += h.Size
	}
	var err error
	limit, keep := limitOf(name)
	switch {
	case keep:
		err = c.keep(name, limit, h.Size, body)
	case c.held.wants(inside, h.Size):
		err = c.hold(name, inside, h, body)
	default:
		err = c.pass(name, body, io.Discard)
	}
	c.found[inside] = sum.Entry(inside)
	return err
}

// keep keeps a file of a size whole.
func (c *contents) keep(name string, limit, size int64, body io.Reader) error {
	if size > limit {
		return about(name, fmt.Errorf("%w: it has %d bytes, and at most %d are read", ErrTooLarge, size, limit))
	}
	var data bytes.Buffer
	err := c.pass(name, body, &data)
	c.kept[name] = data.Bytes()
	return err
}

// hold keeps an image, by the name under which it is looked for.
func (c *contents) hold(name, as string, h *tar.Header, body io.Reader) error {
	var data bytes.Buffer
	err := c.pass(name, body, &data)
	c.held.keep(as, heldFile{data.Bytes(), h.ModTime})
	return err
}

// pass reads a member to its end. Memory is taken as bytes arrive, and not by the size
// that the head claims.
func (c *contents) pass(name string, body io.Reader, into io.Writer) error {
	// A plain io.Writer: those that read by themselves do it by smaller pieces.
	if _, err := io.CopyBuffer(struct{ io.Writer }{into}, body, c.buffer); err != nil {
		return about(name, reason(err))
	}
	return nil
}
