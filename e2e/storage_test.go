// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
)

// TestFullDisk dumps to where there is no room: the program goes on, and the
// room that there was is free again.
func TestFullDisk(t *testing.T) { eachEngine(t, testFullDisk) }

func testFullDisk(c *harness.Case) {
	// 16 MiB of memory that cannot be compressed, into 1 MiB.
	ticker := c.Start(c.Ticker("-m", "16"))
	disk := c.Path("disk")
	c.Check(os.Mkdir(disk, 0o700))
	c.Check(harness.MountTmpfs(disk, "size=1m"))
	c.Cleanup(func() { _ = harness.Unmount(disk) })
	_, err := c.Crtime.Dump(c.Context, ticker.PID, filepath.Join(disk, "images"))
	refused(c, err, exitFailed, "no space")
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
	left, err := os.ReadDir(disk)
	c.Check(err)
	if len(left) != 0 {
		c.Errorf("the failed dump left %v", left)
	}
	c.Check(harness.Unmount(disk))
	images := c.Path("images")
	c.Dump(ticker, images)
	c.Restore(ticker, images)
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
}

// TestReadOnly dumps to a read-only file system, which fails, and restores from
// one, which works: the images are never changed.
func TestReadOnly(t *testing.T) { eachEngine(t, testReadOnly) }

func testReadOnly(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	disk := c.Path("disk")
	c.Check(os.Mkdir(disk, 0o700))
	c.Check(harness.MountTmpfs(disk, ""))
	c.Cleanup(func() { _ = harness.Unmount(disk) })
	readOnly := func(flag uintptr) {
		c.Check(unix.Mount("", disk, "", unix.MS_REMOUNT|flag, ""))
	}
	readOnly(unix.MS_RDONLY)
	_, err := c.Crtime.Dump(c.Context, ticker.PID, filepath.Join(disk, "images"))
	refused(c, err, exitFailed, "read-only")
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)

	readOnly(0)
	images := filepath.Join(disk, "images")
	c.Dump(ticker, images)
	readOnly(unix.MS_RDONLY)
	c.Restore(ticker, images)
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
	c.Check(harness.Unmount(disk))
}
