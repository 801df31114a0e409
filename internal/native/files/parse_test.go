// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/internal/native/remote"
)

// FuzzFdinfo parses fdinfo files of every kind: an error, or what can be printed
// and parsed again.
func FuzzFdinfo(f *testing.F) {
	for _, text := range []string{
		"pos:\t0\nflags:\t02\nmnt_id:\t14\nino:\t1030\neventfd-count:                1\neventfd-id: 14\neventfd-semaphore: 0\n",
		"pos:\t0\nflags:\t02004002\nmnt_id:\t14\ninotify wd:2 ino:13d0c sdev:800001 mask:300 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:0c3d010002000000\n",
		"pos:\t0\nflags:\t02\ntfd:       22 events:       19 data:               16  pos:0 ino:406 sdev:10\n",
		"pos:\t0\nflags:\t02\nclockid: 0\nticks: 0\nsettime flags: 01\nit_value: (0, 49406829)\nit_interval: (1, 0)\n",
		"pos:\t5\nflags:\t0100002\nlock:\t1: POSIX  ADVISORY  WRITE 4711 00:1f:3 0 EOF\n",
		"pos:\t18446744073709551615\nflags:\t0\nsigmask:\t0000000000000200\ntty-index:\t3\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := parseFdinfo(data)
		if (err == nil) != (info != nil) {
			t.Fatalf("got %v and %v, want one of them", info, err)
		}
		if err != nil {
			return
		}
		again, err := parseFdinfo([]byte(printFdinfo(info)))
		if err != nil || again.pos != info.pos || again.flags != info.flags || again.mntID != info.mntID || again.ino != info.ino {
			t.Errorf("%+v became %+v, %v", info, again, err)
		}
		kindLines(t, info)
	})
}

// printFdinfo is the reverse of parseFdinfo, without the lines of a kind.
func printFdinfo(i *fdinfoText) string {
	return fmt.Sprintf("pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n", i.pos, i.flags, i.mntID, i.ino)
}

// kindLines parses the lines of each kind.
func kindLines(t *testing.T, info *fdinfoText) {
	t.Helper()
	for _, line := range info.locks {
		if l, err := parseLock(line); err == nil {
			if e := l.entry(1, 1); e.GetLen() < 0 || e.GetStart() < 0 {
				t.Errorf("lock %q became %v", line, e)
			}
		}
	}
	if watches, err := parseInotify(info.rest); err == nil {
		for _, w := range watches {
			if len(w.GetFHandle().GetHandle()) != handleWords {
				t.Errorf("a handle of %d words", len(w.GetFHandle().GetHandle()))
			}
		}
	}
	if timer, err := parseTimerfd(info.rest); err == nil {
		if timer.GetVnsec() >= nanosPerSecond || timer.GetInsec() >= nanosPerSecond {
			t.Errorf("got a timer of %v", timer)
		}
	}
	_, _ = parseEpoll(info.rest)
	_, _, _ = parseEventfd(info.rest)
	if n, err := ptyIndex(&descriptor{info: *info}); err == nil && n < 0 {
		t.Errorf("got terminal %d", n)
	}
}

// FuzzStat parses /proc/PID/stat.
func FuzzStat(f *testing.F) {
	f.Add([]byte("123 (a) b) c) S 1 123 100 34816 456 4194560 0"))
	f.Add([]byte("1 (x) S 0 1 1 0 -1 0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseTerminalStat(data)
		if err == nil && (unix.Major(s.terminal) > 0xfff || unix.Minor(s.terminal) > 0xfffff) {
			t.Errorf("got device %#x", s.terminal)
		}
	})
}

// FuzzUnixDiag parses answers of the kernel's socket monitor.
func FuzzUnixDiag(f *testing.F) {
	f.Add(unixDiagRequest())
	message := make([]byte, unix.NLMSG_HDRLEN+unixDiagMessageSize+12)
	binary.NativeEndian.PutUint32(message, uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], sockDiagByFamily)
	message[unix.NLMSG_HDRLEN] = unix.AF_UNIX
	binary.NativeEndian.PutUint16(message[unix.NLMSG_HDRLEN+unixDiagMessageSize:], 12)
	binary.NativeEndian.PutUint16(message[unix.NLMSG_HDRLEN+unixDiagMessageSize+2:], attrQueue)
	f.Add(message)
	f.Fuzz(func(_ *testing.T, data []byte) {
		l := unixListing{sockets: map[uint32]*unixSocket{}}
		_ = l.add(data)
	})
}

// FuzzInternetTable parses tables like /proc/net/tcp.
func FuzzInternetTable(f *testing.F) {
	f.Add([]byte("  0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n"), uint64(4711))
	f.Fuzz(func(t *testing.T, data []byte, ino uint64) {
		address, err := parseInternetTable(data, ino)
		if (address == "") != (err != nil) {
			t.Errorf("got %q and %v, want one of them", address, err)
		}
	})
}

func TestInternetAddress(t *testing.T) {
	table := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: %s %s 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"
	word := func(b ...byte) string { return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b)) }
	local, none := word(127, 0, 0, 1), word(0, 0, 0, 0)
	for _, test := range []struct{ local, remote, want string }{
		{local + ":0050", none + ":0000", "127.0.0.1:80"},
		{local + ":0050", local + ":FFFF", "127.0.0.1:80 to 127.0.0.1:65535"},
		{none + none + none + word(0, 0, 0, 1) + ":1F90", none + none + none + none + ":0000", "[::1]:8080"},
	} {
		got, err := parseInternetTable(fmt.Appendf(nil, table, test.local, test.remote), 4711)
		if err != nil || got != test.want {
			t.Errorf("got %q, %v, want %q", got, err, test.want)
		}
	}
}

// TestLockLines turns lines into entries and back into what fcntl takes.
func TestLockLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, math.MaxInt64-1).Draw(t, "start")
		end := rapid.Int64Range(start, math.MaxInt64-1).Draw(t, "end")
		last := fmt.Sprint(end)
		if rapid.Bool().Draw(t, "to the end") {
			last = "EOF"
		}
		sort := rapid.SampledFrom([]string{"POSIX ", "FLOCK ", "OFDLCK"}).Draw(t, "sort")
		access := rapid.SampledFrom([]string{"READ ", "WRITE"}).Draw(t, "access")
		l, err := parseLock(fmt.Sprintf("1: %s ADVISORY  %s 4711 00:1f:3 %d %s", sort, access, start, last))
		if err != nil {
			t.Fatal(err)
		}
		f := region(l.entry(1, 2))
		switch {
		case f.Start != start, last == "EOF" && f.Len != 0, last != "EOF" && f.Start+f.Len-1 != end:
			t.Errorf("from %d to %s became %+v", start, last, f)
		case (f.Type == unix.F_WRLCK) != (access == "WRITE"):
			t.Errorf("%s became %+v", access, f)
		}
	})
}

// TestHandles packs the bytes of file handles and unpacks them.
func TestHandles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, handleWords*8).Draw(t, "handle")
		words, err := handleOf(hex.EncodeToString(data))
		if err != nil {
			t.Fatal(err)
		}
		if got := handleBytes(words, len(data)); !slices.Equal(got, data) {
			t.Errorf("%x became %x", data, got)
		}
	})
}

// TestMountEscapes undoes what the kernel does to mount points.
func TestMountEscapes(t *testing.T) {
	escape := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.SampledFrom([]rune("a \t\n\\0134ä/"))).Draw(t, "name")
		if got := unescapeMount(escape.Replace(name)); got != name {
			t.Errorf("%q became %q", name, got)
		}
	})
}

// TestDevices encodes device numbers in the kernel's three ways.
func TestDevices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		major := rapid.Uint32Range(0, 0xfff).Draw(t, "major")
		minor := rapid.Uint32Range(0, 0xfffff).Draw(t, "minor")
		encoded := minor&0xff | major<<8 | minor&^0xff<<12 // new_encode_dev of linux/kdev_t.h.
		if got := decodeDevice(encoded); got != unix.Mkdev(major, minor) {
			t.Errorf("%d:%d became %d:%d", major, minor, unix.Major(got), unix.Minor(got))
		}
	})
}

// TestMode keeps how a terminal's characters are packed.
func TestTermios(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want unix.Termios
		want.Iflag, want.Cflag = rapid.Uint32().Draw(t, "iflag"), rapid.Uint32().Draw(t, "cflag")
		for i := range want.Cc {
			want.Cc[i] = rapid.Byte().Draw(t, "c")
		}
		if got := termiosOf(termiosEntry(&want)); *got != want {
			t.Errorf("%v became %v", want, *got)
		}
	})
}

// TestDescriptorPlan follows the calls of plans in a model of a descriptor table,
// and finds every file at its number.
func TestDescriptorPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, 60), 1, 40, rapid.ID).Draw(t, "numbers")
		var list []wanted
		for i, fd := range numbers {
			list = append(list, wanted{fd: fd, own: 1000 + i, cloexec: rapid.Bool().Draw(t, "cloexec")})
		}
		m := tableModel{}
		for _, c := range descriptorPlan(1, list) {
			if err := m.do(c); err != nil {
				t.Fatal(err)
			}
		}
		if len(m) != len(list) {
			t.Errorf("there are %d descriptors, want %d", len(m), len(list))
		}
		for _, w := range list {
			if got := m[w.fd]; got == nil || got.own != w.own || got.cloexec != w.cloexec {
				t.Errorf("descriptor %d is %+v, want %+v", w.fd, got, w)
			}
		}
	})
}

// tableModel is a process's descriptors: what each is of, and its flag.
type tableModel map[int]*wanted

func (m tableModel) lowest() int {
	for fd := 0; ; fd++ {
		if m[fd] == nil {
			return fd
		}
	}
}

// do makes one call in the model.
func (m tableModel) do(c remote.Call) error {
	fd := int(c.Args[0])
	switch c.Nr {
	case unix.SYS_PIDFD_OPEN:
		m[m.lowest()] = &wanted{own: -1, cloexec: true}
	case unix.SYS_PIDFD_GETFD:
		if m[fd] == nil || m[fd].own != -1 {
			return fmt.Errorf("%s: %d is not the restorer", c.Name, fd)
		}
		m[m.lowest()] = &wanted{own: int(c.Args[1]), cloexec: true}
	case unix.SYS_DUP3:
		if m[fd] == nil || c.Args[0] == c.Args[1] {
			return fmt.Errorf("%s: bad numbers %d and %d", c.Name, c.Args[0], c.Args[1])
		}
		m[int(c.Args[1])] = &wanted{own: m[fd].own, cloexec: c.Args[2] != 0}
	case unix.SYS_FCNTL:
		m[fd].cloexec = c.Args[2]&fdCloexec != 0
	case unix.SYS_CLOSE:
		if m[fd] == nil {
			return fmt.Errorf("%s: %d is not open", c.Name, fd)
		}
		delete(m, fd)
	default:
		return fmt.Errorf("%s: unexpected call %d", c.Name, c.Nr)
	}
	return nil
}

// TestLimitDescriptors is what crtime says when it has too few descriptors.
func TestHint(t *testing.T) {
	if got := hint(unix.EMFILE).Error(); !strings.Contains(got, "ulimit -n") {
		t.Errorf("got %q, want advice", got)
	}
	if got := hint(os.ErrNotExist); got != os.ErrNotExist { //nolint:errorlint // The very same is meant.
		t.Errorf("got %v, want it unchanged", got)
	}
}

// TestCopyOut looks at what is in pipes, written in different ways.
func TestCopyOut(t *testing.T) {
	full := strings.Repeat("x", 8192)
	for name, test := range map[string]struct {
		flags   int
		size    int
		written []string
		want    []string
		packets bool
	}{
		"nothing":                {0, 65536, nil, nil, false},
		"one write":              {0, 65536, []string{"a"}, []string{"a"}, false},
		"several writes":         {0, 65536, []string{"one", "two"}, []string{"onetwo"}, false},
		"full":                   {0, 8192, []string{full}, []string{full}, false},
		"one packet":             {unix.O_DIRECT, 65536, []string{"a"}, []string{"a"}, true},
		"two packets":            {unix.O_DIRECT, 65536, []string{"a", "bcd"}, []string{"a", "bcd"}, true},
		"packets up to the brim": {unix.O_DIRECT, 8192, []string{"a", "bcd"}, []string{"a", "bcd"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC|test.flags); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(p[0])
			defer unix.Close(p[1])
			if err := setPipeSize(p[1], test.size); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, text := range test.written {
				m, err := unix.Write(p[1], []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				n += m
			}
			for range 2 { // It takes nothing out.
				parts, packets, err := copyOut(p[0], test.size, n)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, part := range parts {
					got = append(got, string(part))
				}
				if !slices.Equal(got, test.want) || packets != test.packets {
					t.Errorf("got %q, packets %v", got, packets)
				}
			}
		})
	}
}
