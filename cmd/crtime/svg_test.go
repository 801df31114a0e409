// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/crtime/crtime/clockstate"
)

func TestSVGGolden(t *testing.T) {
	for _, p := range []clockstate.Policy{clockstate.Suspend, clockstate.Freeze} {
		golden(t, "timeline-"+p.String()+".svg", svgOf(newTimeline(plannedRestore(t, p))))
	}
}

func TestSVGIsWellFormedAndSelfContained(t *testing.T) {
	tl := newTimeline(plannedRestore(t, clockstate.Elapsed))
	tl.Root = `<script>alert("x")</script> & "co"`
	picture := svgOf(tl)
	for in := xml.NewDecoder(strings.NewReader(picture)); ; {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		if start, ok := token.(xml.StartElement); ok {
			if start.Name.Local == "script" || start.Name.Local == "image" || start.Name.Local == "use" {
				t.Errorf("element <%s> in the picture", start.Name.Local)
			}
		}
	}
	if strings.Contains(strings.ReplaceAll(picture, "http://www.w3.org/2000/svg", ""), "http") {
		t.Error("the picture refers to another place")
	}
}

func TestClimb(t *testing.T) {
	outage := clockstate.Outage{Duration: 100 * second, Source: clockstate.SameBoot}
	for _, tc := range []struct {
		name  string
		moved clockstate.Nanos
		want  int
	}{
		{"stands still", 0, 0},
		{"a correction does not show", 8 * millisecond, 0},
		{"half of the outage", 50 * second, svgRise},
		{"all of it", 100 * second, 2 * svgRise},
		{"more than it stays inside the lane", 1000 * second, 2 * svgRise},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := climb(lane{After: tc.moved}, outage); got != tc.want {
				t.Errorf("climb = %d, want %d", got, tc.want)
			}
		})
	}
}
