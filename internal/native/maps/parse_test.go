// SPDX-License-Identifier: Apache-2.0

package maps

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	const rest = "Size: 8 kB\nRss: 8 kB\nAnonymous: 4 kB\nSwap: 12 kB\nSwapPss: 12 kB\nLocked: 4 kB\nTHPeligible: 0\n"
	for _, test := range []struct {
		name, text string
		want       []VMA
	}{
		{"nothing", "", nil},
		{
			"a line of maps", "55d0c000-55d0e000 r-xp 00001000 fe:01 131 /usr/bin/a file\n",
			[]VMA{{Start: 0x55d0c000, End: 0x55d0e000, Perms: PermRead | PermExec, Offset: 0x1000, Major: 0xfe, Minor: 1, Inode: 131, Path: "/usr/bin/a file"}},
		},
		{
			"padded as the kernel pads", "7f00-7f01 rw-s 00000000 00:01 5                          /dev/zero (deleted)\n",
			[]VMA{{Start: 0x7f00, End: 0x7f01, Perms: PermRead | PermWrite | PermShared, Minor: 1, Inode: 5, Path: "/dev/zero", Deleted: true}},
		},
		{
			"no path, with and without the space", "1000-2000 ---p 00000000 00:00 0 \n2000-3000 ---p 00000000 00:00 0\n",
			[]VMA{{Start: 0x1000, End: 0x2000}, {Start: 0x2000, End: 0x3000}},
		},
		{
			"a newline in the name", "1000-2000 r--p 00000000 00:01 9 /tmp/a\\012b\n",
			[]VMA{{Start: 0x1000, End: 0x2000, Perms: PermRead, Minor: 1, Inode: 9, Path: "/tmp/a\nb"}},
		},
		{
			"the highest page", "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
			[]VMA{{Start: 0xffffffffff600000, End: 0xffffffffff601000, Perms: PermExec, Path: "[vsyscall]"}},
		},
		{
			"an entry of smaps", "1000-3000 rw-p 00000000 00:00 0 [heap]\n" + rest + "ProtectionKey:         3\nVmFlags: rd wr mr mw me ac zz \n",
			[]VMA{{
				Start: 0x1000, End: 0x3000, Perms: PermRead | PermWrite, Path: "[heap]", Rss: 8 << 10, Anonymous: 4 << 10, Swap: 12 << 10, Locked: 4 << 10,
				ProtectionKey: 3, Flags: FlagRead | FlagWrite | FlagMayRead | FlagMayWrite | FlagMayExec | FlagAccount, OtherFlags: "zz ",
			}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(test.text))
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "1000-2000 rw-p 00000000 00:00 0 \n"
	for name, text := range map[string]string{
		"a cut line":            good + "2000-3000 rw-p 000000",
		"a cut newline":         strings.TrimSuffix(good, "\n"),
		"a field first":         "Rss: 4 kB\n",
		"an empty line":         good + "\n",
		"no end":                "1000 rw-p 00000000 00:00 0 \n",
		"an empty mapping":      "1000-1000 rw-p 00000000 00:00 0 \n",
		"a backward mapping":    "2000-1000 rw-p 00000000 00:00 0 \n",
		"overlapping":           good + "1800-2800 rw-p 00000000 00:00 0 \n",
		"out of order":          "2000-3000 rw-p 00000000 00:00 0 \n" + good,
		"permissions too short": "1000-2000 rw- 00000000 00:00 0 \n",
		"permissions mixed up":  "1000-2000 wr-p 00000000 00:00 0 \n",
		"neither p nor s":       "1000-2000 rw-x 00000000 00:00 0 \n",
		"too large a number":    "10000000000000000-20000000000000000 rw-p 00000000 00:00 0 \n",
		"upper case":            "A000-B000 rw-p 00000000 00:00 0 \n",
		"no inode":              "1000-2000 rw-p 00000000 00:00 \n",
		"an inode with letters": "1000-2000 rw-p 00000000 00:00 1f \n",
		"too large an inode":    "1000-2000 rw-p 00000000 00:00 18446744073709551616 \n",
		"too large a device":    "1000-2000 rw-p 00000000 100000000:00 0 \n",
		"a size without kB":     good + "Rss: 4\n",
		"a size with a sign":    good + "Rss: -4 kB\n",
		"too large a size":      good + "Rss: 18014398509481984 kB\n",
		"a key with letters":    good + "ProtectionKey: x\n",
		"too large a key":       good + "ProtectionKey: 4294967296\n",
		"a field without colon": good + "Rss 4 kB\n",
		"a line without end":    good + strings.Repeat("x", longestLine),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Parse(strings.NewReader(text)); err == nil || got != nil {
				t.Errorf("got %+v, %v, want an error alone", got, err)
			}
		})
	}
}

// TestParseReader passes on what the reader says.
func TestParseReader(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("1000-2000 rw-p 00000000 00:00 0 \n1"), iotestErr{broken})
	if _, err := Parse(r); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

// TestFlagWords holds the words against the constants, which they must follow.
func TestFlagWords(t *testing.T) {
	if last := Flags(1) << (len(flagNames)/2 - 1); last != FlagMaybeGuard {
		t.Errorf("the words end with bit %#x, the constants with %#x", last, FlagMaybeGuard)
	}
	rapid.Check(t, func(t *rapid.T) {
		f := Flags(rapid.Uint64().Draw(t, "flags")) & (FlagMaybeGuard<<1 - 1)
		var v VMA
		v.parseFlags([]byte(" " + f.String() + " "))
		if v.Flags != f || v.OtherFlags != "" {
			t.Errorf("%q became %q and %q", f, v.Flags, v.OtherFlags)
		}
	})
}

func TestPerms(t *testing.T) {
	for p := range PermShared << 1 {
		text := p.String() + " "
		if got, rest, ok := parsePerms([]byte(text)); !ok || got != p || len(rest) != 0 {
			t.Errorf("%q is %q, %v", text, got, ok)
		}
	}
}

// TestReadLikeMaps compares the two files of this process that Parse reads.
func TestReadLikeMaps(t *testing.T) {
	// The heap may grow in between; then it settles.
	var got, want []VMA
	for range 10 {
		text, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		if want, err = Parse(bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if got, err = Read(os.Getpid()); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			v := &got[i]
			if v.Flags.Has(FlagRead) != (v.Perms&PermRead != 0) {
				t.Fatalf("%+v has permissions that contradict its flags", v)
			}
			if v.OtherFlags != "" {
				t.Fatalf("%+v has flags that are new: %q", v, v.OtherFlags)
			}
			*v = VMA{
				Start: v.Start, End: v.End, Perms: v.Perms, Offset: v.Offset, Major: v.Major, Minor: v.Minor,
				Inode: v.Inode, Path: v.Path, Deleted: v.Deleted,
			}
		}
		if reflect.DeepEqual(got, want) {
			return
		}
	}
	t.Errorf("smaps has\n%+v\nmaps has\n%+v", got, want)
}

func TestSpecial(t *testing.T) {
	for path, want := range map[string]bool{
		"[vdso]": true, "[vvar]": true, "[vvar_vclock]": true, "[vsyscall]": true, "[uprobes]": true,
		"[heap]": false, "[stack]": false, "[anon:x]": false, "": false, "/a": false,
	} {
		if v := (&VMA{Path: path}); v.Special() != want {
			t.Errorf("%q: %v", path, !want)
		}
		if v := (&VMA{Path: path, Inode: 1}); v.Special() {
			t.Errorf("a file called %q counts as the kernel's", path)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("1000-3000 rw-p 00000000 00:00 0 [heap]\nRss: 8 kB\nProtectionKey: 3\nVmFlags: rd wr zz \n"))
	f.Add([]byte("7f00-7f01 rw-s 00000000 00:01 5     /dev/zero (deleted)\n"))
	if text, err := os.ReadFile("/proc/self/smaps"); err == nil {
		f.Add(text[:min(len(text), 4096)])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := Parse(bytes.NewReader(text))
		if err != nil {
			if all != nil {
				t.Errorf("both %v and %v", all, err)
			}
			return
		}
		var end uint64
		for _, v := range all {
			if v.Start < end || v.Size() == 0 || v.End <= v.Start {
				t.Errorf("%+v comes behind %x", v, end)
			}
			end = v.End
		}
		if lines := bytes.Count(text, []byte("\n")); len(all) > lines {
			t.Errorf("%d mappings of %d lines", len(all), lines)
		}
	})
}
