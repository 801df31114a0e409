// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Counter is a program that tells how it goes in a page of memory which it shares
// with the test, so that it need not make a system call for that. Word 0 counts
// rounds and is not 0 when the program is ready, word 1 says what went wrong, the
// others are the program's own.
type Counter struct {
	PID  int
	Page []byte
	t    testing.TB
}

// StartCounter starts a program like [Start], with the file of the page among its
// arguments, and waits until it has made some rounds.
func StartCounter(t testing.TB, cmd *exec.Cmd, file string) *Counter {
	t.Helper()
	page := sharedPage(t, file)
	cmd.Stderr = os.Stderr
	Start(t, cmd)
	x := &Counter{PID: cmd.Process.Pid, Page: page, t: t}
	x.Progress(2)
	return x
}

// PageFile is the path of a new file for [StartCounter].
func PageFile(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "page")
}

// sharedPage makes the file, and maps it until the test ends.
func sharedPage(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	page, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(page) })
	return page
}

// Word is a word of the page.
func (x *Counter) Word(i int) uint64 { return binary.NativeEndian.Uint64(x.Page[8*i:]) }

// Progress waits until the program has made n more rounds, all of them right.
func (x *Counter) Progress(n uint64) {
	x.t.Helper()
	from := x.Word(0)
	for deadline := time.Now().Add(patience); x.Word(0) < from+n; time.Sleep(50 * time.Microsecond) {
		if time.Now().After(deadline) {
			x.t.Fatalf("process %d has made %d rounds of %d, error %d:\n%s", x.PID, x.Word(0)-from, n, x.Word(1), x.Status())
		}
	}
	if e := x.Word(1); e != 0 {
		x.t.Fatalf("process %d says that something went wrong: %d", x.PID, e)
	}
}

// Status says what the kernel knows of a program that does not go on.
func (x *Counter) Status() []byte {
	dir := filepath.Join("/proc", strconv.Itoa(x.PID))
	text, _ := os.ReadFile(filepath.Join(dir, "status"))
	call, _ := os.ReadFile(filepath.Join(dir, "syscall"))
	return append(text, call...)
}
