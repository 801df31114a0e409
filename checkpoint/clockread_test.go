// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corex86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crtime/crtime/internal/proc"
)

func TestVDSORange(t *testing.T) {
	const maps = "7ffd0000-7ffd4000 r--p 00000000 00:00 0                          [vvar]\n" +
		"7ffd4000-7ffd6000 r-xp 00000000 00:00 0                          [vdso]\n"
	if got, ok := vdsoRange([]byte(maps)); got != (span{0x7ffd4000, 0x7ffd6000}) || !ok {
		t.Errorf("got %x, %v", got, ok)
	}
	for _, text := range []string{"", "x [vdso]\n", "1-g r [vdso]", "1000-2000 r-xp 0 0:0 0 /lib/libc.so\n"} {
		if got, ok := vdsoRange([]byte(text)); ok {
			t.Errorf("%q: got %x", text, got)
		}
	}
	own, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := vdsoRange(own); !ok || got.from >= got.to {
		t.Errorf("this process: %x, %v", got, ok)
	}
}

// writeCore writes the core image of a thread that stands at pc.
func writeCore(t *testing.T, dir string, tid int, pc uint64) {
	t.Helper()
	core := &criucore.CoreEntry{
		Mtype:      criucore.CoreEntry_X86_64.Enum(),
		ThreadInfo: &corex86.ThreadInfoX86{Gpregs: &corex86.UserX86RegsEntry{Ip: proto.Uint64(pc)}},
	}
	fillRequired(core.ProtoReflect())
	data, err := proto.Marshal(core)
	if err != nil {
		t.Fatal(err)
	}
	// The two magic numbers of a core image, then its length.
	out := binary.LittleEndian.AppendUint32(nil, 0x54564319)
	out = binary.LittleEndian.AppendUint32(out, 0x55053847)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	name := filepath.Join(dir, fmt.Sprintf("core-%d.img", tid))
	if err := os.WriteFile(name, append(out, data...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fillRequired sets every required field that is not set to its zero value.
func fillRequired(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		required := f.Cardinality() == protoreflect.Required
		switch {
		case f.Message() != nil && !f.IsList() && (required || m.Has(f)):
			fillRequired(m.Mutable(f).Message())
		case required && !m.Has(f):
			m.Set(f, f.Default())
		}
	}
}

func TestClockReader(t *testing.T) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	vdso, ok := vdsoRange(maps)
	if !ok {
		t.Fatal("this process has no vdso")
	}
	tree := &proc.Snapshot{Tasks: []proc.Task{{PID: os.Getpid()}, {PID: 1 << 30, Zombie: true}}}
	for _, tt := range []struct {
		name string
		pc   uint64
		want int
	}{
		{"before it", vdso.from - 1, 0},
		{"at its begin", vdso.from, 4242},
		{"at its end", vdso.to - 1, 4242},
		{"behind it", vdso.to, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writeCore(t, dir, 17, 0x1000)
			writeCore(t, dir, 4242, tt.pc)
			if tid, err := clockReader(tree, dir); tid != tt.want || err != nil {
				t.Errorf("got thread %d, %v; want %d", tid, err, tt.want)
			}
		})
	}
	dir := t.TempDir()
	writeCore(t, dir, 1, 0)
	whole, err := os.ReadFile(filepath.Join(dir, "core-1.img"))
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte("0123"), whole[4:]...)
	for _, image := range [][]byte{nil, []byte("no image"), []byte("no image at all"), other, whole[:8], whole[:12], whole[:len(whole)-1]} {
		if err := os.WriteFile(filepath.Join(dir, "core-1.img"), image, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := clockReader(tree, dir); err == nil {
			t.Errorf("an image that cannot be read was accepted: %q", image)
		}
	}
}
