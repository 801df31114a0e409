// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/e2e/harness"
)

// service is a `crtime service` at a socket of the test's.
type service struct {
	*harness.Case
	address string
	cmd     *exec.Cmd
}

// startService starts one and waits until it listens. It must end in good order, and
// leave no socket.
func startService(c *harness.Case, flags ...string) *service {
	c.Helper()
	s := &service{Case: c, address: filepath.Join(c.Folder, "service.socket")}
	s.cmd = exec.Command(c.Crtime.Path, append([]string{"service", "--address", s.address}, flags...)...)
	s.cmd.Env = append(os.Environ(), "CRTIME_ENGINE="+c.Crtime.Engine, "CRTIME_CRIU="+c.CRIU.Path)
	c.Check(s.cmd.Start())
	c.Cleanup(s.stop)
	for range 200 {
		if conn, err := harness.Dial(s.address); err == nil {
			c.Check(conn.HangUp())
			return s
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.Fatal("the service does not listen")
	return nil
}

// stop ends the service.
func (s *service) stop() {
	if err := errors.Join(s.cmd.Process.Signal(syscall.SIGTERM), s.cmd.Wait()); err != nil {
		s.Errorf("end the service: %v", err)
	}
	if _, err := os.Stat(s.address); err == nil {
		s.Error("the service has left its socket")
	}
}

// ask sends one request over a connection of its own.
func (s *service) ask(req *rpc.CriuReq) *rpc.CriuResp {
	s.Helper()
	conn, err := harness.Dial(s.address)
	s.Check(err)
	resp, err := conn.Call(req, nil)
	s.Check(errors.Join(err, conn.HangUp()))
	return resp
}

// TestServiceCycles has two clients dump and restore at once, again and again.
func TestServiceCycles(t *testing.T) {
	eachEngine(t, func(c *harness.Case) {
		s := startService(c)
		if info, err := os.Stat(s.address); err != nil || info.Mode().Perm() != 0o600 {
			c.Errorf("the socket: %v, %v; want mode 0600", info.Mode(), err)
		}
		var clients sync.WaitGroup
		for _, name := range []string{"one", "other"} {
			cl := &client{Case: c}
			c.Check(os.Mkdir(c.Path(name), 0o700))
			images, err := os.Open(filepath.Join(c.Folder, name))
			c.Check(err)
			cl.images = images
			program := c.Ticker()
			program.Name = name
			ticker := c.Start(program)
			clients.Go(func() {
				defer images.Close()
				for range 3 {
					if resp := s.ask(cl.dumpRequest(ticker.PID)); !resp.GetSuccess() {
						c.Errorf("%s: %v\n%s", name, resp, cl.logs())
						return
					}
					c.Check(ticker.Reap(c.Context))
					restore := cl.restoreRequest()
					restore.Opts.RstSibling = nil
					if resp := s.ask(restore); !resp.GetSuccess() || int(resp.GetRestore().GetPid()) != ticker.PID {
						c.Errorf("%s: %v\n%s", name, resp, cl.logs())
						return
					}
					c.WaitRecords(ticker, 3)
				}
			})
		}
		clients.Wait()
	})
}

// TestServiceManyRequests sends 200 requests in a row, kept open and not.
func TestServiceManyRequests(t *testing.T) {
	c := newCase(t)
	s := startService(c)
	version := &rpc.CriuReq{Type: rpc.CriuReqType_VERSION.Enum(), KeepOpen: proto.Bool(true)}
	conn, err := harness.Dial(s.address)
	c.Check(err)
	for range 170 {
		resp, err := conn.Call(version, nil)
		c.Check(err)
		if v := resp.GetVersion(); v.GetMajorNumber() != 4 || v.GetMinorNumber() != 2 || v.Gitid != nil {
			c.Fatal(resp)
		}
	}
	c.Check(conn.HangUp())
	for range 30 {
		if resp := s.ask(version); !resp.GetSuccess() {
			c.Fatal(resp)
		}
	}
}

// TestServiceBadClients checks that clients which do nothing, or talk nonsense, leave
// others alone, and are sent away.
func TestServiceBadClients(t *testing.T) {
	c := newCase(t)
	s := startService(c, "--max-clients", "3", "--idle-timeout", "1s")
	var silent []*harness.Client
	for range 8 {
		conn, err := harness.Dial(s.address)
		c.Check(err)
		silent = append(silent, conn)
	}
	c.Check(silent[0].Send([]byte("nonsense")))
	if resp := s.ask(&rpc.CriuReq{Type: rpc.CriuReqType_VERSION.Enum()}); !resp.GetSuccess() {
		c.Error(resp)
	}
	for i, conn := range silent {
		resp, err := conn.Receive()
		if err != nil || resp.GetSuccess() || resp.GetCrErrmsg() == "" {
			c.Errorf("silent client %d: %v, %v", i, resp, err)
		}
		c.Check(conn.HangUp())
	}
	sibling := &rpc.CriuOpts{ImagesDirFd: proto.Int32(0), RstSibling: proto.Bool(true)}
	if resp := s.ask(&rpc.CriuReq{Type: rpc.CriuReqType_RESTORE.Enum(), Opts: sibling}); unix.Errno(resp.GetCrErrno()) != unix.EBADRQC {
		c.Errorf("a sibling of a client that did not start the service: %v", resp)
	}
}

// TestServiceForOwners has other users ask: the socket does not let them in, and where
// it does, they are not served.
func TestServiceForOwners(t *testing.T) {
	c := newCase(t)
	s := startService(c)
	const ask = `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
s.send(b"\x08\x0a")
print(s.recv(8192))`
	as := func(args ...string) string {
		out, err := exec.CommandContext(c.Context, args[0], append(args[1:], "/usr/bin/python3", "-c", ask, s.address)...).CombinedOutput()
		c.Logf("%v: %v, %s", args, err, out)
		return string(out)
	}
	nobody := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	if out := as(nobody...); !strings.Contains(out, "Permission denied") {
		c.Errorf("another user: %s", out)
	}
	c.Check(os.Chmod(s.address, 0o666))
	if out := as(nobody...); !strings.Contains(out, "operation not permitted") {
		c.Errorf("another user: %s", out)
	}
	if out := as("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"); !strings.Contains(out, "operation not permitted") {
		c.Errorf("root without CAP_SYS_PTRACE: %s", out)
	}
	if out := as("setpriv", "--clear-groups"); strings.Contains(out, "not permitted") {
		c.Errorf("root: %s", out)
	}
}
