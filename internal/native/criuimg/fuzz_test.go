// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"slices"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/cgroup"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"google.golang.org/protobuf/proto"
)

// There is one target for each kind of image. All other files of the dump are
// those of the fixture, so that what the one file refers to exists.

func FuzzInventory(f *testing.F) { fuzz(f, &kindInventory) }
func FuzzTree(f *testing.F)      { fuzz(f, &kindTree) }
func FuzzCore(f *testing.F)      { fuzz(f, &kindCore) }
func FuzzIDs(f *testing.F)       { fuzz(f, &kindIDs) }
func FuzzMM(f *testing.F)        { fuzz(f, &kindMM) }
func FuzzFS(f *testing.F)        { fuzz(f, &kindFS) }
func FuzzPagemap(f *testing.F)   { fuzz(f, &kindPagemap) }
func FuzzShmem(f *testing.F)     { fuzz(f, &kindShmem) }
func FuzzFdinfo(f *testing.F)    { fuzz(f, &kindFdinfo) }
func FuzzFiles(f *testing.F)     { fuzz(f, &kindFiles) }
func FuzzRemap(f *testing.F)     { fuzz(f, &kindRemap) }
func FuzzGhost(f *testing.F)     { fuzz(f, &kindGhost) }
func FuzzPipeData(f *testing.F)  { fuzz(f, &kindPipeData) }
func FuzzFIFOData(f *testing.F)  { fuzz(f, &kindFIFOData) }
func FuzzQueue(f *testing.F)     { fuzz(f, &kindQueue) }
func FuzzMemfd(f *testing.F)     { fuzz(f, &kindMemfd) }
func FuzzTTYInfo(f *testing.F)   { fuzz(f, &kindTTYInfo) }
func FuzzTTYData(f *testing.F)   { fuzz(f, &kindTTYData) }
func FuzzFileLock(f *testing.F)  { fuzz(f, &kindFileLock) }
func FuzzSeccomp(f *testing.F)   { fuzz(f, &kindSeccomp) }
func FuzzCgroup(f *testing.F)    { fuzz(f, &kindCgroup) }
func FuzzTimeNS(f *testing.F)    { fuzz(f, &kindTimeNS) }
func FuzzPages(f *testing.F)     { fuzz(f, &kindPages) }

// fuzz replaces one of the files of a kind.
func fuzz(f *testing.F, k *kind) {
	dump := fixtureInMemory(f)
	names := dump.names(k)
	if len(names) == 0 {
		f.Fatalf("there is no image of the kind %s to begin with", k.stem)
	}
	for i, name := range names {
		data := dump.MapFS[name].Data
		f.Add(uint8(i), data)
		f.Add(uint8(i), data[:len(data)/2])
		f.Add(uint8(i), append(slices.Clone(data), data...))
		f.Add(uint8(i), append(slices.Clone(data), 0xff, 0xff, 0xff, 0xff))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		checkLoad(t, dump.with(names[int(which)%len(names)], data))
	})
}

// FuzzName has images of any name beside those of the fixture.
func FuzzName(f *testing.F) {
	dump := fixtureInMemory(f)
	for _, name := range []string{"core-1.img", "core-01.img", "netns-1.img", "pages-9.img", ".img", "ghost-file-FF.img", "crtime-x.img", "core-4294967296.img"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if k, id := kindOf(name); k != nil && k.name(id) != name {
			t.Fatalf("%q was taken for %q", name, k.name(id))
		}
		if _, exists := dump.MapFS[name]; exists || !validName(name) {
			return
		}
		_ = checkLoad(t, dump.with(name, dump.MapFS[names(dump)[0]].Data))
	})
}

// names are the files of a dump.
func names(f folderInMemory) []string { return f.names(nil) }

// madeUpMessages are what madeUp's images hold.
func madeUpMessages() []struct {
	kind    *kind
	message proto.Message
} {
	return []struct {
		kind    *kind
		message proto.Message
	}{
		{&kindTTYInfo, &tty.TtyInfoEntry{
			Id: proto.Uint32(1), Type: tty.TtyType_PTY.Enum(), Locked: proto.Bool(false), Exclusive: proto.Bool(false),
			PacketMode: proto.Bool(false), Sid: proto.Uint32(0), Pgrp: proto.Uint32(0), Rdev: proto.Uint32(34816),
			Winsize: &tty.WinsizeEntry{WsRow: proto.Uint32(24), WsCol: proto.Uint32(80), WsXpixel: proto.Uint32(0), WsYpixel: proto.Uint32(0)},
			Pty:     &tty.TtyPtyEntry{Index: proto.Uint32(0)},
		}},
		{&kindTTYData, &tty.TtyDataEntry{TtyId: proto.Uint32(1), Data: []byte("typed")}},
		{&kindCgroup, &cgroup.CgroupEntry{Sets: []*cgroup.CgSetEntry{{
			Id:   proto.Uint32(1),
			Ctls: []*cgroup.CgMemberEntry{{Name: proto.String("memory"), Path: proto.String("/a")}},
		}}}},
	}
}
