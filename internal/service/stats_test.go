// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/stats"

	"github.com/crtime/crtime/checkpoint"
	"github.com/crtime/crtime/restore"
)

// TestStats reads the statistics as clients do.
func TestStats(t *testing.T) {
	images, work := t.TempDir(), t.TempDir()
	for name, pages := range map[string]int{"pages-1.img": 3, "pages-2.img": 4, "pagemap-1.img": 7} {
		if err := os.WriteFile(filepath.Join(images, name), bytes.Repeat([]byte{1}, pages*os.Getpagesize()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &places{images: open(t, images), work: open(t, work)}
	defer p.close()
	if err := writeDumpStats(p, &checkpoint.Report{Engine: "native", Frozen: 2_500_000}); err != nil {
		t.Fatal(err)
	}
	if err := writeRestoreStats(p, &restore.Report{Engine: "native", Duration: 1 << 60}); err != nil {
		t.Fatal(err)
	}
	dump := read(t, filepath.Join(work, "stats-dump")).GetDump()
	if dump.GetPagesWritten()+dump.GetShpagesWritten() != 7 || dump.GetFrozenTime() != 2500 {
		t.Errorf("dump: %v", dump)
	}
	if again := read(t, filepath.Join(work, "stats-restore")).GetRestore(); again.GetPagesRestored() != 7 || again.GetRestoreTime() != 1<<32-1 {
		t.Errorf("restore: %v", again)
	}
}

// CRIU has written its own.
func TestStatsOfCRIU(t *testing.T) {
	dir := t.TempDir()
	p := &places{images: open(t, dir), work: open(t, dir)}
	defer p.close()
	if err := writeDumpStats(p, &checkpoint.Report{Engine: "criu 4.2"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "stats-dump")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func open(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t *testing.T, path string) *stats.StatsEntry {
	t.Helper()
	f := open(t, path)
	defer f.Close()
	image, err := crit.New(f, nil, "", false, false).Decode(&stats.StatsEntry{})
	if err != nil {
		t.Fatal(err)
	}
	return image.Entries[0].Message.(*stats.StatsEntry)
}
