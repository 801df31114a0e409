// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/choose"
	"github.com/crtime/crtime/restore"
)

// changed is the default with a change.
func changed(change func(*Settings)) Settings {
	s := Default()
	change(&s)
	return s
}

// everything is a value for every setting, none of them the default.
func everything() Settings {
	return Settings{
		Policy: clockstate.Elapsed, WallClock: restore.WallClockFail, Lead: 250 * time.Millisecond,
		Engine: "native", CRIU: "/opt/criu 4/criu",
	}
}

// words are the settings as a source spells them; lead "auto" is 0.
func words(s Settings) map[string]string {
	lead := "auto"
	if s.Lead > 0 {
		lead = s.Lead.String()
	}
	all := map[string]string{"policy": s.Policy.String(), "wall-clock": s.WallClock.String(), "lead": lead, "engine": s.Engine}
	if s.CRIU != "" {
		all["criu"] = s.CRIU
	}
	return all
}

// write makes a file that is readable by all.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// variables are an environment.
func variables(list map[string]string) func(string) string {
	return func(name string) string { return list[name] }
}

// outcome is settings, or an error that has all of these texts.
type outcome struct {
	settings Settings
	texts    []string
}

// check holds a result against what is wanted.
func check(t *testing.T, got Settings, err error, want outcome) {
	t.Helper()
	if len(want.texts) == 0 {
		if err != nil || got != want.settings {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want.settings)
		}
		return
	}
	if _, typed := errors.AsType[*Error](err); !typed || got != (Settings{}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, text := range want.texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
}

func TestDefaultIsValid(t *testing.T) {
	s := Default()
	if !(choose.Choice{Engine: s.Engine}).Valid() || s.Policy != clockstate.Suspend || s.WallClock != restore.WallClockWarn || s.Lead != 0 {
		t.Errorf("got %+v", s)
	}
}

// TestLoadOrder checks which source is over which.
func TestLoadOrder(t *testing.T) {
	const missing = "/nonexistent/crtime.yaml"
	file := write(t, "crtime.yaml", "policy: elapsed\nlead: 3s\n")
	other := write(t, "other.yaml", "engine: criu\n")
	tests := []struct {
		name string
		path string
		env  map[string]string
		want func(*Settings)
	}{
		{"nothing", missing, nil, func(*Settings) {}},
		{"file", file, nil, func(s *Settings) { s.Policy, s.Lead = clockstate.Elapsed, 3*time.Second }},
		{"environment over file", file, map[string]string{EnvPolicy: "freeze"}, func(s *Settings) { s.Policy, s.Lead = clockstate.Freeze, 3*time.Second }},
		{"environment alone", missing, map[string]string{"CRTIME_CRIU": "/x/criu"}, func(s *Settings) { s.CRIU = "/x/criu" }},
		{"another file", file, map[string]string{EnvConfig: other}, func(s *Settings) { s.Engine = "criu" }},
		{"empty variables", file, map[string]string{EnvConfig: "", EnvLead: ""}, func(s *Settings) { s.Policy, s.Lead = clockstate.Elapsed, 3*time.Second }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := load(variables(tt.env), tt.path)
			check(t, got, err, outcome{changed(tt.want), nil})
		})
	}
}

// TestLoadMissing checks that a file which was named has to be there.
func TestLoadMissing(t *testing.T) {
	got, err := load(variables(map[string]string{EnvConfig: "/nonexistent/crtime.yaml"}), DefaultPath)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent/crtime.yaml") || got != (Settings{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestEnvironment(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, variable, value string
		want                  func(*Settings)
		err                   []string
	}{
		{"policy", EnvPolicy, "host", func(s *Settings) { s.Policy = clockstate.FollowHost }, nil},
		{"wall clock", EnvWallClock, "wait", func(s *Settings) { s.WallClock = restore.WallClockWait }, nil},
		{"lead", EnvLead, "auto", func(*Settings) {}, nil},
		{"engine", EnvEngine, "native", func(s *Settings) { s.Engine = "native" }, nil},
		{"criu from here", "CRTIME_CRIU", "./criu", func(s *Settings) { s.CRIU = filepath.Join(here, "criu") }, nil},
		{"unknown policy", EnvPolicy, "slow", nil, []string{`CRTIME_POLICY: policy: "slow" is not allowed: want suspend, freeze, elapsed or host`}},
		{"unknown wall clock", EnvWallClock, "ignore", nil, []string{EnvWallClock, "want warn, wait or fail"}},
		{"negative lead", EnvLead, "-3s", nil, []string{EnvLead, "want auto, or a time"}},
		{"unknown engine", EnvEngine, "Native", nil, []string{EnvEngine, `"Native"`, "want auto, native or criu"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := fromEnvironment(variables(map[string]string{tt.variable: tt.value}), Default())
			want := Settings{}
			if tt.want != nil {
				want = changed(tt.want)
			}
			check(t, got, err, outcome{want, tt.err})
		})
	}
}

func TestYAML(t *testing.T) {
	tests := []struct {
		name, text string
		want       Settings
		err        []string
	}{
		{"empty", "", Default(), nil},
		{"comments", "# nothing\n", Default(), nil},
		{"document without content", "---\n", Default(), nil},
		{"null", "null\n", Default(), nil},
		{"all", "policy: elapsed\nwall-clock: fail\nlead: 250ms\nengine: native\ncriu: /opt/criu 4/criu\n", everything(), nil},
		{"quoted", `{"policy": 'host'}`, changed(func(s *Settings) { s.Policy = clockstate.FollowHost }), nil},
		{"unknown setting", "policy: host\npolcy: host\n", Settings{}, []string{"crtime.yaml:2: there is no setting \"polcy\": want policy, wall-clock, lead, engine or criu"}},
		{"unknown value", "\npolicy: slow\n", Settings{}, []string{"crtime.yaml:2: policy: \"slow\" is not allowed: want suspend, freeze, elapsed or host"}},
		{"wrong case", "policy: Suspend\n", Settings{}, []string{`"Suspend" is not allowed`}},
		{"no value", "lead:\n", Settings{}, []string{"crtime.yaml:1: lead: it is empty: want auto"}},
		{"empty value", "lead: ''\n", Settings{}, []string{"crtime.yaml:1: lead: the value is missing: want auto"}},
		{"number", "lead: 250\n", Settings{}, []string{"crtime.yaml:1: lead: it is a number: want auto, or a time such as 250ms"}},
		{"truth", "engine: true\n", Settings{}, []string{"it is a truth value: want auto, native or criu"}},
		{"list", "engine: [native, criu]\n", Settings{}, []string{"engine: it is a list"}},
		{"mapping", "criu:\n  path: /x\n", Settings{}, []string{"crtime.yaml:1: criu: it is a mapping"}},
		{"date", "lead: 2026-03-01\n", Settings{}, []string{"it is of type !!timestamp"}},
		{"tag", "policy: !own host\n", Settings{}, []string{"it is of type !own"}},
		{"alias", "criu: &policy /x\npolicy: *policy\n", Settings{}, []string{"crtime.yaml:2: policy: it is an alias"}},
		{"alias for a name", "criu: &policy /x\n*policy : host\n", Settings{}, []string{"crtime.yaml:2: the name of a setting is missing"}},
		{"merge", "<<: {policy: host}\n", Settings{}, []string{"crtime.yaml:1: the name of a setting is missing"}},
		{"name that is no text", "1: host\n", Settings{}, []string{"the name of a setting is missing"}},
		{"relative path", "criu: bin/criu\n", Settings{}, []string{"criu: \"bin/criu\" is not allowed: want the absolute path"}},
		{"twice", "policy: host\nlead: 1s\npolicy: host\n", Settings{}, []string{"crtime.yaml:3: policy: given twice, first in line 1"}},
		{"no mapping", "policy elapsed\n", Settings{}, []string{"crtime.yaml:1: it is a text: want lines such as 'policy: elapsed'"}},
		{"list of settings", "- policy: host\n", Settings{}, []string{"crtime.yaml:1: it is a list"}},
		{"two documents", "policy: host\n---\npolicy: freeze\n", Settings{}, []string{"crtime.yaml:2: a second document"}},
		{"syntax", "policy: host\n\tlead: x\n", Settings{}, []string{"crtime.yaml: yaml: line 2"}},
		{"syntax after a document", "policy: host\n---\n\"\n", Settings{}, []string{"crtime.yaml: yaml: line"}},
		{"not text", "\xff\xfe\x00", Settings{}, []string{"crtime.yaml: yaml:"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseYAML("crtime.yaml", []byte(tt.text), Default())
			check(t, got, err, outcome{tt.want, tt.err})
		})
	}
}

func TestDirectives(t *testing.T) {
	tests := []struct {
		name, text string
		want       Settings
		err        []string
	}{
		{"empty", "", Default(), nil},
		{"options and comments of CRIU", "tcp-established\n# a comment\nlog-file x # crtime: policy host\n##crtime: policy host\n", Default(), nil},
		{"other writing", "# Crtime: policy host\n# crtime policy host\n#\n", Default(), nil},
		{"all", "tcp-close\n# crtime: policy elapsed\n#crtime:wall-clock fail\n \t#\t crtime:\tlead\t250ms \r\n# crtime: engine native\n# crtime: criu /opt/criu 4/criu", everything(), nil},
		{"unknown setting", "\n# crtime: polcy elapsed\n", Settings{}, []string{"runc.conf:2: there is no setting \"polcy\": want policy, wall-clock, lead, engine or criu"}},
		{"as in YAML", "# crtime: policy: elapsed\n", Settings{}, []string{"runc.conf:1: there is no setting \"policy:\""}},
		{"unknown value", "# crtime: wall-clock ignore\n", Settings{}, []string{"runc.conf:1: wall-clock: \"ignore\" is not allowed: want warn, wait or fail"}},
		{"two values", "# crtime: policy elapsed freeze\n", Settings{}, []string{`"elapsed freeze" is not allowed`}},
		{"no value", "# crtime: lead \n", Settings{}, []string{"runc.conf:1: lead: the value is missing: want auto"}},
		{"no name", "# crtime:\n", Settings{}, []string{"runc.conf:1: the name of a setting is missing: want policy"}},
		{"relative path", "# crtime: criu ./criu\n", Settings{}, []string{"want the absolute path"}},
		{"twice", "# crtime: policy host\n\n# crtime: policy host\n", Settings{}, []string{"runc.conf:3: policy: given twice, first in line 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseDirectives("runc.conf", []byte(tt.text), Default())
			check(t, got, err, outcome{tt.want, tt.err})
		})
	}
}

// TestWithConfigFile checks that directives are over what was there, and that a file
// which is not there is passed over, as CRIU does.
func TestWithConfigFile(t *testing.T) {
	path := write(t, "runc.conf", "tcp-established\n# crtime: policy freeze\n")
	got, err := everything().WithConfigFile(path)
	want := everything()
	want.Policy = clockstate.Freeze
	check(t, got, err, outcome{want, nil})
	for _, path := range []string{"", "/nonexistent/runc.conf"} {
		got, err := everything().WithConfigFile(path)
		check(t, got, err, outcome{everything(), nil})
	}
	got, err = everything().WithConfigFile(write(t, "bad.conf", "# crtime: policy slow\n"))
	check(t, got, err, outcome{Settings{}, []string{"bad.conf:1: policy"}})
}

// TestUntrusted checks who may have written a file, for both kinds.
func TestUntrusted(t *testing.T) {
	const nobody = 65534
	tests := []struct {
		name   string
		change func(path string) error
		want   error
		text   string
		root   bool // Only root can make the change.
	}{
		{"of the caller", func(string) error { return nil }, nil, "", false},
		{"of another group", func(path string) error { return os.Chown(path, -1, nobody) }, nil, "", true},
		{"of another user", func(path string) error { return os.Chown(path, nobody, -1) }, ErrUntrusted, "belongs to user 65534", true},
		{"writable by the group", func(path string) error { return os.Chmod(path, 0o664) }, ErrUntrusted, "mode is 0664", false},
		{"writable by all", func(path string) error { return os.Chmod(path, 0o602) }, ErrUntrusted, "mode is 0602", false},
		{"directory", func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, errNoFile, "", false},
		{"FIFO", func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) }, errNoFile, "", false},
		{"device", func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)) }, errNoFile, "", false},
		{"link to one of all", func(path string) error {
			return errors.Join(os.Rename(path, path+".real"), os.Chmod(path+".real", 0o666), os.Symlink(path+".real", path))
		}, ErrUntrusted, "mode is 0666", false},
		{"link to a good one", func(path string) error {
			return errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path))
		}, nil, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			path := write(t, "file", "# crtime: policy host\n")
			if err := tt.change(path); err != nil {
				t.Fatal(err)
			}
			_, loaded := load(variables(map[string]string{EnvConfig: path}), DefaultPath)
			_, directed := Default().WithConfigFile(path)
			for _, err := range []error{loaded, directed} {
				named := err == nil || strings.Contains(err.Error(), path) && strings.Contains(err.Error(), tt.text)
				if !errors.Is(err, tt.want) || !named {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	_, err := Default().WithConfigFile(write(t, "large", strings.Repeat("#\n", mostBytes/2)+"#"))
	if err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
	if _, err := Default().WithConfigFile(write(t, "full", strings.Repeat("#\n", mostBytes/2))); err != nil {
		t.Error(err)
	}
}

// TestDocumented checks that docs/settings.md names everything, and that its examples
// say what they mean.
func TestDocumented(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "settings.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, k := range keys() {
		for _, want := range []string{"| `" + k.name + "` | `" + k.env + "` |", "\n" + k.name + ": ", "# crtime: " + k.name + " "} {
			if !strings.Contains(text, want) {
				t.Errorf("docs/settings.md lacks %q", want)
			}
		}
	}
	for _, want := range []string{DefaultPath, EnvConfig} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/settings.md lacks %q", want)
		}
	}
	for _, example := range []struct {
		fence string
		parse func(string, []byte, Settings) (Settings, error)
	}{{"```yaml\n", parseYAML}, {"```conf\n", parseDirectives}} {
		_, rest, found := strings.Cut(text, example.fence)
		block, _, closed := strings.Cut(rest, "\n```")
		got, err := example.parse("docs/settings.md", []byte(block), Default())
		if !found || !closed || err != nil || got == Default() {
			t.Errorf("the example after %q gives %+v, %v", example.fence, got, err)
		}
	}
}

// draw makes settings that can be written in any source.
func draw(t *rapid.T) Settings {
	return Settings{
		Policy:    rapid.SampledFrom(clockstate.Policies()).Draw(t, "policy"),
		WallClock: restore.WallClock(rapid.IntRange(0, 2).Draw(t, "wall clock")),
		Lead:      time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "lead")),
		Engine:    rapid.SampledFrom(choose.Names()).Draw(t, "engine"),
		CRIU:      rapid.SampledFrom([]string{"/x", "/usr/sbin/criu", "/a b/c#d: e"}).Draw(t, "criu"),
	}
}

// TestSourcesAgree checks that what can be said in one source can be said in each, and
// overrules whatever was there.
func TestSourcesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, want := draw(t), draw(t)
		var inYAML, directives strings.Builder
		env := map[string]string{}
		for name, value := range words(want) {
			fmt.Fprintf(&inYAML, "%s: %q\n", name, value)
			fmt.Fprintf(&directives, "option\n# crtime: %s %s\n", name, value)
			k, err := find(name)
			if err != nil {
				t.Fatal(err)
			}
			env[k.env] = value
		}
		fromYAML, err1 := parseYAML("", []byte(inYAML.String()), before)
		fromDirectives, err2 := parseDirectives("", []byte(directives.String()), before)
		fromEnv, err3 := fromEnvironment(variables(env), before)
		for _, got := range []Settings{fromYAML, fromDirectives, fromEnv} {
			if got != want {
				t.Fatalf("got %+v, want %+v (%v)", got, want, errors.Join(err1, err2, err3))
			}
		}
	})
}

// sound checks what holds of every result: settings that can be used, or a typed
// error and none.
func sound(t *testing.T, s Settings, err error) {
	t.Helper()
	if err != nil {
		if _, typed := errors.AsType[*Error](err); !typed || s != (Settings{}) || err.Error() == "" {
			t.Fatalf("settings %+v and error %v", s, err)
		}
		return
	}
	_, policyErr := s.Policy.MarshalText()
	_, wallErr := restore.ParseWallClock(s.WallClock.String())
	if policyErr != nil || wallErr != nil || s.Lead < 0 || !(choose.Choice{Engine: s.Engine}).Valid() || s.CRIU != "" && !filepath.IsAbs(s.CRIU) {
		t.Fatalf("settings %+v", s)
	}
}

func FuzzYAML(f *testing.F) {
	for _, text := range []string{"", "policy: elapsed\nlead: 250ms\n", "criu: &a /x\npolicy: *a\n", "{engine: native", "---\n---\n", "? [a]\n: b\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseYAML("crtime.yaml", data, Default())
		sound(t, s, err)
	})
}

func FuzzDirectives(f *testing.F) {
	for _, text := range []string{"", "tcp-close\n# crtime: policy elapsed\n", "#crtime:lead auto\r\n", "# crtime:", "# crtime: criu /a b"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseDirectives("runc.conf", data, Default())
		sound(t, s, err)
		if err != nil {
			return
		}
		// Lines of CRIU's change nothing.
		again, err := parseDirectives("runc.conf", append([]byte("tcp-close\n#\n"), data...), Default())
		if err != nil || again != s {
			t.Errorf("got %+v, %v, without other lines %+v", again, err, s)
		}
	})
}
