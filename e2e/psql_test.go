// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/crtime/crtime/e2e/harness"
)

// psql is a client that stays connected to a database.
type psql struct {
	*harness.Case
	in  io.Writer
	out *bufio.Reader
}

func newPsql(c *harness.Case, path string, port int) *psql {
	c.Helper()
	args := []string{"-h", "127.0.0.1", "-p", fmt.Sprint(port), "-U", "test", "-d", "postgres", "-X", "-q", "-t", "-A"}
	// The server listens before it lets anybody in.
	for exec.CommandContext(c.Context, path, append(args, "-c", "select 1")...).Run() != nil {
		c.Check(c.Context.Err())
		time.Sleep(50 * time.Millisecond)
	}
	cmd := exec.CommandContext(c.Context, path, args...)
	in, err := cmd.StdinPipe()
	c.Check(err)
	out, err := cmd.StdoutPipe()
	c.Check(err)
	c.Check(cmd.Start())
	c.Cleanup(func() {
		// It ends with its standard input.
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &psql{c, in, bufio.NewReader(out)}
}

// expect sends a query and compares the one line of the answer.
func (p *psql) expect(query, want string) {
	p.Helper()
	_, err := io.WriteString(p.in, query+"\n")
	p.Check(err)
	got, err := p.out.ReadString('\n')
	p.Check(err)
	if got = strings.TrimSpace(got); got != want {
		p.Fatalf("%s gave %q, want %q", query, got, want)
	}
}
