// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/restore"
)

// restoreResult is what restore prints with --json.
type restoreResult struct {
	PID         int                  `json:"pid"`
	Policy      clockstate.Policy    `json:"policy"`
	Engine      string               `json:"engine"`
	Outage      clockstate.Outage    `json:"outage"`
	Planned     readingsResult       `json:"planned"`  // The host's clocks at the planned resume.
	Released    readingsResult       `json:"released"` // The same right before the release.
	Jump        clockstate.Nanos     `json:"jump_ns"`  // CLOCK_MONOTONIC, by a late release.
	Corrections []correctionResult   `json:"corrections"`
	Kept        bool                 `json:"kept"`
	Clocks      []clockResult        `json:"clocks"`
	Warnings    []clockstate.Warning `json:"warnings"`
	Held        clockstate.Nanos     `json:"held_ns"`
	Duration    clockstate.Nanos     `json:"restore_ns"`
}

// correctionResult is a shift beyond what the policy asks for.
type correctionResult struct {
	Namespace uint64           `json:"namespace"`
	Clock     clockstate.Clock `json:"clock"`
	Forward   clockstate.Nanos `json:"forward_ns"`
	Why       string           `json:"why"`
}

// clockResult is one clock of one time namespace before and after.
type clockResult struct {
	Namespace uint64           `json:"namespace"` // As it was numbered at the dump.
	Clock     clockstate.Clock `json:"clock"`
	Before    clockstate.Nanos `json:"before_ns"`
	After     clockstate.Nanos `json:"after_ns"`
	Margin    clockstate.Nanos `json:"margin_ns"` // After - before.
	Kept      bool             `json:"kept"`
}

// newRestoreResult picks what restoreResult holds.
func newRestoreResult(r *restore.Report) restoreResult {
	return restoreResult{
		PID:         r.PID,
		Policy:      r.Plan.Policy,
		Engine:      r.Engine,
		Outage:      r.Plan.Outage,
		Planned:     newReadingsResult(r.Plan.Resume, r.Plan.ResumeRealtime),
		Released:    newReadingsResult(r.Released.Readings, r.Released.Realtime),
		Jump:        r.Jump,
		Corrections: corrections(r.Plan),
		Kept:        r.Proof.Kept,
		Clocks:      provenClocks(r.Proof),
		Warnings:    warnings(r.Plan),
		Held:        r.Held,
		Duration:    r.Duration,
	}
}

// corrections lists those of all namespaces; never nil.
func corrections(p *clockstate.Plan) []correctionResult {
	out := []correctionResult{}
	for _, ns := range p.Namespaces {
		for _, c := range ns.Corrections {
			out = append(out, correctionResult{ns.ID, c.Clock, c.Forward, c.Why})
		}
	}
	return out
}

// warnings lists those of a plan; never nil.
func warnings(p *clockstate.Plan) []clockstate.Warning {
	return append([]clockstate.Warning{}, p.Warnings...)
}

// provenClocks lists the clocks of all namespaces; never nil.
func provenClocks(p clockstate.Proof) []clockResult {
	out := []clockResult{}
	for _, ns := range p.Namespaces {
		for _, c := range ns.Clocks {
			out = append(out, clockResult{ns.ID, c.Clock, c.Before, c.After, c.Margin, c.Kept})
		}
	}
	return out
}

// restoreText says in words what a restore did.
func restoreText(r *restore.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Process %d runs again, policy %s. The restore took %s, %s of it waiting for the planned instant.\n",
		r.PID, r.Plan.Policy, roundTime(r.Duration), roundTime(r.Held))
	b.WriteString(outageText(r.Plan.Outage) + "\n\n")
	for _, ns := range r.Proof.Namespaces {
		if len(r.Proof.Namespaces) > 1 {
			b.WriteString(residentsText(r.Plan.State, ns.ID) + ":\n")
		}
		rows := [][]string{{"CLOCK", "AT THE DUMP", "NOW", "MOVED BY", "KEPT"}}
		for _, c := range ns.Clocks {
			rows = append(rows, []string{c.Clock.String(), daysText(c.Before), daysText(c.After), signed(c.Margin), yesNo(c.Kept)})
		}
		b.WriteString(table(rows) + "\n")
	}
	b.WriteString(jumpText(r))
	return b.String()
}

// residentsText says who lives in a time namespace, as in "Process 7 (sh) and 2 more".
func residentsText(s *clockstate.State, id uint64) string {
	text, more := "", 0
	for _, p := range s.Processes {
		switch {
		case p.Namespace != id:
		case text == "":
			text = fmt.Sprintf("Process %d (%s)", p.OuterPID, commText(p.Comm))
		default:
			more++
		}
	}
	switch {
	case text == "":
		return fmt.Sprintf("Children to come of process %d", s.Unshared()[id])
	case more > 0:
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// jumpText says how far CLOCK_MONOTONIC jumped, and why.
func jumpText(r *restore.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CLOCK_MONOTONIC went on %s later than planned.\n", roundTime(r.Jump))
	if r.Jump > clockstate.Nanos(lateAfter) {
		b.WriteString("The tree was ready later than expected: " + laterAdvice(r.Engine) + "\n")
	}
	for _, ns := range r.Plan.Namespaces {
		for _, c := range ns.Corrections {
			b.WriteString(correctionText(c))
		}
	}
	return b.String()
}

// laterAdvice says what may make the next restore resume on time.
func laterAdvice(engine string) string {
	if engine == criu.Name {
		return "the next restore on this machine will allow for it (or see --lead)."
	}
	return "the machine was busy; --lead gives it more time."
}

// outageText says how long a tree was away, and how sure that is.
func outageText(o clockstate.Outage) string {
	if o.Source == clockstate.OutageUnknown {
		return "The length of the outage is unknown: " + o.Note + "."
	}
	text := fmt.Sprintf("The outage was %s, measured by %s", roundTime(o.Duration), outageSourceText(o.Source))
	if !o.Bounded {
		return text + ", with an unknown error."
	}
	return fmt.Sprintf("%s, to within %s.", text, roundTime(o.Error))
}

// outageSourceText names what an outage was measured by.
func outageSourceText(s clockstate.OutageSource) string {
	switch s {
	case clockstate.SameBoot:
		return "this boot's CLOCK_BOOTTIME"
	case clockstate.Link:
		return "the link between the hosts"
	case clockstate.WallClockSource:
		return "the wall clocks"
	default:
		return s.String()
	}
}
