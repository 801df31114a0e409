// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crtime/crtime/e2e/harness"
)

// TestDamage truncates each file of a dump in turn, alters one byte of it and
// takes it away. Each must be refused by name, before any process is made, and
// the repaired images must still work.
func TestDamage(t *testing.T) { eachEngine(t, testDamage) }

func testDamage(c *harness.Case) {
	ticker := c.Start(c.Ticker())
	images := c.Path("images")
	c.Dump(ticker, images)
	damages := []struct {
		name string
		do   func([]byte) []byte // Nil: the file is taken away.
	}{
		{"cut in half", func(b []byte) []byte { return b[:len(b)/2] }},
		{"last byte lost", func(b []byte) []byte { return b[:len(b)-1] }},
		{"emptied", func([]byte) []byte { return []byte{} }},
		{"one byte altered", func(b []byte) []byte { b[len(b)/2] ^= 0x10; return b }},
		{"first byte altered", func(b []byte) []byte { b[0] ^= 1; return b }},
		{"taken away", nil},
	}
	files, err := filepath.Glob(filepath.Join(images, "*"))
	c.Check(err)
	tried := 0
	for _, path := range files {
		name := filepath.Base(path)
		// What CRIU said and counted is not needed to restore.
		if filepath.Ext(name) == ".log" || name == "stats-dump" {
			continue
		}
		whole, err := os.ReadFile(path)
		c.Check(err)
		for _, damage := range damages {
			if damage.do == nil {
				c.Check(os.Remove(path))
			} else {
				c.Check(os.WriteFile(path, damage.do(append([]byte(nil), whole...)), 0o600))
			}
			_, err := c.Crtime.Restore(c.Context, images)
			refused(c, err, exitImages, name)
			if live := ticker.PIDs(); len(live) != 0 {
				c.Fatalf("%s %s: processes %v were made", name, damage.name, live)
			}
			c.Check(os.WriteFile(path, whole, 0o600))
			tried++
		}
	}
	c.Logf("%d kinds of damage to %d files were refused", tried, tried/len(damages))
	c.Restore(ticker, images)
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
}
