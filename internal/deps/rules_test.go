// SPDX-License-Identifier: Apache-2.0

package deps

import "testing"

// module is the path of this module; rules name its packages relative to it.
const module = "github.com/crtime/crtime/"

// rule forbids the packages that match From to reach those that match Forbid,
// directly or through others. A pattern is an import path, or one with "/..."
// at its end for it and all packages below; of the latter kind, those without
// a dot in the first element belong to this module. "..." alone is all of it.
type rule struct {
	From   []string
	Except []string // Packages that match From and yet may.
	Forbid []string
	Allow  []string // Packages that match Forbid and yet are allowed.
	Why    string
}

// rules are the dependency rules of crtime. They concern what ships: the
// imports of test files do not count.
func rules() []rule {
	return []rule{
		{
			From:   []string{"clockstate/...", "proto/..."},
			Forbid: []string{"..."},
			Allow:  []string{"clockstate/...", "proto/..."},
			Why:    "the clock model is pure, and can be used and tested without the rest of crtime",
		},
		{
			From:   []string{"clockstate/...", "proto/..."},
			Forbid: []string{"golang.org/x/sys/...", "go.uber.org/zap/...", "github.com/spf13/..."},
			Why:    "the clock model makes no system call, writes no log and knows no command line",
		},
		{
			From: []string{
				"internal/timens/...", "internal/hostclock/...", "internal/image/...", "internal/urgent/...",
				"internal/proc/...", "internal/engine/...", "internal/imported/...", "internal/archive/...",
			},
			Forbid: []string{"checkpoint/...", "restore/...", "cmd/...", "internal/criu/..."},
			Why:    "what talks to the kernel and to files serves every engine and every order of things, and knows none",
		},
		{
			From:   []string{"internal/criu/...", "internal/native/..."},
			Forbid: []string{"checkpoint/...", "restore/...", "cmd/..."},
			Why:    "an engine collects and rebuilds when it is told to; the order of things is not its business",
		},
		{
			From:   []string{"internal/criu/..."},
			Forbid: []string{"internal/native/..."},
			Why:    "a tree is dumped and restored by one engine, never by half of each",
		},
		{
			From:   []string{"internal/native/..."},
			Except: kits(),
			Forbid: []string{"internal/criu/..."},
			Why:    "a tree is dumped and restored by one engine, never by half of each",
		},
		{
			From:   []string{"..."},
			Except: []string{"internal/service/...", "cmd/...", "e2e/..."},
			Forbid: []string{"internal/service/..."},
			Why:    "clients are served from above; nothing below knows that there are any",
		},
		{
			From:   []string{"checkpoint/...", "restore/..."},
			Forbid: []string{"internal/choose/...", "internal/criu/...", "internal/native/..."},
			Why:    "the order of things does not know who does them; they meet in internal/engine",
		},
		{
			From:   []string{"internal/settings/..."},
			Forbid: []string{"checkpoint/...", "cmd/..."},
			Why:    "settings are values that the command fills options from; they do nothing themselves",
		},
		{
			From:   []string{"checkpoint/...", "restore/...", "internal/choose/..."},
			Forbid: []string{"internal/settings/...", "go.yaml.in/yaml/..."},
			Why:    "what a dump or a restore is to do it is told by its options; files and variables are for who speaks with clients",
		},
		{
			From:   []string{"checkpoint/..."},
			Forbid: []string{"restore/...", "cmd/..."},
			Why:    "dump and restore meet only in the images and in the packages below them",
		},
		{
			From:   []string{"restore/..."},
			Forbid: []string{"checkpoint/...", "cmd/..."},
			Why:    "dump and restore meet only in the images and in the packages below them",
		},
		{
			From:   []string{"..."},
			Except: []string{"cmd/...", "e2e/..."},
			Forbid: []string{"github.com/spf13/cobra/...", "github.com/spf13/pflag/...", "github.com/jedib0t/go-pretty/..."},
			Why:    "flags and printing belong to the command alone; a package returns values",
		},
		{
			From:   []string{"..."},
			Except: kits("e2e/..."),
			Forbid: kits("e2e/..."),
			Why:    "what ships does not depend on its tests",
		},
		{
			From:   []string{"..."},
			Except: kits("e2e/..."),
			Forbid: []string{"testing", "pgregory.net/rapid/...", "go.uber.org/goleak/...", "github.com/rogpeppe/go-internal/..."},
			Why:    "test libraries stay in test files",
		},
	}
}

// kits adds the packages that only tests import.
func kits(more ...string) []string {
	return append(more, "internal/testkit/...", "internal/native/nativetest/...")
}

// TestRules checks every rule on both architectures that crtime supports.
func TestRules(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			g := loadGraph(t, arch)
			for _, v := range violations(g, rules()) {
				t.Error(v)
			}
		})
	}
}

// TestNoC checks that no package of the shipped program is partly C, whatever
// CGO_ENABLED says: crtime is one static binary.
func TestNoC(t *testing.T) {
	for path, p := range loadGraph(t, "amd64") {
		if !p.Standard && len(p.CgoFiles) > 0 {
			t.Errorf("%s imports \"C\" in %v: crtime is built without a C compiler, into one static binary", path, p.CgoFiles)
		}
	}
}
