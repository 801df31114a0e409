// SPDX-License-Identifier: Apache-2.0

package criucli

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"
)

func TestParse(t *testing.T) {
	opts := func(change func(*rpc.CriuOpts)) *rpc.CriuOpts {
		o := &rpc.CriuOpts{ImagesDirFd: proto.Int32(-1)}
		change(o)
		return o
	}
	tests := []struct {
		line string
		want Command
	}{
		{"dump -t 12 -D /images -o dump.log -v4 -j", Command{
			Name: "dump", ImagesDir: "/images",
			Options: opts(func(o *rpc.CriuOpts) {
				o.Pid, o.LogFile, o.LogLevel, o.ShellJob = proto.Int32(12), proto.String("dump.log"), proto.Int32(4), proto.Bool(true)
			}),
		}},
		// As zdtm writes it.
		{"dump --no-default-config -o dump.log -D d -v4 -t 5 --timeout 10 --pre-dump-mode splice", Command{
			Name: "dump", ImagesDir: "d",
			Options: opts(func(o *rpc.CriuOpts) {
				o.Pid, o.LogFile, o.LogLevel, o.Timeout = proto.Int32(5), proto.String("dump.log"), proto.Int32(4), proto.Uint32(10)
				o.PreDumpMode = rpc.CriuPreDumpMode_SPLICE.Enum()
			}),
		}},
		{"restore --restore-detached --pidfile=/run/p -SD . -vv", Command{
			Name: "restore", ImagesDir: ".", PIDFile: "/run/p", Detached: true,
			Options: opts(func(o *rpc.CriuOpts) { o.RstSibling, o.LogLevel = proto.Bool(true), proto.Int32(2) }),
		}},
		{"restore -d --exec-cmd --ext-unix-sk=77 -- /bin/supervise -x", Command{
			Name: "restore", Detached: true,
			Options: opts(func(o *rpc.CriuOpts) {
				o.ExtUnixSk, o.External, o.ExecCmd = proto.Bool(true), []string{"unix[77]"}, []string{"/bin/supervise", "-x"}
			}),
		}},
		{"dump -t 3 --lazy-pages --port 27 --action-script /a/b --no-tcp-established --manage-cgroups --ghost-limit 2M --freeze-cgroup /g", Command{
			Name: "dump", Config: []string{"lazy-pages", "port 27", "action-script /a/b"},
			Options: opts(func(o *rpc.CriuOpts) {
				o.Pid, o.ManageCgroups, o.ManageCgroupsMode = proto.Int32(3), proto.Bool(true), rpc.CriuCgMode_SOFT.Enum()
				o.GhostLimit, o.FreezeCgroup = proto.Uint32(2<<20), proto.String("/g")
			}),
		}},
	}
	for _, test := range tests {
		got, err := Parse(strings.Fields(test.line))
		if err != nil {
			t.Errorf("%s: %v", test.line, err)
			continue
		}
		if !proto.Equal(got.Options, test.want.Options) || !slices.Equal(got.Config, test.want.Config) {
			t.Errorf("%s: got %v and %q, want %v and %q", test.line, got.Options, got.Config, test.want.Options, test.want.Config)
		}
		got.Options, got.Config, test.want.Options, test.want.Config = nil, nil, nil, nil
		if got.Name != test.want.Name || got.ImagesDir != test.want.ImagesDir || got.PIDFile != test.want.PIDFile || got.Detached != test.want.Detached {
			t.Errorf("%s: got %+v, want %+v", test.line, got, test.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for line, word := range map[string]string{
		"":                             "what to do",
		"-v4":                          "what to do",
		"dump restore":                 "one argument too many",
		"dump --tree":                  "value of --tree is missing",
		"dump -t":                      "value of -t is missing",
		"dump -t 0":                    "number of a process",
		"dump --frobnicate":            "--frobnicate",
		"dump -q":                      "-q",
		"dump --leave-running=yes":     "takes no value",
		"dump --manage-cgroups=always": "soft",
		"dump --ghost-limit 4G":        "below 4G",
	} {
		if _, err := Parse(strings.Fields(line)); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want ErrUsage with %q", line, err, word)
		}
	}
}

// FuzzParse checks that whatever is accepted can be written into a config file, a line
// for each option.
func FuzzParse(f *testing.F) {
	f.Add("dump\x00-t\x0012\x00-v4")
	f.Add("restore\x00--action-script\x00a b")
	f.Fuzz(func(t *testing.T, line string) {
		c, err := Parse(strings.Split(line, "\x00"))
		if err != nil {
			return
		}
		for _, l := range c.Config {
			if strings.Contains(l, "\n") {
				t.Errorf("%q", l)
			}
		}
	})
}
