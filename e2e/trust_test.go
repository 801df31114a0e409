// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crtime/crtime/e2e/harness"
)

// TestUntrustedImages restores images that somebody else could have written: they
// say what processes may do, so that takes the user's word.
func TestUntrustedImages(t *testing.T) { eachEngine(t, testUntrustedImages) }

func testUntrustedImages(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	c.Dump(ticker, images)
	pages := filepath.Join(images, "pages-1.img")
	c.Check(os.Chmod(pages, 0o666))
	_, err := c.Crtime.Restore(c.Context, images)
	refused(c, err, exitImages, "pages-1.img", "--trust-images")
	c.Check(os.Chmod(pages, 0o600))
	c.Check(os.Chown(images, nobody, nobody))
	_, err = c.Crtime.Restore(c.Context, images)
	refused(c, err, exitImages, "--trust-images")
	if live := ticker.PIDs(); len(live) != 0 {
		c.Fatalf("the refused restore made processes %v", live)
	}
	c.Restore(ticker, images, "--trust-images")
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
}
