// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// clockFunction is the function of the vdso that the tests call.
const clockFunction = "__vdso_clock_gettime"

// onlyHere skips tests that call code in another process.
func onlyHere(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("functions are called in other processes on x86-64 only")
	}
}

// vdsoImage is the recorded vdso of a dump, and where it stands.
type vdsoImage struct {
	space *space
	file  string
	code  []byte
	off   int64
}

func (d *dumped) vdso(t testing.TB) *vdsoImage {
	t.Helper()
	spaces, err := spacesOf(d.set)
	if err != nil {
		t.Fatal(err)
	}
	v := &vdsoImage{space: spaces[0], file: fmt.Sprintf("%s/pages-%d.img", d.dir.Name(), spaces[0].pages)}
	parts := within(v.space.runs, v.space.vdso)
	if len(parts) != 1 {
		t.Fatalf("the vdso is in %d parts", len(parts))
	}
	f, err := os.Open(v.file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v.off, v.code = parts[0].off, make([]byte, parts[0].size)
	if _, err := f.ReadAt(v.code, v.off); err != nil {
		t.Fatal(err)
	}
	return v
}

// put writes changed code into the image.
func (v *vdsoImage) put(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile(v.file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(v.code, v.off); err != nil {
		t.Fatal(err)
	}
}

// move makes the functions begin elsewhere, each some way behind the other, and
// spoils what their code was: the vdso of another kernel, to which this one's data
// mean nothing.
func (v *vdsoImage) move(t testing.TB, distance uint64) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(v.code))
	if err != nil {
		t.Fatal(err)
	}
	text, symbols := f.Section(".text"), f.SectionByType(elf.SHT_DYNSYM)
	for i := text.Offset; i < text.Offset+text.Size; i++ {
		v.code[i] = 0xcc // int3
	}
	const entry, value, size = 24, 8, 16
	places := map[uint64]uint64{}
	for at := symbols.Offset + entry; at < symbols.Offset+symbols.Size; at += entry {
		s := v.code[at : at+entry]
		if elf.ST_TYPE(s[4]) != elf.STT_FUNC {
			continue
		}
		old := binary.LittleEndian.Uint64(s[value:])
		if places[old] == 0 {
			places[old] = text.Offset + distance*uint64(len(places)+1)
		}
		binary.LittleEndian.PutUint64(s[value:], places[old])
		binary.LittleEndian.PutUint64(s[size:], min(distance, 8))
	}
}

// rename changes the name of a function.
func (v *vdsoImage) rename(t testing.TB, from, to string) {
	t.Helper()
	if n := bytes.Count(v.code, []byte(from+"\x00")); n != 1 {
		t.Fatalf("%s is there %d times", from, n)
	}
	copy(v.code[bytes.Index(v.code, []byte(from+"\x00")):], to)
}

// address is where a function of the recorded vdso was.
func (v *vdsoImage) address(t testing.TB, name string) uint64 {
	t.Helper()
	symbols, err := symbolsOf(v.code)
	if err != nil {
		t.Fatal(err)
	}
	s, have := symbols[name]
	if !have {
		t.Fatalf("the vdso has no %s, but %v", name, symbols)
	}
	return v.space.vdso.start + s.offset
}

// call calls a function in a stub: it returns to address 0, where the thread gets
// a signal.
func call(stub *remote.Stub, function uint64, args ...uint64) (int64, error) {
	const stack = 4 << 10
	low, err := stub.Alloc(stack)
	if err != nil {
		return 0, err
	}
	before, err := stub.Thread.Registers()
	if err != nil {
		return 0, err
	}
	regs := before
	var all [6]uint64
	copy(all[:], args)
	regs.SetCall(0, all)
	regs.SetSyscallNumber(-1)
	regs.SetPC(function)
	sp := low + stack - 64 | 8 // As a call instruction leaves it.
	regs.SetSP(sp)
	if err := stub.Write(sp, make([]byte, 8)); err != nil {
		return 0, err
	}
	if err := stub.Thread.SetRegisters(regs); err != nil {
		return 0, err
	}
	if err := stub.Thread.Continue(0); err != nil {
		return 0, err
	}
	stop, err := stub.Thread.Wait()
	if err != nil {
		return 0, err
	}
	if regs, err = stub.Thread.Registers(); err != nil {
		return 0, err
	}
	if stop.Kind != ptrace.SignalStop || stop.Signal != unix.SIGSEGV || regs.PC() != 0 {
		return 0, fmt.Errorf("it ended with %v (%v) at %x", stop.Kind, stop.Signal, regs.PC())
	}
	return regs.Result(), stub.Thread.SetRegisters(before)
}

// readsClock lets a restored process read the clock by its vdso.
func readsClock(stub *remote.Stub, function uint64) error {
	defer stub.Reset()
	at, err := stub.Alloc(16)
	if err != nil {
		return err
	}
	var before, after unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &before); err != nil {
		return err
	}
	ret, err := call(stub, function, unix.CLOCK_MONOTONIC, at)
	if err == nil && ret != 0 {
		err = unix.Errno(-ret)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", clockFunction, err)
	}
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &after); err != nil {
		return err
	}
	b := make([]byte, 16)
	if err := stub.Read(at, b); err != nil {
		return err
	}
	now := time.Duration(binary.LittleEndian.Uint64(b))*time.Second + time.Duration(binary.LittleEndian.Uint64(b[8:]))
	if now < time.Duration(before.Nano()) || now > time.Duration(after.Nano()) {
		return fmt.Errorf("it read %v, between %v and %v", now, time.Duration(before.Nano()), time.Duration(after.Nano()))
	}
	return nil
}

// vdsoAt is where the vdso of a process lies now.
func vdsoAt(pid int) (vdso, all span, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return span{}, span{}, err
	}
	return findVDSO(text)
}

// TestVDSO restores processes that had this kernel's vdso, or that of another.
func TestVDSO(t *testing.T) {
	onlyHere(t)
	for _, test := range []struct {
		name   string
		change func(t *testing.T, d *dumped, v *vdsoImage)
		more   func(v *vdsoImage, stub *remote.Stub) error
		direct bool // This kernel's vdso is where the recorded one was.
	}{
		{name: "the same", change: func(*testing.T, *dumped, *vdsoImage) {}, direct: true},
		{name: "other code, functions at the same places", change: func(_ *testing.T, _ *dumped, v *vdsoImage) {
			v.code[len(v.code)-1] ^= 1
		}, direct: true},
		{name: "functions elsewhere", change: func(t *testing.T, _ *dumped, v *vdsoImage) { v.move(t, 48) }},
		{name: "functions close together", change: func(t *testing.T, _ *dumped, v *vdsoImage) { v.move(t, jumpSize) }},
		{
			name: "a function that this kernel has not",
			change: func(t *testing.T, _ *dumped, v *vdsoImage) {
				v.move(t, 48)
				v.rename(t, "__vdso_getcpu", "__vdso_gxtcpu")
			},
			more: func(v *vdsoImage, stub *remote.Stub) error {
				defer stub.Reset()
				symbols, err := symbolsOf(v.code)
				if err != nil {
					return err
				}
				ret, err := call(stub, v.space.vdso.start+symbols["__vdso_gxtcpu"].offset)
				if err == nil && ret != -int64(unix.ENOSYS) {
					err = fmt.Errorf("the unknown function says %d", ret)
				}
				return err
			},
		},
		{name: "data of another size, no room for this kernel's", change: func(_ *testing.T, d *dumped, v *vdsoImage) {
			mm := d.set.Process[uint32(v.space.pid)].MM
			i := slices.IndexFunc(mm.Vmas, func(e *vma.VmaEntry) bool { return e.GetStatus()&statusVVAR != 0 })
			e := mm.Vmas[i]
			beside := &vma.VmaEntry{
				Start: proto.Uint64(e.GetStart()), End: proto.Uint64(e.GetStart() + pageSize), Pgoff: proto.Uint64(0),
				Shmid: proto.Uint64(0), Prot: proto.Uint32(unix.PROT_READ), Flags: proto.Uint32(unix.MAP_PRIVATE | unix.MAP_ANONYMOUS),
				Status: proto.Uint32(statusRegular | statusAnonPrivate), Fd: proto.Int64(-1),
			}
			e.Start = proto.Uint64(e.GetStart() + pageSize)
			mm.Vmas = slices.Insert(mm.Vmas, i, beside)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := hold(t, 1, "guards")
			d := h.dump()
			pid := h.pids[0]
			h.end()
			v := d.vdso(t)
			test.change(t, d, v)
			v.put(t)
			err := d.restored(t, []int{pid}, []int{0}, func(_ *Rebuild, stubs map[int]*remote.Stub) error {
				vdso, _, err := vdsoAt(pid)
				if err != nil {
					return err
				}
				if direct := vdso == v.space.vdso; direct != test.direct {
					t.Errorf("this kernel's vdso is at %s, the recorded one was at %s", vdso, v.space.vdso)
				}
				if test.more != nil {
					if err := test.more(v, stubs[pid]); err != nil {
						return err
					}
				}
				return readsClock(stubs[pid], v.address(t, clockFunction))
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestVDSORefuses restores recorded vdsos that cannot be believed.
func TestVDSORefuses(t *testing.T) {
	onlyHere(t)
	h := hold(t, 1, "guards")
	d := h.dump()
	pid := h.pids[0]
	h.end()
	original := d.vdso(t)
	for name, change := range map[string]func(v *vdsoImage){
		"no ELF image":                     func(v *vdsoImage) { clear(v.code) },
		"functions without room":           func(v *vdsoImage) { v.move(t, jumpSize-1) },
		"code of another kind of machine":  func(v *vdsoImage) { v.code[18] = byte(elf.EM_S390) },
		"a table of symbols that is cut":   func(v *vdsoImage) { clear(v.code[0x40:0x400]) },
		"a function outside of the vdso":   func(v *vdsoImage) { v.move(t, 1<<20) },
		"sections that begin behind it":    func(v *vdsoImage) { binary.LittleEndian.PutUint64(v.code[0x28:], 1<<40) },
		"more sections than there can be":  func(v *vdsoImage) { binary.LittleEndian.PutUint16(v.code[0x3c:], 0xffff) },
		"a segment at an impossible place": func(v *vdsoImage) { binary.LittleEndian.PutUint64(v.code[0x20:], 1<<63) },
	} {
		t.Run(name, func(t *testing.T) {
			v := *original
			v.code = bytes.Clone(original.code)
			change(&v)
			v.put(t)
			defer original.put(t)
			err := d.restored(t, []int{pid}, []int{0}, func(*Rebuild, map[int]*remote.Stub) error {
				t.Error("it was restored")
				return nil
			})
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestVDSOMissing has images that say that there is a vdso and do not have it.
func TestVDSOMissing(t *testing.T) {
	h := hold(t, 1, "guards")
	d := h.dump()
	pid := h.pids[0]
	h.end()
	p := d.set.Process[uint32(pid)]
	vdso := d.vdso(t).space.vdso
	p.Pagemap.Entries = slices.DeleteFunc(p.Pagemap.Entries, func(e *pagemap.PagemapEntry) bool {
		return vdso.overlaps(span{e.GetVaddr(), e.GetVaddr() + uint64(e.GetNrPages())*pageSize})
	})
	err := d.restored(t, []int{pid}, []int{0}, func(*Rebuild, map[int]*remote.Stub) error { return nil })
	if !errors.Is(err, ErrImages) {
		t.Errorf("got %v", err)
	}
}

// FuzzVDSO changes a recorded vdso: each three bytes of the input are a place and
// what is there instead.
func FuzzVDSO(f *testing.F) {
	host, err := readHostVDSO()
	if err != nil || host == nil {
		f.Skip("this kernel has no vdso")
	}
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{0, 18, 22}, uint16(100))
	f.Add([]byte{0, 0x28, 0xff, 0, 0x3c, 0xff, 0, 0x3d, 0xff}, uint16(0))
	f.Fuzz(func(t *testing.T, changes []byte, cut uint16) {
		code := bytes.Clone(host.code[:len(host.code)-int(cut)%len(host.code)])
		for c := range slices.Chunk(changes, 3) {
			if len(c) == 3 {
				code[int(binary.BigEndian.Uint16(c))%len(code)] = c[2]
			}
		}
		host.sameAs(code)
		led, err := host.lead(code, 0x7fff_0000_0000)
		if (led == nil) == (err == nil) {
			t.Errorf("%d bytes and %v", len(led), err)
		}
		if err == nil && len(led) != len(code) {
			t.Errorf("%d bytes became %d", len(code), len(led))
		}
	})
}
