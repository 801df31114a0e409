// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/crtime/crtime/clockstate"
)

// timeline is what is drawn of a freeze, an outage and a resume.
type timeline struct {
	Root   string // Who the clocks belong to, for a title.
	Policy clockstate.Policy
	// Freeze and Resume are CLOCK_REALTIME; 0 is unknown.
	Freeze, Resume clockstate.Nanos
	Outage         clockstate.Outage
	Lanes          []lane
}

// lane is one clock: what it read at the freeze and what it reads at the resume.
type lane struct {
	Name          string
	Before, After clockstate.Nanos
}

// newTimeline takes from a plan what is drawn: the clocks of the namespace that
// the tree's root lives in.
func newTimeline(p *clockstate.Plan) timeline {
	// NewPlan has checked that both are there.
	root, _ := p.State.Root()
	ns, _ := p.Namespace(root.Namespace)
	t := timeline{
		Root:   fmt.Sprintf("%s (process %d)", commText(root.Comm), root.OuterPID),
		Policy: p.Policy,
		Freeze: p.State.Freeze.Realtime,
		Resume: p.ResumeRealtime,
		Outage: p.Outage,
	}
	after := afterResume(p, ns)
	t.Lanes = []lane{
		{"MONOTONIC", ns.Recorded.Monotonic, after.Monotonic},
		{"BOOTTIME", ns.Recorded.Boottime, after.Boottime},
	}
	return t
}

// glyphs are the characters of a drawing.
type glyphs struct {
	runs, stands, passes        string // A clock that runs; stands still; was moved forward over the outage.
	freeze, resume, left, right string
	future                      string
}

// drawingSet returns the characters for a terminal.
func drawingSet(unicode bool) glyphs {
	if unicode {
		return glyphs{runs: "━", stands: "┄", passes: "╌", freeze: "┫", resume: "┣", left: "◀", right: "▶", future: "▶"}
	}
	return glyphs{runs: "=", stands: ".", passes: "-", freeze: "|", resume: "|", left: "<", right: ">", future: ">"}
}

// The layout: names, a clock that runs, the outage, a clock that runs again.
const (
	nameColumns = 11
	runColumns  = 8
	// narrowest leaves the outage enough room for two readings and a word.
	narrowest = 72
	widest    = 120
	usual     = 80
)

// draw draws the timeline in so many columns; 0 is the usual 80. The result
// ends in a newline, and no line is longer.
func (t timeline) draw(columns int, g glyphs) string {
	if columns == 0 {
		columns = usual
	}
	columns = min(max(columns, narrowest), widest)
	gap := columns - nameColumns - 2*runColumns - 2
	var b strings.Builder
	line := func(name, before, middle, after string) {
		text := pad(name, nameColumns) + pad(before, runColumns+1) + middle + after
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line("", right("freeze", runColumns+1), strings.Repeat(" ", gap), "resume")
	line("real time", "", t.arrow(gap, g), "")
	line("UTC", "", spread(secondText(t.Freeze), secondText(t.Resume), gap, " "), "")
	for _, l := range t.Lanes {
		fill := g.stands
		if l.moves(t.Outage) {
			fill = g.passes
		}
		label := " " + t.laneLabel(l) + " "
		middle := centre(label, gap, fill)
		line(l.Name, strings.Repeat(g.runs, runColumns)+g.freeze, middle, g.resume+strings.Repeat(g.runs, runColumns-1)+g.future)
		line("", "", spread(" "+daysText(l.Before), daysText(l.After)+" ", gap, " "), "")
	}
	b.WriteString("\n" + t.caption() + "\n")
	return b.String()
}

// notable is the least shift that a drawing calls a move.
const notable clockstate.Nanos = 1_000_000_000

// moves reports whether a clock goes on noticeably over the outage.
func (l lane) moves(o clockstate.Outage) bool {
	return l.After-l.Before > min(notable, max(o.Duration/2, 1))
}

// laneLabel says in words what a clock does in the outage.
func (t timeline) laneLabel(l lane) string {
	moved := l.After - l.Before
	if !l.moves(t.Outage) {
		if moved == 0 {
			return "stands still"
		}
		return "stands still (" + signed(moved) + ")"
	}
	return "goes on, " + signed(moved)
}

// arrow is the outage with its length in the middle.
func (t timeline) arrow(width int, g glyphs) string {
	return g.left + centre(" "+t.outageWords()+" ", width-2, g.runs) + g.right
}

// outageWords is the length of the outage.
func (t timeline) outageWords() string {
	if t.Outage.Source == clockstate.OutageUnknown {
		return "an outage of unknown length"
	}
	return "an outage of " + roundTime(t.Outage.Duration)
}

// caption says what the drawing assumes.
func (t timeline) caption() string {
	return "Policy " + t.Policy.String() + ": " + t.Policy.Describe() + "\n" + outageText(t.Outage) +
		" Drawn for a restore here and now."
}

// secondText is a reading of CLOCK_REALTIME to the second, in UTC.
func secondText(n clockstate.Nanos) string {
	if n == 0 {
		return "unknown"
	}
	return time.Unix(0, int64(n)).UTC().Format(time.DateTime)
}

// width counts the columns of a text whose characters take one each.
func width(s string) int { return utf8.RuneCountInString(s) }

// pad fills a text with spaces on its right.
func pad(s string, columns int) string { return s + strings.Repeat(" ", max(0, columns-width(s))) }

// right fills a text with spaces on its left.
func right(s string, columns int) string { return strings.Repeat(" ", max(0, columns-width(s))) + s }

// centre puts a text in the middle of a line of fill.
func centre(s string, columns int, fill string) string {
	free := max(0, columns-width(s))
	return strings.Repeat(fill, free/2) + s + strings.Repeat(fill, free-free/2)
}

// spread puts two texts at the ends of a line of fill.
func spread(a, b string, columns int, fill string) string {
	return a + strings.Repeat(fill, max(1, columns-width(a)-width(b))) + b
}
