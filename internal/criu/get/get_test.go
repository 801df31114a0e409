// SPDX-License-Identifier: Apache-2.0

package get

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestArchives checks what private-apt.sh makes of both formats of apt sources.
func TestArchives(t *testing.T) {
	for _, tt := range []struct {
		name, function, source string
		want                   []string // Lines of URI, tab, keyring.
	}{
		{
			name:     "list",
			function: "archives_in_list",
			source:   "# a comment\ndeb http://a.example/debian bookworm main contrib\ndeb-src http://a.example/debian bookworm main\n",
			want:     []string{"http://a.example/debian\t"},
		},
		{
			name:     "list with options",
			function: "archives_in_list",
			source:   "deb [arch=amd64 signed-by=/k/a.gpg] https://a.example/debian/ trixie main\ndeb [ signed-by=/k/b.gpg ]  http://b.example/x y z\n",
			want:     []string{"https://a.example/debian/\t/k/a.gpg", "http://b.example/x\t/k/b.gpg"},
		},
		{
			name:     "deb822",
			function: "archives_in_deb822",
			source:   "Types: deb\n# a comment\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\nSigned-By: /k/a.gpg\n\nTypes: deb\nURIs: http://a.example/debian-security\nSuites: bookworm-security\nSigned-By: /k/a.gpg\n",
			want:     []string{"http://a.example/debian\t/k/a.gpg", "http://a.example/debian-security\t/k/a.gpg"},
		},
		{
			name:     "deb822, several lines, no key, any case",
			function: "archives_in_deb822",
			source:   "types: deb deb-src\nuris: http://a.example/debian\n http://b.example/debian\nsuites: x\n",
			want:     []string{"http://a.example/debian\t", "http://b.example/debian\t"},
		},
		{
			name:     "deb822, sources only, and disabled",
			function: "archives_in_deb822",
			source:   "Types: deb-src\nURIs: http://a.example/debian\n\nEnabled: no\nTypes: deb\nURIs: http://b.example/debian\n\nTypes: deb\nURIs: http://c.example/debian\n",
			want:     []string{"http://c.example/debian\t"},
		},
		{
			name:     "deb822, key written out",
			function: "archives_in_deb822",
			source:   "Types: deb\nURIs: http://a.example/debian\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n /w==\n -----END PGP PUBLIC KEY BLOCK-----\n",
			want:     []string{"http://a.example/debian\t"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "source")
			write(t, file, tt.source, 0o600)
			out := run(t, exec.CommandContext(t.Context(), "bash", "-euc", `source ./private-apt.sh; "$0" "$1"`, tt.function, file))
			if want := strings.Join(tt.want, "\n") + "\n"; out != want {
				t.Errorf("%s:\n got %q\nwant %q", tt.function, out, want)
			}
		})
	}
}

// TestChoice checks which criu the script takes, among executables that only
// answer as a criu would.
func TestChoice(t *testing.T) {
	for _, tt := range []struct {
		name           string
		system, cached string // Versions; empty where there is none.
		failing        string // The version whose self-check fails.
		want           string // "system", "cached" or "fetch".
	}{
		{name: "new enough system", system: "4.2", cached: "4.2.1", want: "system"},
		{name: "newer system", system: "10.0", want: "system"},
		{name: "old system", system: "4.1.1", cached: "4.2.1", want: "cached"},
		{name: "system that fails its check", system: "4.3", failing: "4.3", cached: "4.2.1", want: "cached"},
		{name: "no system", cached: "4.2.1", want: "cached"},
		{name: "old system only", system: "3.17.1", want: "fetch"},
		{name: "cached copy broken", cached: "4.2.1", failing: "4.2.1", want: "fetch"},
		{name: "nothing", want: "fetch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlaces(t, "criu")
			standIn(t, p.system, tt.system, tt.failing)
			standIn(t, p.cached, tt.cached, tt.failing)
			p.check(t, tt.want)
		})
	}
}

// TestCrunChoice does for crun what TestChoice does for CRIU.
func TestCrunChoice(t *testing.T) {
	const (
		with    = "1.28\n+SECCOMP +CRIU +JSON_C"
		without = "1.28\n+SECCOMP +JSON_C"
		old     = "1.27\n+SECCOMP +CRIU +JSON_C"
	)
	for _, tt := range []struct {
		name           string
		system, cached string // Versions and features; empty where there is none.
		libcriu        string // Where there is one: "system", "cached" or both.
		want           string // "system", "cached" or "fetch".
	}{
		{name: "system", system: with, cached: with, libcriu: "system cached", want: "system"},
		{name: "system without libcriu", system: with, cached: with, libcriu: "cached", want: "cached"},
		{name: "system built without CRIU", system: without, cached: with, libcriu: "system cached", want: "cached"},
		{name: "old system", system: old, cached: with, libcriu: "system cached", want: "cached"},
		{name: "cached copy without libcriu", cached: with, libcriu: "system", want: "fetch"},
		{name: "nothing", want: "fetch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlaces(t, "crun")
			for path, version := range map[string]string{p.system: tt.system, p.cached: tt.cached} {
				if version != "" {
					write(t, path, "#!/bin/sh\necho 'crun version "+version+"'\n", 0o700)
				}
			}
			ldconfig := "#!/bin/sh\n"
			if strings.Contains(tt.libcriu, "system") {
				ldconfig += "echo 'libcriu.so.2 (libc6) => /usr/lib/libcriu.so.2'\n"
			}
			write(t, filepath.Join(filepath.Dir(p.system), "ldconfig"), ldconfig, 0o700)
			libraries := filepath.Join(filepath.Dir(p.cached), "root", "usr", "lib", triplet(t))
			write(t, filepath.Join(libraries, "libc.so.6"), "", 0o600)
			if strings.Contains(tt.libcriu, "cached") {
				write(t, filepath.Join(libraries, "libcriu.so.2"), "", 0o600)
			}
			p.check(t, tt.want)
		})
	}
}

// triplet is what the libraries' folder is called.
func triplet(t *testing.T) string {
	t.Helper()
	out := run(t, exec.CommandContext(t.Context(), "bash", "-euc", `source ./private-apt.sh; library_triplet`))
	return strings.TrimSpace(out)
}

// places is where a script looks for its program.
type places struct {
	program, dir   string
	system, cached string // Paths of the program.
}

func newPlaces(t *testing.T, program string) places {
	t.Helper()
	dir := t.TempDir()
	return places{
		program: program, dir: dir,
		system: filepath.Join(dir, "bin", program),
		cached: filepath.Join(dir, "cache", program, "current", program),
	}
}

// check runs the script, which is to print the path of one of the programs, or to fetch
// one. An apt-get that records its calls shows whether it would have gone to the network.
func (p places) check(t *testing.T, want string) {
	t.Helper()
	calls := filepath.Join(p.dir, "calls")
	write(t, filepath.Join(p.dir, "bin", "apt-get"), "#!/bin/sh\necho \"$@\" >>'"+calls+"'\nexit 1\n", 0o700)
	cmd := exec.CommandContext(t.Context(), "bash", "./get-"+p.program+".sh")
	cmd.Env = append(os.Environ(),
		"PATH="+filepath.Join(p.dir, "bin")+":/usr/bin:/bin",
		"CRTIME_CACHE="+filepath.Join(p.dir, "cache"),
		"CRTIME_MIRROR=http://archive.invalid/debian")
	if want == "fetch" {
		if out, err := cmd.Output(); err == nil || len(out) > 0 {
			t.Errorf("apt failed, but the script printed %q, error %v", out, err)
		}
	} else if got, path := strings.TrimSpace(run(t, cmd)), map[string]string{"system": p.system, "cached": p.cached}[want]; got != path {
		t.Errorf("printed %q, want %q", got, path)
	}
	_, err := os.Stat(calls)
	if fetched := err == nil; fetched != (want == "fetch") {
		t.Errorf("went to the network: %v", fetched)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "cache", p.program, ".new.*")); left != nil {
		t.Errorf("left behind %v", left)
	}
}

// standIn writes an executable that answers as the given version of CRIU
// would. It writes none if the version is empty.
func standIn(t *testing.T, path, version, failing string) {
	t.Helper()
	if version == "" {
		return
	}
	check := "exit 0"
	if version == failing {
		check = "echo some feature is missing; exit 1"
	}
	write(t, path, "#!/bin/sh\ncase $1 in --version) echo 'Version: "+version+"';; check) "+check+";; esac\n", 0o700)
}

// write writes a file and the folders above it.
func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatalf("folder of a test file: %v", err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatalf("test file: %v", err)
	}
}

// run returns the standard output of a command that must succeed.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.Bytes())
	}
	return string(out)
}
