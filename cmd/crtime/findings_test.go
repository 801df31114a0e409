// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/timens"
)

func TestMountedType(t *testing.T) {
	const root = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
	for _, tc := range []struct {
		name, mountinfo, want string
		fails                 bool
	}{
		{name: "nothing there", mountinfo: root},
		{name: "tmpfs", mountinfo: root + "23 22 0:21 / /run rw,nosuid shared:2 master:3 - tmpfs none rw,size=10m\n", want: "tmpfs"},
		{name: "a later mount covers it", mountinfo: "23 22 0:21 / /run rw - tmpfs none rw\n24 22 0:22 / /run rw - ext4 /dev/vdb rw\n", want: "ext4"},
		{name: "below it", mountinfo: root + "23 22 0:21 / /run/lock rw - tmpfs none rw\n"},
		{name: "cut off", mountinfo: "23 22 0:21 / /run rw", fails: true},
		{name: "no type", mountinfo: "23 22 0:21 / /run rw - ", fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := mountedType(strings.NewReader(tc.mountinfo), "/run")
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("got %q, %v; want %q, error %v", got, err, tc.want, tc.fails)
			}
		})
	}
}

func FuzzMountedType(f *testing.F) {
	f.Add("23 22 0:21 / /run rw,nosuid shared:2 - tmpfs none rw\n")
	f.Add(" - \n")
	f.Fuzz(func(t *testing.T, mountinfo string) {
		got, err := mountedType(strings.NewReader(mountinfo), "/run")
		if err == nil && got != "" && !strings.Contains(mountinfo, got) {
			t.Errorf("type %q is not in the input", got)
		}
	})
}

func TestParseCapabilities(t *testing.T) {
	const status = "Name:\tsh\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\nCapBnd:\t000001ffffffffff\n"
	set, err := parseCapabilities(strings.NewReader(status))
	if err != nil {
		t.Fatal(err)
	}
	if !set.has(capSysAdmin) || !set.has(capSysTime) || !set.has(capSysPtrace) || !set.has(capNetAdmin) {
		t.Errorf("%x lacks what it holds", set)
	}
	if set.has(capSysResource) {
		t.Errorf("%x has CAP_SYS_RESOURCE", set)
	}
	for _, bad := range []string{"", "CapPrm:\t0\n", "CapEff:\tzz\n", "CapEff:\n"} {
		if set, err := parseCapabilities(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: got %x, want an error", bad, set)
		}
	}
}

func FuzzParseCapabilities(f *testing.F) {
	f.Add("CapEff:\t000001fffeffffff\n")
	f.Fuzz(func(t *testing.T, status string) {
		set, err := parseCapabilities(strings.NewReader(status))
		if err != nil && set != 0 {
			t.Errorf("both a value %x and an error %v", set, err)
		}
	})
}

func TestSettle(t *testing.T) {
	f := finding{ID: "x", How: "get one"}
	for _, tc := range []struct {
		name string
		err  error
		want answer
		how  string
	}{
		{"works", nil, answerYes, ""},
		{"definite no", fmt.Errorf("around: %w", timens.ErrNotSupported), answerNo, "get one"},
		{"could not tell", errors.New("disk on fire"), answerUnknown, "get one"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := f.settle(tc.err, timens.ErrNotSupported, criu.ErrNotFound)
			if got.Answer != tc.want || got.How != tc.how {
				t.Errorf("got %q, %q; want %q, %q", got.Answer, got.How, tc.want, tc.how)
			}
		})
	}
}

func TestMPTCPFinding(t *testing.T) {
	for _, tc := range []struct {
		name string
		data string
		err  error
		want answer
	}{
		{"enabled", "1\n", nil, answerNo},
		{"switched off", "0\n", nil, answerYes},
		{"not in this kernel", "", fs.ErrNotExist, answerYes},
		{"not readable", "", fs.ErrPermission, answerUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := mptcpFinding(func(string) ([]byte, error) { return []byte(tc.data), tc.err })
			if got.Answer != tc.want {
				t.Errorf("got %q, want %q", got.Answer, tc.want)
			}
		})
	}
}

func TestFindingsAreExplained(t *testing.T) {
	ids := map[string]bool{}
	for _, f := range allFindings(t.Context(), "/no/such/criu") {
		if f.ID == "" || f.Name == "" || f.For == "" || ids[f.ID] {
			t.Errorf("finding %+v lacks a unique id, a name or a purpose", f)
		}
		ids[f.ID] = true
		if (f.Answer == answerYes) != (f.How == "") {
			t.Errorf("finding %s: answer %q with how %q", f.ID, f.Answer, f.How)
		}
	}
	if !ids["criu"] || !ids["cap-sys-resource"] || !ids["go-listeners"] {
		t.Errorf("known limits are not among the findings: %v", ids)
	}
}

func TestCheckText(t *testing.T) {
	golden(t, "check.txt", checkText(checkResult{Findings: []finding{
		finding{ID: "a", Name: "time namespaces", Needed: true, For: "giving a tree its own clocks", How: "Linux 5.6"}.settle(nil),
		{ID: "b", Name: "CRIU", Answer: answerNo, Needed: true, For: "everything", How: "install it"},
		{ID: "c", Name: "memory tracking", Answer: answerNo, For: "pre-dump", How: "another kernel"},
		{ID: "d", Name: "wall clock", Answer: answerUnknown, Detail: "no answer", For: "reboots", How: "run chrony"},
	}}))
}
