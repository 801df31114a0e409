// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPIDFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "job.pid")
	if err := os.WriteFile(path, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	dropped, err := preparePIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dropped.discard()
	wantFile(t, path, "old\n")

	kept, err := preparePIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.commit(4711); err != nil {
		t.Fatal(err)
	}
	kept.discard()
	wantFile(t, path, "4711\n")

	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestPIDFileFailsBeforeThereIsAProcess(t *testing.T) {
	if _, err := preparePIDFile(filepath.Join(t.TempDir(), "no", "such", "dir", "pid")); err == nil {
		t.Error("no error for a directory that does not exist")
	}
}

func TestNoPIDFile(t *testing.T) {
	p, err := preparePIDFile("")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.commit(1); err != nil {
		t.Error(err)
	}
	p.discard()
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
	}
}
