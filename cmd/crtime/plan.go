// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/restore"
)

// planOptions are the flags of plan.
type planOptions struct {
	restore.PlanOptions
	path    string
	oci     bool
	unshare bool
}

// newPlanCommand makes `crtime plan`.
func newPlanCommand(env *environment) *cobra.Command {
	o := &planOptions{}
	cmd := &cobra.Command{
		Use:   "plan DIR|ARCHIVE",
		Short: "Show what a restore would do to the clocks, here and now",
		Long: `Work out what a restore of the images in DIR would do to the clocks if the tree
resumed on this machine at this moment. Nothing is created. The images are
checked first. ARCHIVE is a container's checkpoint, as for 'crtime show'.

With --oci or --unshare the plan is printed for somebody else who makes the time
namespace, for a program that keeps its state itself and is to have the clocks of
before. Both give one namespace, that of the tree's root, and refuse a tree that has
several. No clock goes backward, however much later the program starts; one that was
to stand still has then moved on by as much. unshare takes whole seconds: the clocks
are moved forward to them, by up to two seconds, and crtime says by how much.`,
		Example: `  # As if the machine had been suspended.
  crtime plan images

  # Under another policy.
  crtime plan images --policy elapsed

  # Give a container these clocks (runc 1.2, crun 1.8.4 or later).
  crtime plan images --oci >time.json
  jq --slurpfile t time.json '.linux.namespaces += $t[0].linux.namespaces
    | .linux.timeOffsets = $t[0].linux.timeOffsets' config.json >new.json

  # Start a program with these clocks, without crtime.
  $(crtime plan images --unshare) ./server`,
		Args:              exactArgs("the image directory or checkpoint archive"),
		ValidArgsFunction: completeRecording,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.path = args[0]
			return runPlan(cmd.Context(), env, o)
		},
	}
	policyFlag(cmd, &o.Policy)
	f := cmd.Flags()
	f.BoolVar(&o.oci, "oci", false, "print what a container's config.json needs (linux.timeOffsets of the OCI runtime specification)")
	f.BoolVar(&o.unshare, "unshare", false, "print the command line of unshare (util-linux 2.36 or later) that starts a program so")
	cmd.MarkFlagsMutuallyExclusive("oci", "unshare")
	return cmd
}

// runPlan plans and prints.
func runPlan(ctx context.Context, env *environment, o *planOptions) error {
	found, err := openRecording(ctx, o.path)
	if err != nil {
		return err
	}
	plan, err := restore.PlanState(found.state, o.PlanOptions)
	if err != nil {
		return fmt.Errorf("plan a restore of %s: %w", o.path, err)
	}
	switch {
	case o.oci:
		return printOCI(ctx, env, plan)
	case o.unshare:
		return printUnshare(ctx, env, plan)
	}
	return env.result(newPlanResult(found.path, plan), func() string { return planText(plan) })
}

// planResult is what plan prints with --json.
type planResult struct {
	Images      string               `json:"images"`
	Policy      clockstate.Policy    `json:"policy"`
	Outage      clockstate.Outage    `json:"outage"`
	Now         readingsResult       `json:"now"` // The host's clocks.
	Namespaces  []planNamespace      `json:"namespaces"`
	Corrections []correctionResult   `json:"corrections"`
	Warnings    []clockstate.Warning `json:"warnings"`
}

// planNamespace is one recorded time namespace and the one that would stand
// for it.
type planNamespace struct {
	ID      uint64             `json:"id"`
	Before  readingsResult     `json:"before"`
	After   readingsResult     `json:"after"`
	Offsets clockstate.Offsets `json:"offsets"` // Relative to the initial time namespace.
}

// newPlanResult picks what planResult holds.
func newPlanResult(dir string, p *clockstate.Plan) planResult {
	r := planResult{
		Images:      dir,
		Policy:      p.Policy,
		Outage:      p.Outage,
		Now:         newReadingsResult(p.Dest.Readings, p.Dest.Realtime),
		Corrections: corrections(p),
		Warnings:    warnings(p),
	}
	for _, ns := range p.Namespaces {
		r.Namespaces = append(r.Namespaces, planNamespace{
			ID:      ns.ID,
			Before:  newReadingsResult(ns.Recorded, p.State.Freeze.Realtime),
			After:   newReadingsResult(afterResume(p, ns), p.ResumeRealtime),
			Offsets: ns.Offsets,
		})
	}
	return r
}

// afterResume is what a process of the namespace reads at the planned resume.
func afterResume(p *clockstate.Plan, ns clockstate.PlannedNamespace) clockstate.Readings {
	// NewPlan has checked that every sum is in range.
	after, _ := p.Resume.Shift(ns.Offsets)
	return after
}

// planText shows a plan to people.
func planText(p *clockstate.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Policy %s: %s\n%s\n", p.Policy, p.Policy.Describe(), outageText(p.Outage))
	for _, ns := range p.Namespaces {
		fmt.Fprintf(&b, "\nTime namespace %d\n", ns.ID)
		b.WriteString(table(planRows(p, ns)))
		for _, c := range ns.Corrections {
			b.WriteString(correctionText(c))
		}
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "\nNote: %s\n", w.Text)
	}
	return b.String()
}

// correctionText is one line for people about a shift beyond what the policy
// asks for, or "" for one below what a program can tell from the cost of reading
// a clock.
func correctionText(c clockstate.Correction) string {
	const least = 10_000
	if c.Forward < least {
		return ""
	}
	return fmt.Sprintf("Moved forward by %s: %s.\n", roundTime(c.Forward), c.Why)
}

// planRows are the lines of the table of one namespace.
func planRows(p *clockstate.Plan, ns clockstate.PlannedNamespace) [][]string {
	rows := [][]string{{"CLOCK", "AT THE DUMP", "AFTER A RESTORE NOW", "MOVED BY", "OFFSET HERE"}}
	after := afterResume(p, ns)
	for _, c := range shiftedClocks() {
		was, _ := ns.Recorded.Of(c)
		is, _ := after.Of(c)
		before, moved := daysText(was), signed(is-was)
		if !p.State.Recorded(c) {
			before, moved = notRecorded, unknownMove
		}
		rows = append(rows, []string{c.String(), before, daysText(is), moved, signed(ns.Offsets.Of(c))})
	}
	moved := unknownMove
	if p.State.Recorded(clockstate.Realtime) {
		moved = signed(p.ResumeRealtime - p.State.Freeze.Realtime)
	}
	return append(rows, []string{
		clockstate.Realtime.String(), wallText(p.State.Freeze.Realtime), wallText(p.ResumeRealtime), moved, "not shifted",
	})
}

// What stands in a table for a clock whose reading at the dump nobody knows.
const (
	notRecorded = "not recorded"
	unknownMove = "unknown"
)

// shiftedClocks are the clocks that a promise is made for, but for
// CLOCK_BOOTTIME_ALARM, which always equals CLOCK_BOOTTIME.
func shiftedClocks() []clockstate.Clock {
	return []clockstate.Clock{clockstate.Monotonic, clockstate.MonotonicRaw, clockstate.MonotonicCoarse, clockstate.Boottime}
}
