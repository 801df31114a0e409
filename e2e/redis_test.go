// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/harness"
)

// TestRedis keeps two connections over a dump and a restore: one between
// commands, and one that waits in BLPOP with a timeout. Their other ends are in
// this process, which is not dumped.
func TestRedis(t *testing.T) {
	c := newCase(t)
	port := freePort(c)
	program, err := c.Redis(c.Folder, port)
	c.Need(err)
	server := c.StartSilent(program)
	awaitPort(c, port)
	idle, blocked := dialRedis(c, port), dialRedis(c, port)
	idle.expect("SET key value", "+OK")
	blocked.send("BLPOP list 3")
	begin := time.Now()
	time.Sleep(300 * time.Millisecond)

	images := c.Path("images")
	c.Dump(server, images, "--tcp-established")
	const outage = time.Second
	time.Sleep(outage)
	c.Restore(server, images, "--tcp-established")

	idle.expect("GET key", "$5", "value")
	// Redis ends the wait at a time of the wall clock, which no namespace shifts,
	// so the outage counts. It looks ten times a second.
	blocked.expectReply("*-1")
	const least, most = 2900 * time.Millisecond, 4 * time.Second
	took := time.Since(begin)
	if took < least || took > most {
		t.Errorf("BLPOP gave up after %v, want %v to %v", took, least, most)
	}
	t.Logf("BLPOP with a timeout of 3 s, %v of it an outage, gave up after %v", outage, took)

	blocked.send("BLPOP list 0")
	idle.expect("RPUSH list element", ":1")
	blocked.expectReply("*2", "$4", "list", "$7", "element")
}

// redisConn speaks redis's protocol, with inline commands.
type redisConn struct {
	*harness.Case
	conn net.Conn
	in   *bufio.Reader
}

func dialRedis(c *harness.Case, port int) *redisConn {
	c.Helper()
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*time.Second)
	c.Check(err)
	c.Cleanup(func() { _ = conn.Close() })
	c.Check(conn.SetDeadline(time.Now().Add(time.Minute)))
	return &redisConn{c, conn, bufio.NewReader(conn)}
}

func (r *redisConn) send(command string) {
	r.Helper()
	_, err := io.WriteString(r.conn, command+"\r\n")
	r.Check(err)
}

func (r *redisConn) expectReply(lines ...string) {
	r.Helper()
	for _, want := range lines {
		got, err := r.in.ReadString('\n')
		r.Check(err)
		if got = strings.TrimSpace(got); got != want {
			r.Fatalf("redis answered %q, want %q", got, want)
		}
	}
}

func (r *redisConn) expect(command string, lines ...string) {
	r.Helper()
	r.send(command)
	r.expectReply(lines...)
}

// freePort returns a port of the loopback interface that was free just now.
func freePort(c *harness.Case) int {
	c.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	c.Check(err)
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		c.Fatalf("a listener has the address %v", l.Addr())
	}
	return addr.Port
}

// awaitPort waits until somebody listens.
func awaitPort(c *harness.Case, port int) {
	c.Helper()
	for c.Context.Err() == nil {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Fatalf("nobody listens on port %d", port)
}
