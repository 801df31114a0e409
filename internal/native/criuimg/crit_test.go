// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/cgroup"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	file_lock "github.com/checkpoint-restore/go-criu/v7/crit/images/file-lock"
	imagefs "github.com/checkpoint-restore/go-criu/v7/crit/images/fs"
	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	pipe_data "github.com/checkpoint-restore/go-criu/v7/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/seccomp"
	sk_packet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-packet"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/image"
)

// entryOf is a message of the type that a kind of image holds.
func entryOf(k *kind) proto.Message {
	return map[*kind]proto.Message{
		&kindInventory: &inventory.InventoryEntry{},
		&kindTree:      &pstree.PstreeEntry{},
		&kindCore:      &criu_core.CoreEntry{},
		&kindIDs:       &criu_core.TaskKobjIdsEntry{},
		&kindMM:        &mm.MmEntry{},
		&kindFS:        &imagefs.FsEntry{},
		&kindPagemap:   &pagemap.PagemapEntry{},
		&kindShmem:     &pagemap.PagemapEntry{},
		&kindFdinfo:    &fdinfo.FdinfoEntry{},
		&kindFiles:     &fdinfo.FileEntry{},
		&kindRemap:     &remap_file_path.RemapFilePathEntry{},
		&kindGhost:     &ghost_file.GhostFileEntry{},
		&kindPipeData:  &pipe_data.PipeDataEntry{},
		&kindFIFOData:  &pipe_data.PipeDataEntry{},
		&kindQueue:     &sk_packet.SkPacketEntry{},
		&kindMemfd:     &memfd.MemfdInodeEntry{},
		&kindTTYInfo:   &tty.TtyInfoEntry{},
		&kindTTYData:   &tty.TtyDataEntry{},
		&kindFileLock:  &file_lock.FileLockEntry{},
		&kindSeccomp:   &seccomp.SeccompEntry{},
		&kindCgroup:    &cgroup.CgroupEntry{},
		&kindTimeNS:    &timens.TimensEntry{},
	}[k]
}

// TestCritDecodes has go-criu's crit, with which others look into images, decode
// every image that this package writes, and find all of its entries.
func TestCritDecodes(t *testing.T) {
	source := fixtureInMemory(t)
	s, err := load(source)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := s.encode(onDisk(dir)); err != nil {
		t.Fatal(err)
	}
	names := imageNames(t, dir)
	if len(names) != len(source.names(nil)) {
		t.Errorf("%d images were written, want %d", len(names), len(source.names(nil)))
	}
	for _, name := range names {
		k, _ := kindOf(name)
		if got, want := decodeByCrit(t, filepath.Join(dir, name), entryOf(k)), entries(t, source.MapFS[name].Data, k); got != want {
			t.Errorf("%s: crit finds %d entries, want %d", name, got, want)
		}
	}
	// Its tree view reads several images and puts them together.
	tree, err := crit.New(nil, nil, dir, false, true).ExplorePs()
	if err != nil {
		t.Fatal(err)
	}
	if tree.PID != s.PIDs()[0] || len(tree.Children) != 2 {
		t.Errorf("crit sees process %d with %d children, want %d with 2", tree.PID, len(tree.Children), s.PIDs()[0])
	}
}

// decodeByCrit returns how many entries crit finds in an image.
func decodeByCrit(t *testing.T, path string, entry proto.Message) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := crit.New(f, nil, "", false, false).Decode(entry)
	if err != nil {
		t.Errorf("%s: %v", filepath.Base(path), err)
		return -1
	}
	return len(img.Entries)
}

// entries counts the messages of an image with its own reader.
func entries(t *testing.T, data []byte, k *kind) int {
	t.Helper()
	ends := boundaries(t, newFolder().with(k.name(1), data), k.name(1))
	if k == &kindGhost {
		return ghostEntries(t, data, k)
	}
	return len(ends) - 1
}

// ghostEntries counts the messages of a ghost file.
func ghostEntries(t *testing.T, data []byte, k *kind) int {
	t.Helper()
	x := newParts(newFolder().with(k.name(1), data))
	if err := x.readFile(imageFile{k.name(1), k, 1}); err != nil {
		t.Fatal(err)
	}
	g := x.ghost.all[1]
	if g.Entry.GetChunks() {
		return 1 + len(g.Chunks)
	}
	return 1
}

// TestManifestTellsDumpsApart swaps each file for that of another dump: what is
// consistent in itself, Load cannot tell apart, but the manifest does.
func TestManifestTellsDumpsApart(t *testing.T) {
	source := fixtureInMemory(t)
	other := source.with(kindInventory.name(0), nil) // One file of another length,
	for _, name := range source.names(nil) {         // and all others of the same.
		data := append([]byte(nil), source.MapFS[name].Data...)
		data[len(data)-1] ^= 0x01
		other = other.with(name, data)
	}
	for _, name := range source.names(nil) {
		dir := filepath.Join(t.TempDir(), "images")
		st, err := image.Stage(dir)
		if err != nil {
			t.Fatal(err)
		}
		for n, file := range source.MapFS {
			if k, _ := kindOf(n); k == &kindPages {
				continue
			}
			if err := st.WriteFile(n, file.Data); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := st.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := image.Open(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), other.MapFS[name].Data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := image.Open(dir); err == nil {
			t.Errorf("%s of another dump was accepted", name)
		}
	}
}
