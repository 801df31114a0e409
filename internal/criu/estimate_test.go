// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEstimateWithoutExperience(t *testing.T) {
	t.Setenv(EnvState, t.TempDir())
	e := loadEstimates()
	if small, large := e.build(load{}), e.build(load{Bytes: 1 << 30}); small <= 0 || large < small+time.Second {
		t.Errorf("small %v, 1 GiB %v", small, large)
	}
}

func TestEstimateLearns(t *testing.T) {
	t.Setenv(EnvState, t.TempDir())
	const took = 37 * time.Millisecond
	for range keep + 5 {
		if err := loadEstimates().add(sample{load: load{Bytes: 300_000}, Build: took}); err != nil {
			t.Fatal(err)
		}
	}
	e := loadEstimates()
	if len(e.samples) != keep {
		t.Errorf("%d samples kept, want %d", len(e.samples), keep)
	}
	if got := e.build(load{Bytes: 350_000}); got < took || got > took+10*time.Millisecond {
		t.Errorf("a restore that always takes %v is expected to take %v", took, got)
	}
	if got, want := e.build(load{Bytes: 350_000, Spaces: "mnt"}), assumed(load{Spaces: "mnt"}); got < want {
		t.Errorf("a container, never seen, is expected to take %v, less than the assumption %v", got, want)
	}
	if got, want := e.build(load{Bytes: 1 << 30}), assumed(load{Bytes: 1 << 30}); got < want {
		t.Errorf("1 GiB, never seen, is expected to take %v, less than the assumption %v", got, want)
	}
}

func TestEstimateIgnoresDamage(t *testing.T) {
	for name, content := range map[string]string{
		"no json":        "{",
		"absurd samples": `[{"bytes":-1,"build_ns":5},{"bytes":1,"build_ns":-5},{"bytes":1,"build_ns":9223372036854775807}]`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv(EnvState, dir)
			if err := os.WriteFile(filepath.Join(dir, estimatesFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if e := loadEstimates(); len(e.samples) != 0 {
				t.Errorf("believed %v", e.samples)
			}
		})
	}
}

func TestEstimateCoversMostRestores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &estimates{}
		times := rapid.SliceOfN(rapid.Int64Range(int64(time.Millisecond), int64(10*time.Second)), 1, consult).Draw(t, "times")
		for _, d := range times {
			e.samples = append(e.samples, sample{load: load{Bytes: 1000}, Build: time.Duration(d)})
		}
		late := 0
		for _, d := range times {
			if time.Duration(d) > e.build(load{Bytes: 1000}) {
				late++
			}
		}
		if late*10 > len(times) {
			t.Errorf("%d of %d restores would have been late", late, len(times))
		}
	})
}
