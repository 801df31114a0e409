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

// RequestError is a request that CRIU could not carry out.
type RequestError struct {
	Op      string        // "dump" or "restore".
	Errno   syscall.Errno // CRIU's own number; 0: it gave none.
	Message string        // CRIU's first error; may be empty.
	Lines   []string      // The errors that stand in CRIU's log.
	Hint    string        // What a user can do; may be empty.
	Cause   error         // Why the conversation itself ended; nil if CRIU answered.
}

// Error implements error.
func (f *RequestError) Error() string {
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

// Unwrap makes errors.Is find CRIU's error number and the cause.
func (f *RequestError) Unwrap() []error {
	var errs []error
	if f.Errno != 0 {
		errs = append(errs, f.Errno)
	}
	if f.Cause != nil {
		errs = append(errs, f.Cause)
	}
	return errs
}

// outcome turns the end of a conversation into an error, or none. The log is
// read for the reader of the error alone: whether the request failed is what
// CRIU answered.
func outcome(op string, resp *rpc.CriuResp, err error, logPath string) error {
	switch {
	case err != nil && resp != nil:
		// We refused; CRIU's complaint about that says nothing new.
		return err
	case err == nil && resp.GetSuccess():
		return nil
	}
	f := &RequestError{Op: op, Errno: syscall.Errno(max(resp.GetCrErrno(), 0)), Lines: logErrors(logPath)}
	switch message := messageOf(resp.GetCrErrmsg()); {
	case err != nil:
		f.Message, f.Cause = err.Error(), err
	case message != "":
		f.Message = message
	case len(f.Lines) > 0:
		f.Message = f.Lines[0]
	}
	f.Hint = hint(f)
	return f
}

// errorLine matches an error as CRIU logs it, with or without the time before.
var errorLine = regexp.MustCompile(`Error \([^)]*\): (.*)`)

// noise matches errors that CRIU logs in every run or after every failure: they
// are never the reason. CRIU tries to raise its own file limit at each start,
// which needs CAP_SYS_RESOURCE, and goes on without.
var noise = regexp.MustCompile(`RLIMIT_NOFILE for self|^(Dumping|Restoring) FAILED|^Can't switch to|^Killing processes because of failure`)

// messageOf takes the error out of a line of CRIU's log. It is "" for noise.
func messageOf(line string) string {
	line = strings.TrimSpace(line)
	if m := errorLine.FindStringSubmatch(line); m != nil {
		line = m[1]
	}
	if noise.MatchString(line) {
		return ""
	}
	return line
}

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
		if !errorLine.MatchString(in.Text()) {
			continue
		}
		if m := messageOf(in.Text()); m != "" && !slices.Contains(lines, m) {
			lines = append(lines, m)
		}
	}
	return lines
}

// advice pairs what CRIU says with what a user can do about it.
type advice struct {
	pattern *regexp.Regexp
	text    string
}

// hints explains errors of CRIU 4.2 that users meet, the surest first. The
// patterns are of its messages on Linux 6.18.
func hints() []advice {
	return append([]advice{
		{
			regexp.MustCompile(`Unsupported proto 262`),
			"It holds an MPTCP socket, which CRIU does not support. Go servers listen with MPTCP by default: start it with GODEBUG=multipathtcp=0.",
		},
		{
			regexp.MustCompile(`io_uring`),
			"It uses io_uring, which CRIU does not support. Current versions of node always do: set the sysctl kernel.io_uring_disabled to 2 before starting it.",
		},
		{
			regexp.MustCompile(`Can't get rlimit`),
			"Reading the limits of another user's process needs CAP_SYS_RESOURCE, which crtime does not have here: run crtime with it, or the program as crtime's own user.",
		},
		{
			regexp.MustCompile(`(?i)connected TCP socket`),
			"It holds an established TCP connection: add --tcp-established to the dump and the restore, or --tcp-close to drop it.",
		},
		{
			regexp.MustCompile(`(?i)external socket|unix socket.*peer`),
			"It holds a UNIX socket whose other end is outside the tree: dump from the root that has both ends, or add --ext-unix-sk.",
		},
		{
			regexp.MustCompile(`(?i)not a session leader|--shell-job|dangling tty|slave tty|tty: `),
			"It belongs to a session or terminal outside the tree: add --shell-job to the dump and the restore, or start it with setsid and its input and output in files.",
		},
		{
			regexp.MustCompile(`(?i)file locks? are hold|file-locks`),
			"It holds file locks: add --file-locks to the dump and the restore.",
		},
		{
			regexp.MustCompile(`(?i)link.remap`),
			"It holds a deleted file that has other names: add --link-remap.",
		},
		{
			regexp.MustCompile(`(?i)ghost.*(big|limit|large)`),
			"It holds a large deleted file: raise --ghost-limit.",
		},
		{
			regexp.MustCompile(`nested time namespace`),
			"CRIU cannot save a tree whose processes live in different time namespaces.",
		},
		{
			regexp.MustCompile(`Can't find a session leader for`),
			"The leader of its session has ended, and CRIU finds no other way into it; --engine native does.",
		},
		{
			regexp.MustCompile(`No space left`),
			"There is no space left for the images: free some, or choose another --images-dir.",
		},
	}, pageHints()...)
}

// pageHints explains errors of dumps whose memory goes elsewhere.
func pageHints() []advice {
	return []advice{
		{
			// It makes a pipe for as many pages as the kernel's largest array of them has,
			// without looking whether it got it.
			regexp.MustCompile(`page-pipe: splice: -1: Bad file descriptor`),
			"To hand out pages CRIU needs a pipe of 4 MiB: run it with CAP_SYS_RESOURCE, or set the sysctl fs.pipe-max-size to 4194304.",
		},
		{
			// All that it says as an error when nobody listens: it undoes what it has not
			// begun. A process that has died is another reason for it.
			regexp.MustCompile(`Unable to detach from \d+: No such process`),
			"If the memory was to go to a page server, see to it that one listens at that address and port: CRIU says no more of it.",
		},
	}
}

// hint finds the explanation of a failure.
func hint(f *RequestError) string {
	all := f.Message + "\n" + strings.Join(f.Lines, "\n")
	for _, h := range hints() {
		if h.pattern.MatchString(all) {
			return h.text
		}
	}
	return ""
}
