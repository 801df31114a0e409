// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/imported"
	"github.com/crtime/crtime/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recorded is the record of one process.
func recorded() *clockstate.State {
	host := clockstate.Readings{Monotonic: 5e9, MonotonicRaw: 5e9, MonotonicCoarse: 5e9, Boottime: 7e9}
	const boot = "7d9f2f0e-0000-4000-8000-000000000001"
	return &clockstate.State{
		Format: clockstate.CurrentFormat(), ToolVersion: "v0.1.0", Engine: "criu", RootPID: 11,
		Host:         clockstate.Host{BootID: boot, Hostname: "alpha", KernelRelease: "6.12.1"},
		Freeze:       clockstate.HostReading{Readings: host, Realtime: 1e18, BootID: boot},
		FreezeSource: clockstate.FreezeWatched,
		Namespaces:   []clockstate.Namespace{{ID: 1}},
		Processes: []clockstate.Process{{
			PID: 1, OuterPID: 11, ParentPID: 10, Comm: "server", StartTime: 1, Threads: 1, Namespace: 1, NamespaceForChildren: 1, Readings: host,
		}},
	}
}

// own are the members of an archive that podman and crtime have made.
func own(t testing.TB) []testkit.Member {
	t.Helper()
	data, err := clockstate.Encode(recorded())
	must(t, err)
	dir := filepath.Join(t.TempDir(), "images")
	s, err := image.Stage(dir)
	must(t, err)
	must(t, s.WriteFile(clockstate.FileName, data))
	must(t, s.WriteFile("core-1.img", []byte("registers")))
	must(t, s.WriteFile("pages-1.img", bytes.Repeat([]byte("page"), 300)))
	must(t, s.WriteFile("descriptors.json", []byte("[]")))
	_, err = s.Commit()
	must(t, err)
	must(t, s.Close())
	members, err := testkit.Podman(dir)
	must(t, err)
	return members
}

// plain are those of one that podman and a plain CRIU have made.
func plain(t testing.TB) []testkit.Member {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "images")
	must(t, testkit.PlainTree().Write(dir))
	members, err := testkit.Podman(dir)
	must(t, err)
	// Podman moves the statistics.
	members[at(t, members, "checkpoint/stats-dump")].Name = "stats-dump"
	return members
}

// at is where a member is.
func at(t testing.TB, members []testkit.Member, name string) int {
	t.Helper()
	i := slices.IndexFunc(members, func(m testkit.Member) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no %s", name)
	}
	return i
}

// pack makes an archive.
func pack(t testing.TB, members []testkit.Member) []byte {
	t.Helper()
	data, err := testkit.Tar(members)
	must(t, err)
	return data
}

// unpack reads an archive.
func unpack(t testing.TB, data []byte) (*Archive, error) {
	t.Helper()
	a, err := Read(t.Context(), "x.tar", bytes.NewReader(data))
	if (a == nil) == (err == nil) {
		t.Errorf("got %v and %v", a, err)
	}
	if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Archive != "x.tar" || !strings.HasPrefix(err.Error(), "x.tar: ")) {
		t.Errorf("the error does not say of what: %v", err)
	}
	return a, err
}

func TestRead(t *testing.T) {
	packed := pack(t, own(t))
	for _, how := range []Compression{None, Gzip, Zstd} {
		t.Run(string(how), func(t *testing.T) {
			data, err := testkit.Compress(packed, string(how))
			must(t, err)
			a, err := Read(t.Context(), "x.tar", iotest.OneByteReader(bytes.NewReader(data)))
			must(t, err)
			want := Container{
				Name: "web", Image: "localhost/web:latest", ID: "4efacac0c81fdfe1722486626073100b13ad012147dce84525de9aab7e03f579",
				Runtime: "runc", Created: "2026-02-28T23:59:58Z", Engine: "Podman",
			}
			if a.Compression != how || *a.Container != want {
				t.Errorf("got %s, %+v", a.Compression, a.Container)
			}
			if len(a.Manifest) != 3 || a.State.Processes[0] != recorded().Processes[0] {
				t.Errorf("manifest %v, state %+v", a.Manifest, a.State)
			}
			s := a.Sizes
			if s.Archive != int64(len(data)) || s.Memory != 1200 || s.RootFSDiff != 3072 ||
				s.Images != a.Manifest.Bytes() || s.Checkpoint != s.Images+2+int64(len(a.Manifest.Encode())) {
				t.Errorf("sizes %+v", s)
			}
		})
	}
}

// TestReadPlain compares with what the same images give in a directory.
func TestReadPlain(t *testing.T) {
	members := plain(t)
	date := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	members[at(t, members, "checkpoint/timens-0.img")].Date = date
	a, err := unpack(t, pack(t, members))
	must(t, err)
	s := a.State
	if a.Manifest != nil || s.FreezeSource != clockstate.FreezeImported || len(s.Processes) != 2 || s.Processes[0].Comm != "server" {
		t.Errorf("got %+v of %v", s, a.Manifest)
	}
	if s.Freeze.Realtime != clockstate.Nanos(date.UnixNano()) || s.FreezeWindow != 20_500_000 {
		t.Errorf("frozen %v, within %v", s.Freeze.Realtime, s.FreezeWindow)
	}
}

func TestContainers(t *testing.T) {
	for _, tc := range []struct {
		name, spec string
		want       Container
	}{
		{
			"CRI-O", `{"annotations": {"io.container.manager": "cri-o", "io.kubernetes.cri-o.Created": "2026-01-02T03:04:05Z",
			"io.kubernetes.cri-o.Metadata": "{\"name\":\"c\",\"attempt\":1}", "io.kubernetes.pod.namespace": "ns", "io.kubernetes.pod.name": "p"}}`,
			Container{Name: "c", Created: "2026-01-02T03:04:05Z", Engine: "CRI-O", Namespace: "ns", Pod: "p"},
		},
		{"CRI-O without a name", `{"annotations": {"io.container.manager": "cri-o", "io.kubernetes.cri-o.Metadata": "{"}}`, Container{Name: "web", Engine: "CRI-O"}},
		{
			"containerd", `{"annotations": {"io.kubernetes.cri.container-name": "c", "io.kubernetes.cri.sandbox-namespace": "ns", "io.kubernetes.cri.sandbox-name": "p"}}`,
			Container{Name: "c", Created: "2026-02-28T23:59:58Z", Engine: "containerd", Namespace: "ns", Pod: "p"},
		},
		{"another", `{"annotations": {"io.container.manager": "other"}}`, Container{Name: "web", Created: "2026-02-28T23:59:58Z", Engine: "other"}},
		{"none", `{}`, Container{Name: "web", Created: "2026-02-28T23:59:58Z"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			members := own(t)
			members[at(t, members, specFile)].Data = []byte(tc.spec)
			a, err := unpack(t, pack(t, members))
			must(t, err)
			got := *a.Container
			got.Image, got.ID, got.Runtime = "", "", ""
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// TestWithoutContainer leaves out what is not needed.
func TestWithoutContainer(t *testing.T) {
	members := slices.DeleteFunc(own(t), func(m testkit.Member) bool { return strings.HasSuffix(m.Name, ".dump") })
	a, err := unpack(t, pack(t, members))
	must(t, err)
	if a.Container != nil {
		t.Errorf("got %+v", a.Container)
	}
}

// TestNames reads archives whose names begin as tar writes those of a folder.
func TestNames(t *testing.T) {
	members := own(t)
	for i, m := range members {
		members[i].Name = "./" + m.Name
	}
	_, err := unpack(t, pack(t, append([]testkit.Member{{Name: "./"}}, members...)))
	must(t, err)
}

func TestRefuses(t *testing.T) {
	const pages, clock = imagesFolder + "pages-1.img", imagesFolder + clockstate.FileName
	remove := func(t *testing.T, members []testkit.Member, name string) []testkit.Member {
		i := at(t, members, name)
		return slices.Delete(members, i, i+1)
	}
	with := func(more ...testkit.Member) func(*testing.T, []testkit.Member) []testkit.Member {
		return func(_ *testing.T, m []testkit.Member) []testkit.Member { return append(m, more...) }
	}
	set := func(name, data string) func(*testing.T, []testkit.Member) []testkit.Member {
		return func(t *testing.T, m []testkit.Member) []testkit.Member {
			m[at(t, m, name)].Data = []byte(data)
			return m
		}
	}
	without := func(name string) func(*testing.T, []testkit.Member) []testkit.Member {
		return func(t *testing.T, m []testkit.Member) []testkit.Member { return remove(t, m, name) }
	}
	for _, tc := range []struct {
		name   string
		harm   func(t *testing.T, m []testkit.Member) []testkit.Member
		want   error
		member string
	}{
		{"an image altered", set(pages, strings.Repeat("Page", 300)), image.ErrAltered, pages},
		{"an image cut", set(pages, "page"), image.ErrAltered, pages},
		{"an image missing", without(pages), image.ErrMissing, pages},
		{"an image too many", with(testkit.Member{Name: imagesFolder + "core-2.img"}), image.ErrAltered, imagesFolder + "core-2.img"},
		{"an image twice", with(testkit.Member{Name: pages}), image.ErrAltered, pages},
		{"an image by another name", with(testkit.Member{Name: "checkpoint/../" + pages}), image.ErrAltered, pages},
		{"a link as an image", with(testkit.Member{Name: imagesFolder + "a.img", Type: tar.TypeSymlink, Data: []byte("/etc/passwd")}), image.ErrAltered, imagesFolder + "a.img"},
		{"a link as the folder", with(testkit.Member{Name: "checkpoint", Type: tar.TypeSymlink, Data: []byte("/etc")}), image.ErrAltered, "checkpoint"},
		{"a link as config.dump", with(testkit.Member{Name: configFile, Type: tar.TypeLink, Data: []byte("x")}), image.ErrAltered, configFile},
		{"config.dump twice", with(testkit.Member{Name: configFile}), image.ErrAltered, configFile},
		{"a way out", with(testkit.Member{Name: "checkpoint/../../x"}), image.ErrAltered, "checkpoint/../../x"},
		{"a way to the root", with(testkit.Member{Name: "/x"}), image.ErrAltered, "/x"},
		{"a long name", with(testkit.Member{Name: imagesFolder + strings.Repeat("x", 256)}), image.ErrAltered, imagesFolder + strings.Repeat("x", 256)},
		{"the manifest altered", set(imagesFolder+image.FileManifest, "crtime-manifest 1\n"), image.ErrManifest, imagesFolder + image.FileManifest},
		{"no manifest", without(imagesFolder + image.FileManifest), image.ErrNoImages, ""},
		{"the clock image altered", set(clock, "x"), image.ErrAltered, clock},
		{"config.dump no JSON", set(configFile, "{"), image.ErrAltered, configFile},
		{"spec.dump no JSON", set(specFile, "[]"), image.ErrAltered, specFile},
		{"config.dump too large", set(configFile, strings.Repeat(" ", maxRecord+1)), ErrTooLarge, configFile},
		{"no checkpoint", func(*testing.T, []testkit.Member) []testkit.Member { return nil }, ErrNoCheckpoint, ""},
		{"a pre-checkpoint", func(*testing.T, []testkit.Member) []testkit.Member {
			return []testkit.Member{{Name: preFolder}, {Name: preFolder + "pages-1.img"}}
		}, ErrNoCheckpoint, ""},
		{"no images", func(_ *testing.T, m []testkit.Member) []testkit.Member {
			return slices.DeleteFunc(m, func(m testkit.Member) bool { return strings.HasPrefix(m.Name, imagesFolder) && m.Name != imagesFolder })
		}, image.ErrNoImages, ""},
		{"a pre-dump", func(_ *testing.T, m []testkit.Member) []testkit.Member {
			m = slices.DeleteFunc(m, func(m testkit.Member) bool { return strings.HasPrefix(m.Name, imagesFolder) })
			return append(m, testkit.Member{Name: imagesFolder + image.FileManifest, Data: image.Manifest{}.Encode()})
		}, ErrNoClocks, clock},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := unpack(t, pack(t, tc.harm(t, own(t))))
			if e, ok := errors.AsType[*Error](err); !errors.Is(err, tc.want) || !ok || e.Member != tc.member {
				t.Errorf("got %v, want %v about %q", err, tc.want, tc.member)
			}
		})
	}
}

func TestRefusesPlain(t *testing.T) {
	members := plain(t)
	i := at(t, members, "checkpoint/timens-0.img")
	_, err := unpack(t, pack(t, slices.Delete(slices.Clone(members), i, i+1)))
	if !errors.Is(err, ErrNoClocks) || !errors.Is(err, imported.ErrNoClocks) {
		t.Errorf("no clocks: %v", err)
	}
	members[at(t, members, "checkpoint/pstree.img")].Data = []byte("x")
	if _, err := unpack(t, pack(t, members)); !errors.Is(err, image.ErrAltered) || !strings.Contains(err.Error(), "checkpoint/pstree.img") {
		t.Errorf("damaged: %v", err)
	}
	i = at(t, members, "checkpoint/core-4711.img")
	if _, err := unpack(t, pack(t, slices.Insert(members, i, testkit.Member{Name: "checkpoint/core-9.img", Data: make([]byte, maxHeld)}))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestRefusesFormats(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		want       error
	}{
		{"nothing", "", ErrTruncated},
		{"less than a head", "\x1f", ErrTruncated},
		{"text", strings.Repeat("text ", 1000), ErrFormat},
		{"xz", "\xfd7zXZ\x00", ErrFormat},
		{"bzip2", "BZh91AY", ErrFormat},
		{"half of gzip", "\x1f\x8b", ErrTruncated},
		{"half of zstd", "\x28\xb5\x2f\xfd", ErrTruncated},
		{"a window of 3 TB", "\x28\xb5\x2f\xfd\x00\xff\x00\x00\x00", ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := unpack(t, []byte(tc.data)); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// TestRefusesSparse has a member claim to be larger than it is stored.
func TestRefusesSparse(t *testing.T) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	must(t, w.WriteHeader(&tar.Header{Name: "checkpoint/pages-1.img", Format: tar.FormatGNU}))
	must(t, w.Close())
	data := append(out.Bytes()[:tarBlock:tarBlock], make([]byte, 3*tarBlock)...)
	data[156] = tar.TypeGNUSparse
	copy(data[124:], "00000001000\x00")
	copy(data[386:], "00000000000\x0000000001000\x00")
	copy(data[483:], "77777777777\x00")
	copy(data[148:], "        ")
	sum := 0
	for _, b := range data[:tarBlock] {
		sum += int(b)
	}
	copy(data[148:], []byte{'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	if _, err := unpack(t, data); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "without its holes") {
		t.Errorf("got %v", err)
	}
}

// step is how far the tests that go through archives go at a time. An archive that is
// not compressed is large, and consists of whole blocks of few kinds of bytes.
func step(how string) int {
	if how == "none" {
		return 64
	}
	return 5
}

// TestCut cuts archives everywhere.
func TestCut(t *testing.T) {
	packed := pack(t, own(t))
	for _, how := range []string{"none", "gzip", "zstd"} {
		data, err := testkit.Compress(packed, how)
		must(t, err)
		for n := 0; n < len(data); n += step(how) {
			if _, err := unpack(t, data[:n]); !errors.Is(err, ErrTruncated) {
				t.Fatalf("%s of %d bytes cut to %d: %v", how, len(data), n, err)
			}
		}
	}
}

// TestAltered alters one byte after the other. In a compressed archive one that passes
// means nothing; in one that is not, it is in what has no checksum.
func TestAltered(t *testing.T) {
	members := own(t)
	packed := pack(t, members)
	want, err := unpack(t, packed)
	must(t, err)
	for _, how := range []string{"none", "gzip", "zstd"} {
		data, err := testkit.Compress(packed, how)
		must(t, err)
		for i := 0; i < len(data); i += step(how) {
			data[i] ^= 0x10
			a, err := unpack(t, data)
			data[i] ^= 0x10
			switch {
			case err != nil:
			case !slices.Equal(a.Manifest, want.Manifest):
				t.Errorf("%s: byte %d changes the manifest", how, i)
			case how != "none" && (!reflect.DeepEqual(a.State, want.State) || *a.Container != *want.Container):
				t.Errorf("%s: byte %d changes what is shown", how, i)
			}
		}
	}
}

func TestFollowed(t *testing.T) {
	packed := pack(t, own(t))
	_, err := unpack(t, append(slices.Clone(packed), make([]byte, 9*tarBlock)...))
	must(t, err)
	if _, err := unpack(t, append(packed, packed...)); !errors.Is(err, image.ErrAltered) || !strings.Contains(err.Error(), "behind rootfs-diff.tar") {
		t.Errorf("got %v", err)
	}
}

// TestSourceFails tells what is wrong with a disk from what is wrong with an archive.
func TestSourceFails(t *testing.T) {
	packed := pack(t, own(t))
	broken := errors.New("input/output error")
	for _, how := range []string{"none", "gzip", "zstd"} {
		data, err := testkit.Compress(packed, how)
		must(t, err)
		for _, n := range []int{0, 1, 5, len(data) / 2, len(data) - 1, len(data)} {
			r := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken))
			if _, err := Read(t.Context(), "x.tar", r); !errors.Is(err, broken) || errors.Is(err, image.ErrAltered) || errors.Is(err, ErrTruncated) {
				t.Errorf("%s after %d bytes: %v", how, n, err)
			}
		}
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tar")
	if _, err := Open(t.Context(), path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	must(t, os.WriteFile(path, pack(t, own(t)), 0o600))
	_, err := Open(t.Context(), path)
	must(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := Open(ctx, path); !errors.Is(err, stopped) {
		t.Errorf("stopped: %v", err)
	}
}

// TestOpenStopped ends the wait for somebody who writes nothing.
func TestOpenStopped(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, "/proc/self/fd/"+strconv.Itoa(int(r.Fd()))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// FuzzRead reads anything: what is accepted is valid, and every error is of a known kind.
func FuzzRead(f *testing.F) {
	for _, members := range [][]testkit.Member{own(f), plain(f), nil} {
		packed := pack(f, members)
		f.Add(packed)
		for _, how := range []string{"gzip", "zstd"} {
			data, err := testkit.Compress(packed, how)
			must(f, err)
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		a, err := Read(ctx, "x.tar", bytes.NewReader(data))
		if err != nil {
			if e, ok := errors.AsType[*Error](err); a != nil || !ok || e.Err == nil {
				t.Errorf("got %v and %v", a, err)
			}
			return
		}
		if err := a.State.Validate(); err != nil {
			t.Error(err)
		}
		if (a.Manifest == nil) != (a.State.FreezeSource == clockstate.FreezeImported) || a.Sizes.Archive != int64(len(data)) {
			t.Errorf("got %+v", a)
		}
	})
}
