// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// lack is a feature that some kernels do not have, for tests that take it for
// granted on the kernel at hand.
type lack struct {
	since [2]int // The first version that has it.
	says  string // What a test without it says.
	why   string
}

// lacks are what the tests of packages were seen to miss. Numbers of calls are
// those of x86-64.
var lacks = []lack{
	{[2]int{6, 13}, "madvise 102: Invalid argument", "guard regions (MADV_GUARD_INSTALL) came with Linux 6.13"},
	{[2]int{6, 13}, "call 28 for pages", "guard regions (MADV_GUARD_INSTALL) came with Linux 6.13"},
	{[2]int{6, 13}, "install guards: invalid argument", "guard regions (MADV_GUARD_INSTALL) came with Linux 6.13"},
	{[2]int{6, 5}, "(counter:3$|semaphore: 1$) any more", "which eventfds are semaphores is told since Linux 6.5, so neither engine knows it"},
	{[2]int{6, 4}, `want a TargetError about "PR_SET_SYSCALL_USER_DISPATCH"`, "whose system calls become signals is told since Linux 6.4 (PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG)"},
	{[2]int{6, 11}, "flags 28: Invalid argument", "droppable memory (MAP_DROPPABLE) came with Linux 6.11"},
}

// excuse returns why a failed test may fail on a kernel; "" if it may not.
func excuse(release, log string) string {
	var version [2]int
	if _, err := fmt.Sscanf(release, "%d.%d", &version[0], &version[1]); err != nil {
		return ""
	}
	for _, l := range lacks {
		if strings.Contains(log, l.says) && slices.Compare(version[:], l.since[:]) < 0 {
			return l.why
		}
	}
	return ""
}

// excuseTests makes skipped tests of those failed ones that a kernel's lacks
// explain, and of those that have failed only because all that failed below them
// are such.
func excuseTests(release string, tests []*guestTest) {
	for _, test := range tests {
		if test.ending != "FAIL" {
			continue
		}
		if why := excuse(release, test.text()); why != "" {
			test.ending = "SKIP"
			test.log = append([]string{why + ":"}, test.log...)
		}
	}
	// The deepest first: a test comes before those below it.
	for _, test := range slices.Backward(tests) {
		below := func(other *guestTest, ending string) bool {
			return other.ending == ending && strings.HasPrefix(other.name, test.name+"/")
		}
		if test.ending == "FAIL" && strings.TrimSpace(test.text()) == "" &&
			slices.ContainsFunc(tests, func(o *guestTest) bool { return below(o, "SKIP") }) &&
			!slices.ContainsFunc(tests, func(o *guestTest) bool { return below(o, "FAIL") }) {
			test.ending = "PASS"
		}
	}
}

func TestExcuseTests(t *testing.T) {
	const output = "\x16=== RUN   TestA\n\x16=== RUN   TestA/guards\nmadvise 102: Invalid argument\n\x16--- FAIL: TestA/guards (0.00s)\n" +
		"\x16--- FAIL: TestA (0.00s)\n\x16=== RUN   TestB\n\x16=== RUN   TestB/wrong\nbad\n\x16--- FAIL: TestB/wrong (0.00s)\n\x16--- FAIL: TestB (0.00s)\n"
	for _, test := range []struct {
		release string
		want    []string
	}{
		{"6.12.117+deb13-cloud-amd64", []string{"", "PASS", "SKIP", "FAIL", "FAIL"}},
		{"6.13.0", []string{"", "FAIL", "FAIL", "FAIL", "FAIL"}},
		{"no version", []string{"", "FAIL", "FAIL", "FAIL", "FAIL"}},
	} {
		tests := parseTests(output)
		excuseTests(test.release, tests)
		var got []string
		for _, g := range tests {
			got = append(got, g.ending)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.release, got, test.want)
		}
	}
}
