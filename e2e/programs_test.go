// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// TestTickers dumps and restores the programs that print their clocks.
func TestTickers(t *testing.T) {
	tests := []struct {
		name    string
		program func(*harness.Case) (harness.Program, error)
		slow    bool
		// boottime tells whether the program can read that clock.
		boottime bool
	}{
		{"C", func(c *harness.Case) (harness.Program, error) { return c.Ticker("-t", "16"), nil }, false, true},
		{"Go", func(c *harness.Case) (harness.Program, error) { return c.GoTicker(), nil }, false, true},
		{"pipeline", func(c *harness.Case) (harness.Program, error) { return c.Pipeline(), nil }, false, true},
		{"sqlite", func(c *harness.Case) (harness.Program, error) {
			c.Path("db-wal")
			c.Path("db-shm")
			return c.SQLite(c.Path("db"))
		}, false, true},
		{"node", func(c *harness.Case) (harness.Program, error) { return c.Node() }, true, false},
		{"java", func(c *harness.Case) (harness.Program, error) { return c.Java() }, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.slow && testing.Short() {
				t.Skip("slow to start; left out with -short")
			}
			eachEngine(t, func(c *harness.Case) {
				program, err := test.program(c)
				c.Need(err)
				tree := c.Start(program)
				if usesIOURing(c, tree) {
					refusesIOURing(c, tree)
					return
				}
				dump, r := cycle(c, tree, 500*time.Millisecond)
				if live := len(tree.PIDs()); live != dump.Processes {
					c.Errorf("%d processes run, %d were dumped", live, dump.Processes)
				}
				step := oneOutage(c, tree)
				stood(c, step, clocklog.Monotonic, r)
				if test.boottime {
					followed(c, step, clocklog.Boottime, r)
				}
			})
		})
	}
}

// usesIOURing reports whether a program has a ring, as every node of Debian 13 has.
func usesIOURing(c *harness.Case, tree *harness.Tree) bool {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", tree.PIDs()[0]))
	c.Check(err)
	return bytes.Contains(maps, []byte("[io_uring]"))
}

// refusesIOURing checks the error for a program that CRIU cannot dump.
func refusesIOURing(c *harness.Case, tree *harness.Tree) {
	c.Helper()
	_, err := c.Crtime.Dump(c.Context, tree.PIDs()[0], c.Path("images"))
	refused(c, err, harness.CodeOf(err), "kernel.io_uring_disabled")
}

// TestHTTPServer checks that a server answers after a restore on the socket
// that it had, with the state that it had.
func TestHTTPServer(t *testing.T) {
	c := newCase(t)
	program, err := c.HTTPServer()
	c.Need(err)
	server := c.Start(program)
	log := c.GoodLog(server)
	url := "http://127.0.0.1:" + strings.TrimPrefix(log.Notes[0], "port ")
	if got := get(c, url); got != "1" {
		t.Fatalf("the server answered %q, want 1", got)
	}
	_, r := cycle(c, server, 500*time.Millisecond)
	if got := get(c, url); got != "2" {
		t.Errorf("after the restore the server answered %q, want 2", got)
	}
	stood(c, oneOutage(c, server), clocklog.Monotonic, r)
}

// TestNginx checks a master with two workers.
func TestNginx(t *testing.T) {
	c := newCase(t)
	port := freePort(c)
	for _, name := range []string{"nginx.conf", "nginx.pid", "error.log", "body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		c.Path(name)
	}
	program, err := c.Nginx(c.Folder, port)
	c.Need(err)
	server := c.StartSilent(program)
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	awaitPort(c, port)
	if got := get(c, url); got != "it works" {
		t.Fatalf("nginx answered %q", got)
	}
	images := c.Path("images")
	dump := c.Dump(server, images)
	if dump.Processes != 3 {
		t.Errorf("%d processes were dumped, want a master and two workers", dump.Processes)
	}
	c.Restore(server, images)
	for range 4 {
		if got := get(c, url); got != "it works" {
			t.Errorf("after the restore nginx answered %q", got)
		}
	}
}

// get asks for a page on a connection of its own, so that none is established
// during a dump.
func get(c *harness.Case, url string) string {
	c.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	c.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	c.Check(err)
	return string(body)
}
