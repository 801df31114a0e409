// SPDX-License-Identifier: Apache-2.0

package native

import (
	"fmt"
	"testing"

	"github.com/crtime/crtime/clockstate"
)

// lived is where a process lived, and its children were to.
type lived struct {
	pid              int32
	own, forChildren uint64
}

func TestPlanSpaces(t *testing.T) {
	for _, tt := range []struct {
		name      string
		processes []lived
		living    []int
		want      string // The rounds; "": it is refused.
	}{
		{"one", []lived{{1, 5, 5}, {2, 5, 5}}, []int{1, 2}, "[[1 2]]"},
		{"two", []lived{{1, 5, 5}, {2, 6, 6}}, []int{1, 2}, "[[1 2]]"},
		{"made for children", []lived{{1, 5, 6}, {2, 6, 6}}, []int{1, 2}, "[[1] [2]]"},
		{"nobody in it yet", []lived{{1, 5, 6}}, []int{1}, "[[1]]"},
		{"levels, in any order", []lived{{3, 7, 7}, {2, 6, 7}, {1, 5, 6}}, []int{3, 2, 1}, "[[1] [2] [3]]"},
		{"a process that is not recorded", []lived{{1, 5, 5}}, []int{1, 2}, ""},
		{"made by two", []lived{{1, 5, 6}, {2, 5, 6}}, []int{1, 2}, ""},
		{"made by each other", []lived{{1, 5, 6}, {2, 6, 5}}, []int{1, 2}, ""},
		{"its maker is a zombie", []lived{{1, 5, 5}, {2, 5, 6}, {3, 6, 6}}, []int{1, 3}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &clockstate.State{}
			for _, p := range tt.processes {
				s.Processes = append(s.Processes, clockstate.Process{OuterPID: p.pid, Namespace: p.own, NamespaceForChildren: p.forChildren})
			}
			sp, err := planSpaces(s, tt.living)
			switch {
			case tt.want == "" && err == nil:
				t.Errorf("it was accepted: %v", sp.rounds)
			case tt.want != "" && err != nil:
				t.Error(err)
			case tt.want != "" && fmt.Sprint(sp.rounds) != tt.want:
				t.Errorf("rounds %v, want %s", sp.rounds, tt.want)
			}
		})
	}
}
