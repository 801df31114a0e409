// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"
	"testing"
)

// BenchmarkFreeze freezes a tree and lets it go.
func BenchmarkFreeze(b *testing.B) {
	for _, bb := range []struct {
		kind  string
		count int
	}{{"threads", 1}, {"threads", 64}, {"tree", 100}, {"forks", 6}, {"clones", 8}} {
		b.Run(fmt.Sprint(bb.kind, bb.count), func(b *testing.B) {
			x := start(b, bb.kind, bb.count)
			err := Run(func(tr *Tracer) error {
				for b.Loop() {
					tree, err := tr.Freeze(b.Context(), x.PID)
					if err != nil {
						return err
					}
					b.StopTimer()
					err = tree.Release()
					x.Progress(1)
					b.StartTimer()
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(errors.Join(err))
			}
		})
	}
}
