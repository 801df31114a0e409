// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"regexp"
	"strings"
	"testing"
)

// guestTest is one test that ran in a guest.
type guestTest struct {
	name   string
	ending string // PASS, FAIL or SKIP; "" if it never ended.
	log    []string
}

func (g *guestTest) text() string { return strings.Join(g.log, "\n") }

// mark begins the lines of -test.v=test2json that are not the tests' own.
const mark = "\x16"

var (
	running = regexp.MustCompile(`^=== (?:RUN|CONT|NAME|PAUSE) +(\S*)$`)
	ended   = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+) \([\d.]+s\)$`)
)

// parseTests reads what a test binary prints with -test.v=test2json. Tests come
// in the order in which they began. Lines outside any test are under the name "".
func parseTests(output string) []*guestTest {
	found := []*guestTest{{}}
	byName := map[string]*guestTest{"": found[0]}
	current := found[0]
	enter := func(name string) *guestTest {
		if byName[name] == nil {
			byName[name] = &guestTest{name: name}
			found = append(found, byName[name])
		}
		return byName[name]
	}
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		// A test may have printed half a line before.
		own, event, marked := strings.Cut(line, mark)
		if !marked {
			current.log = append(current.log, line)
			continue
		}
		if own != "" {
			current.log = append(current.log, own)
		}
		if m := running.FindStringSubmatch(event); m != nil {
			current = enter(m[1])
		} else if m := ended.FindStringSubmatch(event); m != nil {
			current = enter(m[2])
			current.ending = m[1]
		}
	}
	return found
}

// report makes the tests of a guest subtests of t.
func report(t *testing.T, tests []*guestTest) {
	t.Helper()
	for _, test := range tests {
		if test.name == "" {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			log := test.text()
			switch test.ending {
			case "PASS":
			case "SKIP":
				t.Skip(strings.TrimSpace(log))
			case "FAIL":
				t.Error(log)
			default:
				t.Errorf("it did not end\n%s", log)
			}
		})
	}
}

func TestParseTests(t *testing.T) {
	const output = "before\n" +
		"\x16=== RUN   TestA\n    a_test.go:1: hello\n\x16=== RUN   TestA/one\nhalf\x16--- PASS: TestA/one (0.10s)\n" +
		"\x16=== NAME  TestA\n    a_test.go:2: bad\n\x16--- FAIL: TestA (1.00s)\n" +
		"\x16=== RUN   TestB\n    b_test.go:1: cannot\n\x16--- SKIP: TestB (0.00s)\n\x16=== RUN   TestC\n"
	got := parseTests(output)
	want := []struct{ name, ending, log string }{
		{"", "", "before"},
		{"TestA", "FAIL", "    a_test.go:1: hello|    a_test.go:2: bad"},
		{"TestA/one", "PASS", "half"},
		{"TestB", "SKIP", "    b_test.go:1: cannot"},
		{"TestC", "", ""},
	}
	if len(got) != len(want) {
		t.Fatalf("%d tests, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.name != w.name || g.ending != w.ending || strings.Join(g.log, "|") != w.log {
			t.Errorf("got %+v, want %+v", *g, w)
		}
	}
}
