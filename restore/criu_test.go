// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/imported"
	"github.com/crtime/crtime/internal/testkit"
)

func TestOpenCRIU(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(t *testing.T, dir string)
		want []error // None: it opens.
	}{
		{"as it is", func(*testing.T, string) {}, nil},
		{"no clocks", func(t *testing.T, dir string) { remove(t, dir, "timens-0.img") }, []error{ErrNoClocks, imported.ErrNoClocks}},
		{"not finished", func(t *testing.T, dir string) { remove(t, dir, "inventory.img") }, []error{image.ErrNoImages}},
		{"something of ours", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, clockstate.FileName), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []error{image.ErrNoImages}},
		{"incomplete", func(t *testing.T, dir string) { remove(t, dir, "core-4711.img") }, []error{image.ErrMissing}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "images")
			if err := testkit.PlainTree().Write(dir); err != nil {
				t.Fatal(err)
			}
			tc.harm(t, dir)
			im, err := OpenCRIU(dir)
			for _, want := range tc.want {
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			if opened := im != nil; opened != (tc.want == nil) || opened != (err == nil) {
				t.Fatalf("got %v, %v", im, err)
			}
			if im == nil {
				return
			}
			if im.Bytes() == 0 || im.State.FreezeSource != clockstate.FreezeImported {
				t.Errorf("%d bytes, clocks %v", im.Bytes(), im.State.FreezeSource)
			}
			plan, err := Plan(im, PlanOptions{})
			if err != nil || plan.Outage.Source != clockstate.WallClockSource || plan.Outage.Bounded {
				t.Errorf("plan %+v, %v", plan, err)
			}
		})
	}
}

// TestOpenAny says what is missing in the words of Open where there is no dump at all.
func TestOpenAny(t *testing.T) {
	empty := t.TempDir()
	_, err := OpenAny(empty)
	if _, want := Open(empty); err == nil || err.Error() != want.Error() {
		t.Errorf("an empty directory: %v, want %v", err, want)
	}
	plain := filepath.Join(t.TempDir(), "images")
	if err := testkit.PlainTree().Write(plain); err != nil {
		t.Fatal(err)
	}
	if im, err := OpenAny(plain); err != nil || im.Manifest != nil {
		t.Errorf("images of CRIU's: %+v, %v", im, err)
	}
	remove(t, plain, "timens-0.img")
	if _, err := OpenAny(plain); !errors.Is(err, ErrNoClocks) {
		t.Errorf("without clocks: %v", err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
