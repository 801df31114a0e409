// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// writeEntry writes a CRIU image of one entry. The inventory begins with one
// magic number, every other image with two.
func writeEntry(t *testing.T, path string, m proto.Message) {
	t.Helper()
	msg, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	data := binary.LittleEndian.AppendUint32(nil, commonMagic)
	if filepath.Base(path) == "inventory.img" {
		data = nil
	}
	data = append(data, "kind"...)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(msg)))
	if err := os.WriteFile(path, append(data, msg...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ids returns the namespaces of a process.
func ids(timeNS uint32) *criucore.TaskKobjIdsEntry {
	return &criucore.TaskKobjIdsEntry{
		VmId: proto.Uint32(1), FilesId: proto.Uint32(1), FsId: proto.Uint32(1), SighandId: proto.Uint32(1),
		TimeNsId: proto.Uint32(timeNS),
	}
}

// imagesInTimeNS makes the images that a view looks into, of a tree that lived
// in another time namespace than CRIU.
func imagesInTimeNS(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeEntry(t, filepath.Join(dir, "inventory.img"), &inventory.InventoryEntry{ImgVersion: proto.Uint32(2), RootIds: ids(7)})
	writeEntry(t, filepath.Join(dir, "ids-10.img"), ids(9))
	writeEntry(t, filepath.Join(dir, "ids-11.img"), ids(7))
	writeEntry(t, filepath.Join(dir, "timens-9.img"), ids(1))
	for _, name := range []string{"pages-1.img", "dump.log", "crtime-manifest.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWithoutClocks(t *testing.T) {
	images := imagesInTimeNS(t)
	v, err := WithoutClocks(images)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	entries, err := os.ReadDir(v.Path("."))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"ids-10.img", "ids-11.img", "inventory.img", "pages-1.img"}; !slices.Equal(names, want) {
		t.Errorf("the view holds %q, want %q", names, want)
	}
	got := &criucore.TaskKobjIdsEntry{}
	if _, err := ReadEntry(v.Path("ids-10.img"), got); err != nil || got.GetTimeNsId() != 7 || got.GetVmId() != 1 {
		t.Errorf("rewritten ids: %v, %v", got, err)
	}
	if data, err := os.ReadFile(v.Path("pages-1.img")); err != nil || string(data) != "pages-1.img" {
		t.Errorf("linked image: %q, %v", data, err)
	}
	if _, err := ReadEntry(filepath.Join(images, "ids-10.img"), got); err != nil || got.GetTimeNsId() != 9 {
		t.Errorf("the user's images were changed: %v, %v", got, err)
	}
}

// What the view has instead of an image may be read by whoever may read that: CRIU reads
// some as a user of the tree's.
func TestOverlayKeepsOwners(t *testing.T) {
	images := imagesInTimeNS(t)
	const mode, uid, gid = 0o640, 1234, 5678
	path := filepath.Join(images, "ids-10.img")
	if err := errors.Join(os.Chmod(path, mode), os.Chown(path, uid, gid)); err != nil {
		t.Fatal(err)
	}
	v, err := WithoutClocks(images)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	dir, err := v.Overlay()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), "ids-10.img", &st, 0); err != nil {
		t.Fatal(err)
	}
	if st.Mode&0o777 != mode || st.Uid != uid || st.Gid != gid {
		t.Errorf("the image has mode %o, user %d, group %d", st.Mode&0o777, st.Uid, st.Gid)
	}
}

func TestWithoutClocksRefuses(t *testing.T) {
	images := imagesInTimeNS(t)
	if err := os.Truncate(filepath.Join(images, "ids-10.img"), 14); err != nil {
		t.Fatal(err)
	}
	if v, err := WithoutClocks(images); err == nil {
		v.Close()
		t.Error("a truncated image was accepted")
	}
	if v, err := WithoutClocks(t.TempDir()); err == nil {
		v.Close()
		t.Error("a directory without an inventory was accepted")
	}
}

func FuzzReadEntry(f *testing.F) {
	f.Add([]byte("kind\x00\x00\x00\x00"))
	f.Add([]byte("\x19\x43\x56\x54kind\x02\x00\x00\x00\x08\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x.img")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		head, err := ReadEntry(path, &criucore.TaskKobjIdsEntry{})
		if (head == nil) == (err == nil) {
			t.Errorf("head %v and error %v", head, err)
		}
	})
}
