// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"html"
	"strings"

	"github.com/crtime/crtime/clockstate"
)

// The layout of the picture, in pixels. The horizontal axis is real time and not
// to scale: a tree that runs, the outage, a tree that runs again.
const (
	svgWidth  = 960
	svgLeft   = 130 // Where the time axis begins; names stand before it.
	svgFreeze = 300
	svgResume = 760
	svgRight  = 930
	svgTop    = 150 // Where the first lane begins.
	svgLane   = 150 // Height of a lane.
	svgRise   = 30  // How far a clock climbs while the tree runs, and over the whole outage at most 2 of it.
)

// svgStyle is neutral in light and dark surroundings: no background, and colours
// for both. It does without CSS variables, which only browsers know.
const svgStyle = `<style>
  text { font: 14px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 18px; font-weight: 600; }
  .mute { fill: #59636e; font-size: 13px; }
  .middle { text-anchor: middle; }
  .end { text-anchor: end; }
  .value { font-family: ui-monospace, monospace; font-size: 13px; }
  .shade { fill: #8c959f; fill-opacity: 0.15; }
  .mark { stroke: #818b98; stroke-width: 1; stroke-dasharray: 2 3; }
  .axis { stroke: #818b98; stroke-width: 1.5; fill: none; }
  .line { fill: none; stroke-width: 2.5; stroke-linecap: round; }
  .gap { stroke-dasharray: 1 6; }
  .lane0 { stroke: #0969da; }
  .lane1 { stroke: #bc4c00; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .mute { fill: #9198a1; }
    .lane0 { stroke: #4493f8; }
    .lane1 { stroke: #f0883e; }
  }
</style>
`

// svgOf draws a timeline as an SVG picture that needs no other file.
func svgOf(t timeline) string {
	height := svgTop + svgLane*len(t.Lanes) + 70
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		svgWidth, height, svgWidth, height)
	title := "The clocks of " + t.Root + ": " + t.outageWords()
	fmt.Fprintf(&b, "<title>%s</title>\n%s", html.EscapeString(title), svgStyle)
	svgText(&b, "title", point{24, 34}, title)
	svgFrame(&b, t, svgTop+svgLane*len(t.Lanes))
	for i, l := range t.Lanes {
		svgDrawLane(&b, t, l, i)
	}
	for i, line := range strings.Split(t.caption(), "\n") {
		svgText(&b, "mute", point{24, height - 36 + 20*i}, line)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// svgFrame draws what the lanes have in common: the outage as a shaded area, its
// two ends, and its length.
func svgFrame(b *strings.Builder, t timeline, bottom int) {
	const arrowY = 106
	fmt.Fprintf(b, `<rect class="shade" x="%d" y="%d" width="%d" height="%d"/>`+"\n", svgFreeze, arrowY, svgResume-svgFreeze, bottom-arrowY)
	for _, x := range []int{svgFreeze, svgResume} {
		fmt.Fprintf(b, `<line class="mark" x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", x, arrowY-8, x, bottom)
	}
	svgText(b, "middle", point{svgFreeze, 70}, "freeze")
	svgText(b, "middle", point{svgResume, 70}, "resume, if restored now")
	svgText(b, "mute middle", point{svgFreeze, 90}, wallText(t.Freeze))
	svgText(b, "mute middle", point{svgResume, 90}, wallText(t.Resume))
	fmt.Fprintf(b, `<path class="axis" d="M%d %d H%d m-7 -4 l7 4 l-7 4 M%d %d m7 -4 l-7 4 l7 4"/>`+"\n",
		svgFreeze, arrowY, svgResume, svgFreeze, arrowY)
	svgText(b, "middle", point{(svgFreeze + svgResume) / 2, arrowY + 20}, t.outageWords())
}

// svgDrawLane draws one clock: it climbs while the tree runs; over the outage it
// stands still, or climbs in proportion to how much of it the clock counts.
func svgDrawLane(b *strings.Builder, t timeline, l lane, i int) {
	base := svgTop + svgLane*(i+1) - 20
	atFreeze := base - svgRise
	atResume := atFreeze - climb(l, t.Outage)
	fmt.Fprintf(b, `<g class="lane%d">`+"\n", i)
	fmt.Fprintf(b, `<path class="line" d="M%d %d L%d %d M%d %d L%d %d"/>`+"\n",
		svgLeft, base, svgFreeze, atFreeze, svgResume, atResume, svgRight, atResume-svgRise)
	fmt.Fprintf(b, `<path class="line gap" d="M%d %d L%d %d"/>`+"\n</g>\n", svgFreeze, atFreeze, svgResume, atResume)
	svgText(b, "", point{24, base - svgRise/2}, l.Name)
	svgText(b, "value end", point{svgFreeze - 8, atFreeze - 8}, daysText(l.Before))
	svgText(b, "value end", point{svgResume - 8, atResume - 8}, daysText(l.After))
	svgText(b, "mute middle", point{(svgFreeze + svgResume) / 2, (atFreeze+atResume)/2 + 24}, t.laneLabel(l))
}

// climb is how far a clock's line rises over the outage.
func climb(l lane, o clockstate.Outage) int {
	const most = 2 * svgRise
	moved := l.After - l.Before
	switch {
	case !l.moves(o):
		return 0
	case o.Duration <= 0 || moved >= o.Duration:
		return most
	}
	// Only a picture: a few digits are enough.
	return int(float64(moved) / float64(o.Duration) * most)
}

// point is a place in the picture, in pixels from its upper left corner.
type point struct{ x, y int }

// svgText writes one line of text.
func svgText(b *strings.Builder, class string, at point, text string) {
	fmt.Fprintf(b, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, at.x, at.y, html.EscapeString(text))
}
