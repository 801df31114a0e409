// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/native"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/timens"
)

// allFindings makes every check, in the order in which they are shown.
func allFindings(ctx context.Context, criuPath string) []finding {
	var out []finding
	out = append(out, namespaceFindings()...)
	out = append(out, capabilityFindings()...)
	out = append(out, engineFindings(ctx, criuPath)...)
	return append(out, mptcpFinding(os.ReadFile), wallClockFinding())
}

// settle fills in the answer that an error stands for: none is yes, a definite
// refusal is no, anything else is unknown.
func (f finding) settle(err error, definite ...error) finding {
	if err == nil {
		f.Answer, f.How = answerYes, ""
		return f
	}
	f.Answer, f.Detail = answerUnknown, oneLine(err)
	for _, d := range definite {
		if errors.Is(err, d) {
			// How says the rest.
			f.Answer, f.Detail = answerNo, d.Error()
		}
	}
	return f
}

// oneLine is an error without its line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// namespaceFindings try the kernel's time namespaces.
func namespaceFindings() []finding {
	// An error stands in the features too.
	s, _ := timens.Probe()
	const newer = "Linux 5.6 or later with CONFIG_TIME_NS"
	either := finding{
		ID: "time-namespace-create", Name: "time namespaces can be made with chosen clocks", Needed: true,
		For: "restore", How: "run as root (CAP_SYS_ADMIN, CAP_SYS_TIME) on " + newer,
	}
	if s.CanCreate() {
		either = either.settle(nil)
	} else {
		either = either.settle(errors.Join(s.Clone3.Err, s.Unshare.Err), timens.ErrNotSupported, timens.ErrPrivilege)
	}
	out := []finding{
		finding{
			ID: "time-namespaces", Name: "time namespaces", Needed: true,
			For: "giving a restored tree clocks of its own", How: newer,
		}.settle(s.Namespaces.Err, timens.ErrNotSupported),
		either,
	}
	for _, f := range []struct {
		finding
		feature timens.Feature
	}{
		{finding{
			ID: "clone3-offsets", Name: "... by clone3, clocks chosen before the program starts",
			For: "the fast way of making them", How: "a kernel later than 6.1 (6.12 and 6.18 have it); without it crtime uses unshare",
		}, s.Clone3},
		{finding{
			ID: "unshare-offsets", Name: "... by unshare",
			For: "kernels where clone3 cannot do it", How: newer,
		}, s.Unshare},
		{finding{
			ID: "setns", Name: "existing time namespaces can be entered",
			For: "'crtime exec'", How: "run as root (CAP_SYS_ADMIN)",
		}, s.Setns},
		{finding{
			ID: "set-tid", Name: "a process number can be chosen", Needed: true,
			For: "restored processes, which keep their numbers", How: "Linux 5.5 or later, and root (or CAP_CHECKPOINT_RESTORE)",
		}, s.SetTID},
	} {
		out = append(out, f.settle(f.feature.Err, timens.ErrNotSupported, timens.ErrPrivilege))
	}
	return out
}

// capabilityFindings look at this process's privileges.
func capabilityFindings() []finding {
	set, err := ownCapabilities()
	var out []finding
	for _, c := range []struct {
		finding
		capability
	}{
		{finding{ID: "cap-sys-admin", Name: "CAP_SYS_ADMIN", Needed: true, For: "dump and restore", How: "run as root"}, capSysAdmin},
		{finding{ID: "cap-sys-ptrace", Name: "CAP_SYS_PTRACE", Needed: true, For: "stopping and reading processes", How: "run as root"}, capSysPtrace},
		{finding{ID: "cap-sys-time", Name: "CAP_SYS_TIME", Needed: true, For: "setting the clocks of a new time namespace", How: "run as root"}, capSysTime},
		{finding{ID: "cap-net-admin", Name: "CAP_NET_ADMIN", For: "established TCP connections (--tcp-established)", How: "run as root"}, capNetAdmin},
		{finding{
			ID: "cap-sys-resource", Name: "CAP_SYS_RESOURCE", For: "processes of other users (postgres, workers of nginx) through CRIU, which reads their limits",
			How: "give it to crtime; containers and some virtual machines withhold it from root",
		}, capSysResource},
	} {
		f := c.settle(err)
		if err == nil && !set.has(c.capability) {
			f.Answer, f.How = answerNo, c.How
		}
		out = append(out, f)
	}
	return out
}

// engineFindings look at the two engines. One of them is enough.
func engineFindings(ctx context.Context, criuPath string) []finding {
	own := finding{
		ID: "native", Name: "crtime's own engine", For: "collecting and rebuilding processes (engine native)",
		How: "run as root on an x86-64 machine",
	}.settle(native.Probe(), remote.ErrMachine, remote.ErrNotAllowed)
	criu := criuFindings(ctx, criuPath)
	for i := range criu {
		criu[i].Needed = criu[i].Needed && own.Answer != answerYes
		own.Needed = own.Needed || criu[i].Needed && criu[i].Answer != answerYes
	}
	return append([]finding{own}, criu...)
}

// criuFindings look for CRIU and ask it.
func criuFindings(ctx context.Context, path string) []finding {
	const get = "install CRIU 4.2 or later, or run 'make criu' in crtime's sources"
	found, err := criu.Find(ctx, path)
	present := finding{
		ID: "criu", Name: "CRIU " + criu.Oldest().String() + " or later", Needed: true,
		For: "what crtime's own engine does not do: containers, network connections, cgroups (engine criu)", How: get,
	}.settle(err, criu.ErrNotFound, criu.ErrTooOld)
	if errors.Is(err, criu.ErrTooOld) {
		present.Detail = oneLine(err) // It says which one was found, and where.
	}
	tcp := finding{
		ID: "tcp", Name: "processes that hold TCP sockets", For: "servers and their clients",
		How: get + ": older ones are refused by new kernels when they ask a TCP socket for SO_PASSCRED",
	}
	if err != nil {
		return []finding{present, tcp.settle(err, criu.ErrNotFound, criu.ErrTooOld)}
	}
	present.Detail = fmt.Sprintf("%s at %s", found.Version, found.Path)
	return []finding{
		present,
		criuCheck(ctx, found),
		tcp.settle(nil),
		criuTracking(ctx, found),
		criuCacheFinding(),
	}
}

// criuCheck runs CRIU's own check of the kernel.
func criuCheck(ctx context.Context, b criu.Binary) finding {
	f := finding{
		ID: "criu-check", Name: "CRIU's own check of this kernel", Needed: true, For: "everything that CRIU does",
		How: "run as root; 'criu check' says what is missing",
	}
	out, err := b.Check(ctx)
	if err == nil {
		return f.settle(nil)
	}
	f.Answer, f.Detail = answerNo, lastLine(out)
	return f
}

// lastLine is the last line of a program's output that is not empty.
func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// criuTracking asks whether memory changes can be tracked.
func criuTracking(ctx context.Context, b criu.Binary) finding {
	f := finding{
		ID: "memory-tracking", Name: "memory tracking", For: "pre-dump, --track-mem and --prev-images-dir",
		How: "a kernel with CONFIG_MEM_SOFT_DIRTY",
	}
	if b.HasFeature(ctx, "mem_dirty_track") {
		return f.settle(nil)
	}
	f.Answer = answerNo
	return f
}

// criuCacheFinding says whether CRIU can keep what it has learned of the kernel:
// it does so only in a /run that a reboot empties.
func criuCacheFinding() finding {
	f := finding{
		ID: "criu-cache", Name: "CRIU remembers what this kernel can do", For: "starting it some 35 ms faster",
		How: "mount a tmpfs on /run",
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return f.settle(err)
	}
	defer mounts.Close()
	if fsType, err := mountedType(mounts, "/run"); err != nil || fsType != "tmpfs" {
		f.Answer = answerNo
		if err != nil {
			f.Answer, f.Detail = answerUnknown, err.Error()
		}
		return f
	}
	return f.settle(nil)
}

// mountedType finds the type of the file system on a mount point; "" if nothing
// is mounted there. See proc_pid_mountinfo(5).
func mountedType(mountinfo io.Reader, at string) (string, error) {
	found := ""
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		mount, source, ok := strings.Cut(lines.Text(), " - ")
		fields, sourceFields := strings.Fields(mount), strings.Fields(source)
		if !ok || len(fields) < 5 || len(sourceFields) < 1 {
			return "", fmt.Errorf("mountinfo: bad line %q", lines.Text())
		}
		if fields[4] == at {
			found = sourceFields[0] // A later mount covers an earlier one.
		}
	}
	return found, lines.Err()
}

// mptcpFinding says whether a Go server can be dumped as it is: Go listens with
// MPTCP where the kernel has it, and CRIU does not know such sockets.
func mptcpFinding(read func(string) ([]byte, error)) finding {
	f := finding{
		ID: "go-listeners", Name: "listeners of Go programs, with Go's defaults", For: "servers written in Go",
		How: "start them with GODEBUG=multipathtcp=0, or set the sysctl net.mptcp.enabled to 0: CRIU does not support MPTCP sockets",
	}
	data, err := read("/proc/sys/net/mptcp/enabled")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.settle(nil)
	case err != nil:
		return f.settle(err)
	case strings.TrimSpace(string(data)) == "0":
		return f.settle(nil)
	}
	f.Answer, f.Detail = answerNo, "this kernel has MPTCP, and Go listens with it"
	return f
}

// wallClockFinding says whether an outage across a reboot or between hosts can
// be measured.
func wallClockFinding() finding {
	f := finding{
		ID: "wall-clock", Name: "this host's wall clock is synchronised", For: "measuring an outage across a reboot or between hosts",
		How: "run a time service such as chrony or systemd-timesyncd",
	}
	clocks, err := hostclock.NewReader()
	if err != nil {
		return f.settle(err)
	}
	now, err := clocks.Read()
	if err != nil {
		return f.settle(err)
	}
	switch {
	case !now.WallClock.Known:
		f.Answer = answerUnknown
	case !now.WallClock.Synchronised:
		f.Answer = answerNo
	default:
		f = f.settle(nil)
		f.Detail = "to within " + roundTime(now.WallClock.MaxError)
	}
	return f
}
