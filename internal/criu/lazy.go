// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"fmt"
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
		left, err := pagesLeft(path)
		if err != nil {
			return err
		}
		if left {
			return fmt.Errorf("%s: %w: pages of it stayed with the process, which was dumped with --lazy-pages; have `criu lazy-pages` fetch them, and restore with --lazy-pages, while that dump waits", path, image.ErrMissing)
		}
	}
	return nil
}

// pagesLeft reports whether a pagemap image speaks of pages that are not in the images.
func pagesLeft(path string) (left bool, err error) {
	// The flags of an entry, from CRIU's pagemap.h. One without any is of an older CRIU,
	// which knew of no such pages.
	const lazy, present = 1 << 1, 1 << 2
	head := true
	err = eachMessage(path, func(data []byte) error {
		if head {
			head = false // It names the pages image.
			return nil
		}
		var e pagemap.PagemapEntry
		if err := proto.Unmarshal(data, &e); err != nil {
			return err
		}
		left = left || e.GetFlags()&(lazy|present) == lazy
		return nil
	})
	return left, err
}
