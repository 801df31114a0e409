// SPDX-License-Identifier: Apache-2.0

package doors

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watch watches folders, or skips the test where that is not possible.
func watch(t *testing.T, look func(), dirs ...string) *Doors {
	t.Helper()
	d, err := Watch(dirs, look)
	for _, lacks := range []error{unix.EPERM, unix.ENOSYS, unix.EINVAL} {
		if errors.Is(err, lacks) {
			t.Skipf("permission events are not to be had: %v", err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWatch(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	looks, goOn := make(chan struct{}), make(chan struct{})
	d := watch(t, func() { looks <- struct{}{}; <-goOn }, first, second)
	for _, dir := range []string{first, second} {
		cmd := exec.Command("ls", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-looks
		if _, err := os.ReadDir(dir); err != nil { // It would wait for ever.
			t.Error(err)
		}
		ended := make(chan error)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
			t.Error("another process could open the folder meanwhile")
		case <-time.After(50 * time.Millisecond):
			goOn <- struct{}{}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command("ls", first).CombinedOutput(); err != nil {
		t.Errorf("after Close: %v\n%s", err, out)
	}
}

func TestWatchNothing(t *testing.T) {
	if d, err := Watch([]string{filepath.Join(t.TempDir(), "none")}, nil); err == nil {
		t.Errorf("watches a folder that does not exist: %v", d.Close())
	}
}
