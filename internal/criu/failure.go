// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
)

// Failure is a request that CRIU could not carry out.
type Failure struct {
	Op      string        // "dump" or "restore".
	Errno   syscall.Errno // CRIU's own number; 0: it gave none.
	Message string        // CRIU's first error; may be empty.
	Lines   []string      // The errors that stand in CRIU's log.
	Hint    string        // What a user can do; may be empty.
}

// Error implements error.
func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "criu could not %s the tree", f.Op)
	if f.Message != "" {
		fmt.Fprintf(&b, ": %s", f.Message)
	}
	if f.Errno != 0 {
		fmt.Fprintf(&b, " (%s)", f.Errno.Error())
	}
	for _, l := range f.Lines {
		if l != f.Message {
			fmt.Fprintf(&b, "\n  criu: %s", l)
		}
	}
	if f.Hint != "" {
		fmt.Fprintf(&b, "\n  %s", f.Hint)
	}
	return b.String()
}

// Unwrap makes errors.Is find CRIU's error number.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

// outcome turns the end of a conversation into an error, or none. The log is
// read for the reader of the error alone: whether the request failed is what
// CRIU answered.
func outcome(op string, resp *rpc.CriuResp, err error, logPath string) error {
	if err != nil && resp == nil {
		f := &Failure{Op: op, Message: err.Error(), Lines: logErrors(logPath)}
		f.Hint = hint(f)
		return fmt.Errorf("%w", f)
	}
	if err != nil {
		return err
	}
	if resp.GetSuccess() {
		return nil
	}
	f := &Failure{
		Op:      op,
		Errno:   syscall.Errno(max(resp.GetCrErrno(), 0)),
		Message: strings.TrimSpace(resp.GetCrErrmsg()),
		Lines:   logErrors(logPath),
	}
	f.Hint = hint(f)
	return f
}

// errorLine matches an error in CRIU's log: time, pid, "Error", source line.
var errorLine = regexp.MustCompile(`Error \([^)]*\): (.*)`)

// logErrors returns the first errors of CRIU's log, each once.
func logErrors(path string) []string {
	const most = 6
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var lines []string
	for in := bufio.NewScanner(f); in.Scan() && len(lines) < most; {
		if m := errorLine.FindStringSubmatch(in.Text()); m != nil && !slices.Contains(lines, m[1]) {
			lines = append(lines, m[1])
		}
	}
	return lines
}

// hints explains errors of CRIU 4.2 that users meet. The patterns were taken
// from its log on Linux 6.18.
var hints = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`(?i)unknown proto.*26[0-9]|proto 262|mptcp`),
		"It holds an MPTCP socket, which CRIU does not support. Go servers listen with MPTCP by default: start it with GODEBUG=multipathtcp=0."},
	{regexp.MustCompile(`(?i)prlimit|rlimit`),
		"Reading the limits of another user's process needs CAP_SYS_RESOURCE, which crtime does not have here. Run crtime with it, or the program as root."},
	{regexp.MustCompile(`(?i)connected TCP socket`),
		"It holds an established TCP connection: add --tcp-established to the dump and the restore, or --tcp-close to drop it."},
	{regexp.MustCompile(`(?i)external socket|unix sock.*(external|peer)`),
		"It holds a UNIX socket whose other end is outside the tree: dump from the root that has both ends, or add --ext-unix-sk."},
	{regexp.MustCompile(`(?i)--shell-job|session leader|Found dangling tty|slave tty`),
		"It belongs to a session or terminal outside the tree: add --shell-job, or start it with setsid and its output in a file."},
	{regexp.MustCompile(`(?i)file lock|--file-locks`),
		"It holds file locks: add --file-locks."},
	{regexp.MustCompile(`(?i)link.remap`),
		"It holds a deleted file that has other names: add --link-remap."},
	{regexp.MustCompile(`(?i)ghost`),
		"It holds a large deleted file: raise --ghost-limit."},
	{regexp.MustCompile(`(?i)nested.*ns|namespaces.*(nest|not support)|time namespace`),
		"CRIU cannot save a tree whose processes live in different time namespaces."},
	{regexp.MustCompile(`(?i)No space left`),
		"There is no space left for the images: free some, or choose another --images-dir."},
}

// hint finds the explanation of a failure.
func hint(f *Failure) string {
	all := f.Message + "\n" + strings.Join(f.Lines, "\n")
	for _, h := range hints {
		if h.pattern.MatchString(all) {
			return h.text
		}
	}
	return ""
}
