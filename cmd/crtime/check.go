// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// errLacking says that this machine lacks something that crtime cannot do
// without. What it is has been printed by then.
var errLacking = errors.New("crtime cannot dump and restore here: see the lines marked NO that are needed")

// newCheckCommand makes `crtime check`.
func newCheckCommand(env *environment) *cobra.Command {
	var criuPath string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Show what this kernel, these privileges and this CRIU can do",
		Long: `Try out everything that crtime makes use of, on throw-away processes, and print
for each whether it works, what it is for, and how to get it. Nothing is changed.
The exit code is 3 if something is missing that crtime cannot do without.`,
		Example: `  crtime check
  crtime check --json`,
		Args:              exactArgs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runCheck(cmd.Context(), env, criuPath) },
	}
	cmd.Flags().StringVar(&criuPath, "criu", "", "`path` of the criu program (default: as 'crtime dump' finds it)")
	return cmd
}

// answer is what a check found.
type answer string

// The answers.
const (
	answerYes     answer = "yes"
	answerNo      answer = "no"
	answerUnknown answer = "unknown" // It could not be found out.
)

// finding is one line of check.
type finding struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Answer answer `json:"answer"`
	// Needed says that crtime can do nothing without it.
	Needed bool   `json:"needed"`
	For    string `json:"for"`
	Detail string `json:"detail,omitempty"` // What was found.
	How    string `json:"how,omitempty"`    // How to get it; "" with yes.
}

// checkResult is what check prints with --json.
type checkResult struct {
	Usable   bool      `json:"usable"` // Nothing that is needed is missing.
	Findings []finding `json:"findings"`
}

// runCheck makes all checks and prints them.
func runCheck(ctx context.Context, env *environment, criuPath string) error {
	r := checkResult{Usable: true, Findings: allFindings(ctx, criuPath)}
	for _, f := range r.Findings {
		if f.Needed && f.Answer == answerNo {
			r.Usable = false
		}
	}
	if err := env.result(r, func() string { return checkText(r) }); err != nil {
		return err
	}
	if !r.Usable {
		return errLacking
	}
	return nil
}

// checkText shows findings to people.
func checkText(r checkResult) string {
	var b strings.Builder
	for _, f := range r.Findings {
		mark := string(f.Answer)
		if f.Answer == answerNo && f.Needed {
			mark = "NO"
		}
		fmt.Fprintf(&b, "%-7s  %s", mark, f.Name)
		if f.Detail != "" {
			fmt.Fprintf(&b, ": %s", f.Detail)
		}
		fmt.Fprintf(&b, "\n         for %s\n", f.For)
		if f.How != "" {
			fmt.Fprintf(&b, "         to get it: %s\n", f.How)
		}
	}
	if r.Usable {
		b.WriteString("\ncrtime can dump and restore here.\n")
	}
	return b.String()
}
