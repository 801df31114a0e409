// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/crtime/crtime/clockstate"
)

func TestFlagValues(t *testing.T) {
	for _, tc := range []struct {
		name  string
		value pflag.Value
		in    string
		want  string // As String prints it; "!" for an error.
	}{
		{"pid", new(pidValue), "17", "17"},
		{"pid zero", new(pidValue), "0", "!"},
		{"pid negative", new(pidValue), "-3", "!"},
		{"pid too large", new(pidValue), "4294967297", "!"},
		{"pid word", new(pidValue), "init", "!"},
		{"size in bytes", new(sizeValue), "65536", "65536"},
		{"size with suffix", new(sizeValue), "2m", "2097152"},
		{"size too large", new(sizeValue), "4G", "!"},
		{"size negative", new(sizeValue), "-1", "!"},
		{"size without number", new(sizeValue), "K", "!"},
		{"timeout in seconds", new(timeoutValue), "90", "1m30s"},
		{"timeout with unit", new(timeoutValue), "1500ms", "1.5s"},
		{"timeout negative", new(timeoutValue), "-1s", "!"},
		{"timeout word", new(timeoutValue), "soon", "!"},
		{"lead auto", new(leadValue), "auto", "auto"},
		{"lead", new(leadValue), "250ms", "250ms"},
		{"lead zero", new(leadValue), "0s", "!"},
		{"lead without unit", new(leadValue), "250", "!"},
		{"policy", new(policyValue), "elapsed", "elapsed"},
		{"policy unknown", new(policyValue), "slow", "!"},
		{"cgroups", new(cgroupValue), "strict", "strict"},
		{"cgroups unknown", new(cgroupValue), "hard", "!"},
		{"verbosity", new(verbosityValue), "4", "4"},
		{"verbosity too loud", new(verbosityValue), "5", "!"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := "!"
			if err := tc.value.Set(tc.in); err == nil {
				got = tc.value.String()
			}
			if got != tc.want {
				t.Errorf("%q gives %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestSpellVerbosity(t *testing.T) {
	got := spellVerbosity([]string{"dump", "-v4", "-vv", "-D", "x", "--", "-v4"})
	want := []string{"dump", "--verbosity=4", "-vv", "-D", "x", "--", "-v4"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFormat(t *testing.T) {
	for _, tc := range []struct{ name, got, want string }{
		{"bytes", bytesText(1), "1 byte"},
		{"kibibytes", bytesText(128 << 10), "128.0 KiB"},
		{"tebibytes", bytesText(5000 << 40), "5000.0 TiB"},
		{"microseconds", roundTime(53_417), "53.4µs"},
		{"milliseconds", roundTime(12_345_678), "12.3ms"},
		{"seconds", roundTime(12_345_678_901), "12.3s"},
		{"negative", roundTime(-1_234_567), "-1.23ms"},
		{"hours", roundTime(7384 * second), "2h3m4s"},
		{"days", daysText(93_784*second + 5*millisecond), "1d 02:03:04.005"},
		{"below a day", daysText(59 * second), "00:00:59.000"},
		{"before boot", daysText(-second), "-00:00:01.000"},
		{"smallest", daysText(-1 << 63), "-106751d 23:47:16.854"},
		{"signed", signed(2 * second), "+2s"},
		{"wall clock", wallText(frozenAt), "2026-03-01 12:00:00.000 UTC"},
		{"no wall clock", wallText(0), "unknown"},
		{"plain name", commText("redis-server"), "redis-server"},
		{"name with control characters", commText("a\x1b[2J\n"), `"a\x1b[2J\n"`},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

func TestTimeoutIsADuration(t *testing.T) {
	var v timeoutValue
	if err := v.Set("2"); err != nil || time.Duration(v) != 2*time.Second {
		t.Errorf("got %v, %v", time.Duration(v), err)
	}
}

func TestCgroupModesMatchTheDefault(t *testing.T) {
	if !slices.Contains(cgroupModes(), "soft") {
		t.Error("--manage-cgroups without a mode stands for soft, which is none of the modes")
	}
}

func TestLocale(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  map[string]string
		want bool
	}{
		{"nothing set", nil, false},
		{"LANG", map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{"LC_ALL decides", map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, false},
		{"other spelling", map[string]string{"LC_CTYPE": "C.utf8"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := localeIsUTF8(func(n string) string { return tc.env[n] }); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestPlanText(t *testing.T) {
	for _, p := range clockstate.Policies() {
		golden(t, "plan-"+p.String()+".txt", planText(plannedRestore(t, p)))
	}
}
