// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/image"
)

// pagemapImage is an image with an entry for each of the flags; -1: an entry without any.
func pagemapImage(t *testing.T, flags ...int) []byte {
	t.Helper()
	messages := []proto.Message{&pagemap.PagemapHead{PagesId: proto.Uint32(1)}}
	for i, f := range flags {
		e := &pagemap.PagemapEntry{Vaddr: proto.Uint64(uint64(i) << 12), NrPages: proto.Uint32(1)}
		if f >= 0 {
			e.Flags = proto.Uint32(uint32(f))
		}
		messages = append(messages, e)
	}
	data := make([]byte, 8) // The magic numbers.
	for _, m := range messages {
		message, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		data = append(binary.LittleEndian.AppendUint32(data, uint32(len(message))), message...)
	}
	return data
}

// written is the path of a file that holds an image.
func written(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pagemap-1.img")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPagesLeft(t *testing.T) {
	const parent, lazy, present = 1, 2, 4
	for _, test := range []struct {
		name  string
		flags []int
		want  bool
	}{
		{"nothing", nil, false},
		{"of an older CRIU", []int{-1}, false},
		{"all there", []int{present, present | lazy}, false},
		{"in an earlier dump", []int{parent, parent | lazy | present}, false},
		{"left", []int{present, lazy}, true},
	} {
		if got, err := pagesLeft(written(t, pagemapImage(t, test.flags...))); got != test.want || err != nil {
			t.Errorf("%s: %v, %v", test.name, got, err)
		}
	}
	whole := pagemapImage(t, present)
	for _, data := range [][]byte{nil, whole[:7], whole[:9], whole[:len(whole)-1]} {
		if got, err := pagesLeft(written(t, data)); got || err == nil {
			t.Errorf("an image cut after %d bytes: %v, %v", len(data), got, err)
		}
	}
}

func TestAllPagesHere(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, flags ...int) {
		if err := os.WriteFile(filepath.Join(dir, name), pagemapImage(t, flags...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pagemap-1.img", 4, 6)
	write("pagemap-shmem-2.img", 4)
	if err := allPagesHere(dir); err != nil {
		t.Error(err)
	}
	write("pagemap-3.img", 2)
	if err := allPagesHere(dir); !errors.Is(err, image.ErrMissing) || !strings.Contains(err.Error(), "pagemap-3.img") {
		t.Error(err)
	}
}
