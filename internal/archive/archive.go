// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/imported"
)

// Archive is what a checkpoint archive holds, all of which has been read and checked.
type Archive struct {
	Compression Compression
	Container   *Container        // nil: there is neither config.dump nor spec.dump.
	State       *clockstate.State // What the clocks read; of a plain CRIU as package imported has it.
	Manifest    image.Manifest    // nil: a plain CRIU has made the images, and there is nothing to check them by.
	Sizes       Sizes
}

// Sizes are those of what is in an archive, in bytes and not compressed.
type Sizes struct {
	Archive    int64 // Of the archive itself, as it is.
	Checkpoint int64 // Of all files in checkpoint/.
	Images     int64 // Of the images among them.
	Memory     int64 // Of the images that hold memory.
	RootFSDiff int64 // Of what has changed in the root file system; 0: that is not there.
}

// Open reads the archive in a file, which may be a pipe.
func Open(ctx context.Context, name string) (*Archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("checkpoint archive: %w", err)
	}
	defer f.Close()
	// Nobody may ever write into a pipe.
	defer context.AfterFunc(ctx, func() { f.Close() })()
	return Read(ctx, name, f)
}

// Read reads an archive to its end. name is what it is called in errors.
//
// Every error is an *Error. It wraps ErrFormat, ErrNoCheckpoint, ErrTruncated,
// ErrTooLarge or ErrNoClocks; image.ErrAltered, ErrMissing, ErrManifest or ErrNoImages;
// an error of clockstate.Decode's or imported.StateOf's; what r has returned; or the
// cause of ctx's end.
func Read(ctx context.Context, name string, r io.Reader) (*Archive, error) {
	a, err := read(ctx, r)
	if err != nil {
		return nil, in(name, err)
	}
	return a, nil
}

// read is Read without the name.
func read(ctx context.Context, r io.Reader) (*Archive, error) {
	a := &Archive{}
	how, plain, end, err := decompress(heeding(ctx, r, &a.Sizes.Archive))
	if err != nil {
		return nil, err
	}
	defer end()
	c, m := newContents(), newMembers(plain)
	for {
		h, err := m.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := c.take(m.last, h, m.tar); err != nil {
			return nil, err
		}
	}
	c.sizes.Archive = a.Sizes.Archive
	a.Compression, a.Sizes = how, c.sizes
	return a, a.conclude(c)
}

// conclude checks what has been kept, and fills a from it.
func (a *Archive) conclude(c *contents) (err error) {
	if !c.checkpoint {
		return noCheckpoint(c.pre)
	}
	if a.Container, err = newContainer(c.kept[configFile], c.kept[specFile]); err != nil {
		return err
	}
	if data, ok := c.kept[imagesFolder+image.FileManifest]; ok {
		return a.concludeOwn(c, data)
	}
	return a.concludeForeign(c)
}

// noCheckpoint says why there is nothing to look at.
func noCheckpoint(pre bool) error {
	if pre {
		return fmt.Errorf("%w: it is a pre-checkpoint, which holds memory and no clocks", ErrNoCheckpoint)
	}
	return fmt.Errorf("%w: there is no folder %s in it", ErrNoCheckpoint, imagesFolder)
}

// concludeOwn is conclude for images that crtime has written with a manifest.
func (a *Archive) concludeOwn(c *contents, manifest []byte) error {
	m, err := image.ParseManifest(manifest)
	if err != nil {
		return about(imagesFolder+image.FileManifest, err)
	}
	if name, err := m.Compare(slices.Collect(maps.Values(c.found))); err != nil {
		return about(imagesFolder+name, err)
	}
	clock := imagesFolder + clockstate.FileName
	data, ok := c.kept[clock]
	if !ok {
		return about(clock, fmt.Errorf("%w: there is no such file, so it is a pre-dump", ErrNoClocks))
	}
	if a.State, err = clockstate.Decode(data); err != nil {
		return about(clock, err)
	}
	a.Manifest = m
	return nil
}

// concludeForeign is conclude for images that a plain CRIU has written.
func (a *Archive) concludeForeign(c *contents) (err error) {
	if err := image.CheckForeign(path.Clean(imagesFolder), slices.Sorted(maps.Keys(c.found))); err != nil {
		return err
	}
	if c.held.tooLarge {
		return about(path.Clean(imagesFolder), fmt.Errorf("%w: the images of a plain CRIU that say what the clocks read have more than %d bytes: unpack the archive, and show that folder",
			ErrTooLarge, maxHeld))
	}
	a.State, err = imported.StateOf(&c.held)
	if errors.Is(err, imported.ErrNoClocks) {
		return about(path.Clean(imagesFolder), fmt.Errorf("%w: %w", ErrNoClocks, err))
	}
	return err
}
