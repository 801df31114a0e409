// SPDX-License-Identifier: Apache-2.0

package criucli

import (
	"errors"
	"math"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"
)

// options are all options of CRIU 4.2's dump and restore, as `criu --help` lists them.
func options() []option {
	return append(understood(), []option{
		{name: "leave-stopped", short: 's'},
		{name: "cpu-cap", kind: optional},
		{name: "weak-sysctls"},
		{name: "lazy-pages"},
		{name: "stream"},
		{name: "unprivileged"},
		{name: "allow-uprobes"},
		{name: "skip-in-flight"},
		{name: "ghost-fiemap"},
		{name: "action-script", kind: value},
		{name: "libdir", short: 'L', kind: value},
		{name: "force-irmap"},
		{name: "irmap-scan-path", kind: value},
		{name: "cgroup-root", kind: value},
		{name: "cgroup-props", kind: value},
		{name: "cgroup-props-file", kind: value},
		{name: "cgroup-dump-controller", kind: value},
		{name: "cgroup-yard", kind: value},
		{name: "lsm-profile", kind: value},
		{name: "lsm-mount-context", kind: value},
		{name: "skip-mnt", kind: value},
		{name: "enable-fs", kind: value},
		{name: "inherit-fd", kind: value},
		{name: "empty-ns", kind: value},
		{name: "join-ns", short: 'J', kind: value},
		{name: "file-validation", kind: value},
		{name: "skip-file-rwx-check"},
		{name: "log-pid"},
		{name: "display-stats"},
		{name: "page-server"},
		{name: "auto-dedup"},
		{name: "address", kind: value},
		{name: "port", kind: value},
		{name: "ps-socket", kind: value},
		{name: "status-fd", kind: value},
		{name: "tls-cacert", kind: value},
		{name: "tls-cacrl", kind: value},
		{name: "tls-cert", kind: value},
		{name: "tls-key", kind: value},
		{name: "tls"},
		{name: "tls-no-cn-verify"},
		{name: "ext-mount-map", short: 'M', kind: value},
		{name: "enable-external-sharing"},
		{name: "enable-external-masters"},
		{name: "veth-pair", kind: value},
	}...)
}

// understood are those that the RPC has a field for that crtime knows how to carry out,
// and those that are about the command itself.
func understood() []option {
	return []option{
		{name: "tree", short: 't', kind: value, set: func(c *Command, s string) error {
			n, err := number(s)
			if err != nil || n <= 0 || n > math.MaxInt32 {
				return errors.New("want the number of a process")
			}
			c.Options.Pid = proto.Int32(int32(n))
			return nil
		}},
		{name: "images-dir", short: 'D', kind: value, set: text(func(c *Command, s string) { c.ImagesDir = s })},
		{name: "work-dir", short: 'W', kind: value, set: text(func(c *Command, s string) { c.WorkDir = s })},
		{name: "log-file", short: 'o', kind: value, set: text(func(c *Command, s string) { c.Options.LogFile = proto.String(s) })},
		{name: "pidfile", kind: value, set: text(func(c *Command, s string) { c.PIDFile = s })},
		{name: "config", kind: value, set: text(func(c *Command, s string) { c.ConfigFile = s })},
		// The RPC has no word for this, and CRIU reads the files all the same.
		{name: "no-default-config", set: on(func(*Command) {})},
		{name: "verbosity", short: 'v', kind: optional, set: verbosity},
		{name: "restore-detached", short: 'd', set: on(func(c *Command) { c.Detached = true })},
		{name: "restore-sibling", short: 'S', set: on(func(c *Command) { c.Options.RstSibling = proto.Bool(true) })},
		{name: "leave-running", short: 'R', set: on(func(c *Command) { c.Options.LeaveRunning = proto.Bool(true) })},
		{name: "exec-cmd", set: on(func(*Command) {})}, // The command follows "--".
		{name: "tcp-established", set: on(func(c *Command) { c.Options.TcpEstablished = proto.Bool(true) })},
		{name: "tcp-close", set: on(func(c *Command) { c.Options.TcpClose = proto.Bool(true) })},
		{name: "shell-job", short: 'j', set: on(func(c *Command) { c.Options.ShellJob = proto.Bool(true) })},
		{name: "ext-unix-sk", short: 'x', kind: optional, set: extUnix},
		{name: "file-locks", short: 'l', set: on(func(c *Command) { c.Options.FileLocks = proto.Bool(true) })},
		{name: "link-remap", set: on(func(c *Command) { c.Options.LinkRemap = proto.Bool(true) })},
		{name: "evasive-devices", set: on(func(c *Command) { c.Options.EvasiveDevices = proto.Bool(true) })},
		{name: "mntns-compat-mode", set: on(func(c *Command) { c.Options.MntnsCompatMode = proto.Bool(true) })},
		{name: "track-mem", set: on(func(c *Command) { c.Options.TrackMem = proto.Bool(true) })},
		{name: "prev-images-dir", kind: value, set: text(func(c *Command, s string) { c.Options.ParentImg = proto.String(s) })},
		{name: "root", short: 'r', kind: value, set: text(func(c *Command, s string) { c.Options.Root = proto.String(s) })},
		{name: "external", kind: value, set: text(func(c *Command, s string) { c.Options.External = append(c.Options.External, s) })},
		{name: "freeze-cgroup", kind: value, set: text(func(c *Command, s string) { c.Options.FreezeCgroup = proto.String(s) })},
		{name: "ghost-limit", kind: value, set: ghostLimit},
		{name: "timeout", kind: value, set: timeout},
		{name: "manage-cgroups", kind: optional, set: manageCgroups},
		{name: "pre-dump-mode", kind: value, set: preDumpMode},
		{name: "network-lock", kind: value, set: networkLock},
	}
}

// text makes a setter of one that cannot fail.
func text(set func(*Command, string)) func(*Command, string) error {
	return func(c *Command, s string) error {
		set(c, s)
		return nil
	}
}

// on makes a setter of one that needs no value.
func on(set func(*Command)) func(*Command, string) error {
	return func(c *Command, _ string) error {
		set(c)
		return nil
	}
}

// verbosity is "", another v for each -v more, or a number.
func verbosity(c *Command, s string) error {
	level := int64(c.Options.GetLogLevel())
	if c.Options.LogLevel == nil {
		level = 0
	}
	switch {
	case s == "" || strings.Trim(s, "v") == "":
		level += int64(len(s)) + 1
	default:
		n, err := number(s)
		if err != nil || n < 0 {
			return errors.New("want a number from 0 to 4")
		}
		level = n
	}
	const most = 4
	c.Options.LogLevel = proto.Int32(int32(min(level, most)))
	return nil
}

// extUnix is the old option; with a number of an inode it is an external object.
func extUnix(c *Command, s string) error {
	c.Options.ExtUnixSk = proto.Bool(true)
	if s != "" {
		c.Options.External = append(c.Options.External, "unix["+s+"]")
	}
	return nil
}

func ghostLimit(c *Command, s string) error {
	digits, shift := s, 0
	for i, suffix := range []string{"K", "M", "G"} {
		if cut, ok := strings.CutSuffix(s, suffix); ok {
			const step = 10
			digits, shift = cut, step*(i+1)
		}
	}
	n, err := number(digits)
	if err != nil || n < 0 || n<<shift > math.MaxUint32 {
		return errors.New("want a number of bytes below 4G, such as 65536 or 1M")
	}
	c.Options.GhostLimit = proto.Uint32(uint32(n << shift))
	return nil
}

func timeout(c *Command, s string) error {
	n, err := number(s)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return errors.New("want a number of seconds")
	}
	c.Options.Timeout = proto.Uint32(uint32(n))
	return nil
}

func manageCgroups(c *Command, s string) error {
	modes := map[string]rpc.CriuCgMode{
		"": rpc.CriuCgMode_SOFT, "ignore": rpc.CriuCgMode_IGNORE, "none": rpc.CriuCgMode_CG_NONE,
		"props": rpc.CriuCgMode_PROPS, "soft": rpc.CriuCgMode_SOFT, "full": rpc.CriuCgMode_FULL, "strict": rpc.CriuCgMode_STRICT,
	}
	mode, ok := modes[s]
	if !ok {
		return errors.New("it is one of ignore, none, props, soft, full, strict")
	}
	c.Options.ManageCgroups, c.Options.ManageCgroupsMode = proto.Bool(true), mode.Enum()
	return nil
}

func preDumpMode(c *Command, s string) error {
	switch s {
	case "splice":
		c.Options.PreDumpMode = rpc.CriuPreDumpMode_SPLICE.Enum()
	case "read":
		c.Options.PreDumpMode = rpc.CriuPreDumpMode_VM_READ.Enum()
	default:
		return errors.New("it is one of splice, read")
	}
	return nil
}

func networkLock(c *Command, s string) error {
	switch s {
	case "iptables":
		c.Options.NetworkLock = rpc.CriuNetworkLockMethod_IPTABLES.Enum()
	case "nftables":
		c.Options.NetworkLock = rpc.CriuNetworkLockMethod_NFTABLES.Enum()
	case "skip":
		c.Options.NetworkLock = rpc.CriuNetworkLockMethod_SKIP.Enum()
	default:
		return errors.New("it is one of iptables, nftables, skip")
	}
	return nil
}
