// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

// helperVariable tells the test binary to offer the clocks of these images until it is
// killed.
const helperVariable = "CRTIME_VIEW_HELPER"

func TestMain(m *testing.M) {
	images := os.Getenv(helperVariable)
	if images == "" {
		os.Exit(m.Run())
	}
	v, err := WithClocks(images)
	if err == nil {
		_, err = v.OfferClocks()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(v.dir.Fd())
	select {}
}

// Whoever waits for the clocks of a process that dies finds that there are none.
func TestOfferClocksKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	helper := exec.Command(self)
	helper.Env = append(os.Environ(), helperVariable+"="+imagesInTimeNS(t))
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	// The error says that it was killed.
	defer func() { _ = helper.Wait() }()
	defer func() { _ = helper.Process.Kill() }()
	var fd int
	if _, err := fmt.Fscan(bufio.NewReader(out), &fd); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd/%d", helper.Process.Pid, fd))
	if err != nil {
		t.Fatal(err)
	}
	v := &View{dir: dir}
	defer v.Close()
	got := make(chan []byte)
	go readAsCRIU(v, got)
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if data := <-got; data == nil || len(data) != 0 {
		t.Errorf("read %x", data)
	}
}

// offered makes a view of images and the offer of its clocks.
func offered(t *testing.T, images string) (*View, *ClockOffer) {
	t.Helper()
	v, err := WithClocks(images)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	o, err := v.OfferClocks()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return v, o
}

// Of a tree with mounts of its own the view is another.
func TestOfferClocks(t *testing.T) {
	t.Run("links", func(t *testing.T) { testOfferClocks(t, imagesInTimeNS(t)) })
	t.Run("overlay", func(t *testing.T) {
		images := imagesInTimeNS(t)
		if err := os.WriteFile(filepath.Join(images, "mountpoints-1.img"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		testOfferClocks(t, images)
		if info, err := os.Stat(filepath.Join(images, "timens-9.img")); err != nil || info.Size() == 0 {
			t.Errorf("the user's images were changed: %v, %v", info, err)
		}
	})
}

// readAsCRIU reads the record as CRIU does: to its end.
func readAsCRIU(v *View, into chan<- []byte) {
	f, err := os.Open(v.Path("timens-9.img"))
	if err != nil {
		into <- nil
		return
	}
	defer f.Close()
	data, _ := io.ReadAll(f)
	into <- data
}

func testOfferClocks(t *testing.T, images string) {
	v, o := offered(t, images)
	if data, err := os.ReadFile(v.Path("pages-1.img")); err != nil || string(data) != "pages-1.img" {
		t.Errorf("another image: %q, %v", data, err)
	}
	// The kernel tells who has a lease that somebody wants it, if it is to.
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGIO)
	defer signal.Stop(told)
	got := make(chan []byte)
	go readAsCRIU(v, got)
	if err := o.Await(); err != nil {
		t.Fatal(err)
	}
	if err := o.Put(5_000_000_001, 7_999_999_999); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-told:
		t.Errorf("the program got %v", s)
	default:
	}
	path := filepath.Join(t.TempDir(), "timens-9.img")
	if err := os.WriteFile(path, <-got, 0o600); err != nil {
		t.Fatal(err)
	}
	e := &timens.TimensEntry{}
	_, err := ReadEntry(path, e)
	m, b := e.GetMonotonic(), e.GetBoottime()
	if err != nil || m.GetTvSec() != 5 || m.GetTvNsec() != 1 || b.GetTvSec() != 7 || b.GetTvNsec() != 999_999_999 {
		t.Errorf("read %v, %v", e, err)
	}

	// And again.
	o.Close()
	second, err := v.OfferClocks()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	go readAsCRIU(v, got)
	if err := second.Await(); err != nil {
		t.Fatal(err)
	}
	if err := second.Put(-1, 0); !errors.Is(err, clockstate.ErrOutOfRange) {
		t.Errorf("a negative clock: %v", err)
	}
	second.Close()
	if data := <-got; len(data) != 0 {
		t.Errorf("a record that was not written holds %x", data)
	}
}

func TestOfferClocksClosed(t *testing.T) {
	_, o := offered(t, imagesInTimeNS(t))
	ended := make(chan error)
	go func() { ended <- o.Await() }()
	o.Close()
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
	o.Close()
}

func TestWithClocksRefuses(t *testing.T) {
	images := imagesInTimeNS(t)
	if err := os.Remove(filepath.Join(images, "timens-9.img")); err != nil {
		t.Fatal(err)
	}
	if v, err := WithClocks(images); !errors.Is(err, ErrRecord) {
		t.Errorf("got %v, %v", v, err)
	}
}
