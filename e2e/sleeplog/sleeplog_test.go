// SPDX-License-Identifier: Apache-2.0

package sleeplog

import (
	"syscall"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	l, err := Parse("ready\npoll 0 0 12 1 100 200\nrecv -1 11 -5 1 101 202\ngap 3 9 2\ndone\n")
	if err != nil || len(l.Ends) != 2 || l.From != 3 || l.To != 9 || l.Passed != 2 {
		t.Fatalf("got %+v, %v", l, err)
	}
	if want := (End{"recv", -1, syscall.EAGAIN, -5 * time.Microsecond, 1, 101, 202}); l.Ends[1] != want {
		t.Errorf("got %+v, want %+v", l.Ends[1], want)
	}
	for _, text := range []string{"poll\n", "gap 1\n", "poll x 0 0 1 2 3\n"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ready\npoll 0 0 12 1 100 200\ngap 3 9 2\ndone\n")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = Parse(text) })
}
