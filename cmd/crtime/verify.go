// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/restore"
)

// verifyOptions are the arguments of verify.
type verifyOptions struct {
	pid int // 0: the number that the root had at the dump.
	dir string
}

// newVerifyCommand makes `crtime verify`.
func newVerifyCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [PID] DIR",
		Short: "Prove the clocks of a restored tree against its images",
		Long: `Read the clocks of the running tree below process PID and hold them against what
was recorded in DIR: no clock may read less, and the difference between
CLOCK_BOOTTIME and CLOCK_MONOTONIC may not have shrunk. Without PID the tree is
looked for under the number that it had at the dump. Nothing is changed. The exit
code is 6 if a promise is not kept.`,
		Example: `  # After a restore.
  crtime restore -D images -d --pidfile pid
  crtime verify $(cat pid) images`,
		Args:              wantVerifyArgs,
		ValidArgsFunction: completeVerify,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := verifyOptions{dir: args[len(args)-1]}
			if len(args) == 2 {
				// wantVerifyArgs has accepted it.
				o.pid, _ = parsePID(args[0])
			}
			return runVerify(cmd.Context(), env, o)
		},
	}
}

// wantVerifyArgs accepts [PID] DIR.
func wantVerifyArgs(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return exactArgs("the image directory")(cmd, args)
	}
	if _, err := parsePID(args[0]); err != nil {
		return &usageError{err}
	}
	return nil
}

// completeVerify proposes processes and directories for the first argument, and
// directories for the second.
func completeVerify(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if _, err := strconv.Atoi(prefix); err == nil && len(args) == 0 {
		return completePIDs(cmd, args, prefix)
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// runVerify verifies and prints.
func runVerify(ctx context.Context, env *environment, o verifyOptions) error {
	if o.pid != 0 {
		done, err := env.amongKept(ctx, o.pid, func(inside string) []string {
			args := []string{"verify", inside, o.dir, "--log-level", env.logLevel, "--log-format", env.logFormat}
			if env.json {
				args = append(args, "--json")
			}
			return args
		})
		if done || err != nil {
			return err
		}
	}
	images, err := openImages(o.dir)
	if err != nil {
		return err
	}
	if o.pid == 0 {
		o.pid = int(images.State.RootPID)
	}
	v, err := restore.Verify(images, o.pid)
	if err != nil {
		return err
	}
	if err := env.result(newVerifyResult(images.Dir, o.pid, v), func() string { return verifyText(v) }); err != nil {
		return err
	}
	for _, p := range v.Processes {
		if !p.Kept {
			return fmt.Errorf("process %d: %w: %s", p.PID, errNotKept, p.Why)
		}
	}
	return nil
}

// verifyResult is what verify prints with --json.
type verifyResult struct {
	PID       int             `json:"pid"`
	Images    string          `json:"images"`
	Kept      bool            `json:"kept"`
	Processes []verifyProcess `json:"processes"`
}

// verifyProcess is one process of verifyResult.
type verifyProcess struct {
	PID    int            `json:"pid"`
	Comm   string         `json:"comm"`
	Kept   bool           `json:"kept"`
	Why    string         `json:"why,omitempty"`
	Before readingsResult `json:"before"`
	After  readingsResult `json:"after"`
}

// newVerifyResult picks what verifyResult holds.
func newVerifyResult(dir string, pid int, v *restore.Verification) verifyResult {
	r := verifyResult{PID: pid, Images: dir, Kept: v.Kept, Processes: []verifyProcess{}}
	for _, p := range v.Processes {
		r.Processes = append(r.Processes, verifyProcess{
			PID: p.PID, Comm: p.Comm, Kept: p.Kept, Why: p.Why,
			Before: newReadingsResult(p.Before, 0), After: newReadingsResult(p.After, 0),
		})
	}
	return r
}

// verifyText shows a verification to people.
func verifyText(v *restore.Verification) string {
	var b strings.Builder
	rows := [][]string{{"PID", "NAME", "CLOCK", "AT THE DUMP", "NOW", "MOVED BY"}}
	for _, p := range v.Processes {
		pid, name := strconv.Itoa(p.PID), commText(p.Comm)
		for _, c := range []clockstate.Clock{clockstate.Monotonic, clockstate.Boottime} {
			was, _ := p.Before.Of(c)
			is, _ := p.After.Of(c)
			rows = append(rows, []string{pid, name, c.String(), daysText(was), daysText(is), signed(is - was)})
			pid, name = "", ""
		}
	}
	b.WriteString(table(rows) + "\n")
	for _, p := range v.Processes {
		if !p.Kept {
			fmt.Fprintf(&b, "Process %d (%s): %s.\n", p.PID, commText(p.Comm), p.Why)
		}
	}
	if v.Kept {
		fmt.Fprintf(&b, "Kept: no clock of %s reads less than at the dump.\n", count(len(v.Processes), "process", "processes"))
	}
	return b.String()
}

// commText is a process's name for people: the kernel lets it hold any bytes.
func commText(comm string) string {
	quoted := strconv.QuoteToGraphic(comm)
	if quoted == `"`+comm+`"` {
		return comm
	}
	return quoted
}
