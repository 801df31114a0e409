// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	pipe_data "github.com/checkpoint-restore/go-criu/v7/crit/images/pipe-data"
	sk_packet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-packet"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/image"
)

// validName reports whether a file of a directory can have the name and counts
// as an image.
func validName(name string) bool {
	return fs.ValidPath(name) && !strings.Contains(name, "/") && strings.HasSuffix(name, suffix)
}

// TestLoadMadeUp shows that the images that other tests begin with are whole.
func TestLoadMadeUp(t *testing.T) {
	dump := fixtureInMemory(t)
	if err := checkLoad(t, dump); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		if len(dump.names(k)) == 0 {
			t.Errorf("no image of the kind %q is tested", k.stem)
		}
	}
}

// TestTruncated cuts every file at every length of interest. Only a cut between
// two messages may go unnoticed.
func TestTruncated(t *testing.T) {
	dump := fixtureInMemory(t)
	for _, name := range names(dump) {
		data := dump.MapFS[name].Data
		ends := boundaries(t, dump, name)
		for cut := range data {
			far := cut > 40 && cut < len(data)-40
			if far && cut%397 != 0 && !slices.Contains(ends, cut) {
				continue
			}
			err := checkLoad(t, dump.with(name, data[:cut]))
			if err == nil && !slices.Contains(ends, cut) {
				t.Errorf("%s cut at %d of %d bytes was accepted", name, cut, len(data))
			}
		}
	}
}

// boundaries are the places in a file where a message may begin.
func boundaries(t *testing.T, dump folderInMemory, name string) []int {
	t.Helper()
	k, _ := kindOf(name)
	data := dump.MapFS[name].Data
	at := 8
	if k == &kindInventory {
		at = 4
	}
	ends := []int{at}
	for at+4 <= len(data) {
		m := data[at+4:][:binary.LittleEndian.Uint32(data[at:])]
		at += 4 + len(m)
		var err error
		switch k {
		case &kindGhost:
			for ; at < len(data); at++ {
				ends = append(ends, at) // All the rest is content, of any length.
			}
		case &kindPipeData, &kindFIFOData:
			var e pipe_data.PipeDataEntry
			err = proto.Unmarshal(m, &e)
			at += int(e.GetBytes())
		case &kindQueue:
			var e sk_packet.SkPacketEntry
			err = proto.Unmarshal(m, &e)
			at += int(e.GetLength())
		default:
		}
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, at)
	}
	return ends
}

// TestFlipped changes every byte of the small files, and many of the large.
func TestFlipped(t *testing.T) {
	dump := fixtureInMemory(t)
	accepted, refused := 0, 0
	for _, name := range names(dump) {
		data := dump.MapFS[name].Data
		for i := range data {
			flips := []byte{0xff}
			switch {
			case i > 60 && i%41 != 0:
				continue
			case i < 30:
				flips = []byte{0x01, 0xff}
			}
			for _, flip := range flips {
				other := slices.Clone(data)
				other[i] ^= flip
				err := checkLoad(t, dump.with(name, other))
				if err != nil {
					refused++
					continue
				}
				accepted++
				if i < 8 {
					t.Errorf("%s: byte %d, of its head, was changed unnoticed", name, i)
				}
			}
		}
	}
	if accepted == 0 || refused == 0 {
		t.Errorf("%d changes were accepted and %d refused", accepted, refused)
	}
	t.Logf("%d changes leave a consistent dump, %d do not", accepted, refused)
}

// TestMissing removes each file. Some a dump may do without: those that hold
// what not every tree has, if nothing refers to it.
func TestMissing(t *testing.T) {
	optional := []*kind{&kindSeccomp, &kindCgroup, &kindTimeNS, &kindFileLock, &kindPipeData, &kindFIFOData, &kindQueue, &kindTTYData, &kindFdinfo, &kindRemap}
	dump := fixtureInMemory(t)
	for name := range dump.MapFS {
		k, _ := kindOf(name)
		err := checkLoad(t, dump.without(name))
		if err == nil && !slices.Contains(optional, k) {
			t.Errorf("nobody misses %s", name)
		}
	}
}

// TestHugeLengths has every kind of file say that a message of up to 4 GiB
// follows: no memory may be taken for what is not there.
func TestHugeLengths(t *testing.T) {
	for _, k := range kinds() {
		if k == &kindPages {
			continue
		}
		for _, size := range []uint32{30, 1 << 20, maxMessage, maxMessage + 1, math.MaxInt32, math.MaxUint32} {
			s := newSink(k)
			s.buf = binary.LittleEndian.AppendUint32(s.buf, size)
			s.buf = append(s.buf, make([]byte, 30-len(s.buf))...)
			dump := newFolder().with(k.name(1), s.buf)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := checkLoad(t, dump)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Errorf("%s: %d bytes of 30 were accepted", k.name(1), size)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
				t.Errorf("%s: a size of %d had %d bytes allocated", k.name(1), size, got)
			}
		}
	}
}

// TestHugeHole has a message of 4 GiB that are all there, as a hole in the file.
func TestHugeHole(t *testing.T) {
	dir := loadFixture(t)
	path := filepath.Join(dir, kindFileLock.name(0))
	s := newSink(&kindFileLock)
	s.buf = binary.LittleEndian.AppendUint32(s.buf, math.MaxUint32)
	if err := os.WriteFile(path, s.buf, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 5<<30); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Load(&image.Images{Dir: dir})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), kindFileLock.name(0)) {
		t.Errorf("got %v", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("%d bytes were allocated", got)
	}
}

// TestNotFiles has images that are no regular files. None may make Load wait.
func TestNotFiles(t *testing.T) {
	for _, k := range []*kind{&kindFileLock, &kindPages, &kindGhost} {
		for what, make := range map[string]func(path string) error{
			"directory": func(path string) error { return os.Mkdir(path, 0o700) },
			"FIFO":      func(path string) error { return unix.Mkfifo(path, 0o600) },
			"link":      func(path string) error { return os.Symlink("/dev/zero", path) },
		} {
			dir := loadFixture(t)
			path := filepath.Join(dir, k.name(1))
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			_, err := Load(&image.Images{Dir: dir})
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), k.name(1)) {
				t.Errorf("%s as %s: got %v", k.name(1), what, err)
			}
		}
	}
}
