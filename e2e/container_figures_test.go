// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
)

// figures are what one checkpoint and restore of a container took, and what its ticker
// saw.
type figures struct {
	checkpoint, restore time.Duration
	jump, boottime      time.Duration // Of CLOCK_MONOTONIC; of CLOCK_BOOTTIME from where it should be.
	backward            int
}

// TestContainerFigures shows side by side what becomes of a container with plain CRIU and
// with crtime in its place. They take turns; the first round is not counted, as crtime has
// yet to learn how long CRIU takes.
func TestContainerFigures(t *testing.T) {
	rounds := repeats{variable: "CRTIME_E2E_CONTAINERS", short: 1, usual: 1, each: 15 * time.Second}.times(newCase(t))
	results := map[string][]figures{}
	tools := []string{"criu", "crtime"}
	for round := range rounds + 1 {
		for turn := range tools {
			tool := tools[(round+turn)%len(tools)]
			t.Run(tool, func(t *testing.T) {
				k := newContainer(newCase(t), hostNetwork)
				if tool == "criu" {
					k.path = filepath.Dir(k.CRIU.Path) + ":" + os.Getenv("PATH")
				}
				f := k.figures()
				if tool == "crtime" && (f.backward > 0 || f.boottime.Abs() > 5*time.Millisecond) {
					t.Errorf("%+v", f)
				}
				if round > 0 {
					results[tool] = append(results[tool], f)
				}
			})
		}
	}
	if t.Failed() {
		return
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "MEDIAN OF %d\tCHECKPOINT\tRESTORE\tJUMP OF MONOTONIC\tERROR OF BOOTTIME\tBACKWARD\n", rounds)
	for _, tool := range tools {
		median := func(of func(figures) time.Duration) string {
			var all []time.Duration
			for _, f := range results[tool] {
				all = append(all, of(f))
			}
			slices.Sort(all)
			return fmt.Sprintf("%.3f ms", float64(all[len(all)/2])/float64(time.Millisecond))
		}
		back := 0
		for _, f := range results[tool] {
			back += f.backward
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", tool,
			median(func(f figures) time.Duration { return f.checkpoint }),
			median(func(f figures) time.Duration { return f.restore }),
			median(func(f figures) time.Duration { return f.jump }),
			median(func(f figures) time.Duration { return f.boottime }), back)
	}
	_ = w.Flush() // It writes to memory.
	t.Logf("\n%s", table.String())
}

// figures has runc run the container, checkpoint it and restore it a second later.
func (k *container) figures() (f figures) {
	k.Helper()
	k.must("run", "-d", "-b", k.bundle, k.id)
	k.log(30)
	begin := time.Now()
	k.must("checkpoint", "--image-path", k.images, "--work-path", k.images, k.id)
	f.checkpoint = time.Since(begin)
	time.Sleep(time.Second)
	begin = time.Now()
	k.must("restore", "-d", "-b", k.bundle, "--image-path", k.images, "--work-path", k.images, k.id)
	f.restore = time.Since(begin)
	log := k.log(len(k.log(0).Records) + 30)
	steps, err := log.Outages(1)
	k.Check(err)
	f.jump, f.boottime, f.backward = steps[0].Advance(clocklog.Monotonic), steps[0].BoottimeError(), len(log.Backward())
	k.must("kill", k.id, "KILL")
	return f
}
