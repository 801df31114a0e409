// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/image"
)

// allPagesHere refuses images of a lazy dump, of which pages were to be fetched from the
// process itself. CRIU 4.2, unless it is told that somebody serves them, reads at the end
// of the pages image again and again, without end, and logs every time.
func allPagesHere(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "pagemap-*.img"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		left, err := pagesLeft(data)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if left {
			return fmt.Errorf("%s: %w: pages of it stayed with the process, which was dumped with --lazy-pages; have `criu lazy-pages` fetch them, and restore with --lazy-pages, while that dump waits", path, image.ErrMissing)
		}
	}
	return nil
}

// pagesLeft reports whether a pagemap image speaks of pages that are not in the images.
func pagesLeft(data []byte) (bool, error) {
	const (
		word = 4
		// The flags of an entry, from CRIU's pagemap.h. One without any is of an older
		// CRIU, which knew of no such pages.
		lazy, present = 1 << 1, 1 << 2
	)
	errCut := errors.New("the image is cut")
	if len(data) < 2*word { // The magic numbers.
		return false, errCut
	}
	data = data[2*word:]
	for head := true; len(data) > 0; head = false {
		if len(data) < word || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-word) {
			return false, errCut
		}
		end := word + int(binary.LittleEndian.Uint32(data))
		message := data[word:end]
		data = data[end:]
		if head {
			continue // It names the pages image.
		}
		var e pagemap.PagemapEntry
		if err := proto.Unmarshal(message, &e); err != nil {
			return false, err
		}
		if e.GetFlags()&(lazy|present) == lazy {
			return true, nil
		}
	}
	return false, nil
}
