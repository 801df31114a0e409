// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// serving is a command line of CRIU's that serves somebody, and ends by itself.
type serving struct {
	*exec.Cmd
	said bytes.Buffer
}

// serve starts a command line of CRIU's and waits until it says, as CRIU does through
// --status-fd, that it is ready.
func (a *asCRIU) serve(args ...string) *serving {
	a.Helper()
	ready, tell, err := os.Pipe()
	a.Check(err)
	defer ready.Close()
	const first = 3
	number := strconv.Itoa(first + len(a.files))
	s := &serving{Cmd: exec.CommandContext(a.Context, a.path, append(args, "--status-fd", number)...)}
	s.Env, s.ExtraFiles = a.environment(), append(slices.Clone(a.files), tell)
	s.Stdout, s.Stderr = &s.said, &s.said
	a.Check(s.Start())
	a.Check(tell.Close())
	a.Check(ready.SetReadDeadline(time.Now().Add(30 * time.Second)))
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		a.Fatalf("criu %s is not ready: %v, %v\n%s", args[0], err, s.Wait(), &s.said)
	}
	return s
}

// ends fails the test unless the command ends well.
func (a *asCRIU) ends(s *serving) {
	a.Helper()
	if err := s.Wait(); err != nil {
		a.Errorf("criu %s: %v\n%s", s.Args[1], err, &s.said)
	}
}

// folder makes a folder of the test's.
func (a *asCRIU) folder(name string) string {
	a.Helper()
	dir := a.Path(name)
	a.Check(os.Mkdir(dir, 0o700))
	return dir
}

// copyImages copies what a dump has written beside what a page server has.
func copyImages(c *harness.Case, from, to string) {
	c.Helper()
	names, err := filepath.Glob(filepath.Join(from, "*"))
	c.Check(err)
	for _, name := range names {
		if filepath.Ext(name) == ".log" {
			continue
		}
		data, err := os.ReadFile(name)
		c.Check(err)
		c.Check(os.WriteFile(filepath.Join(to, filepath.Base(name)), data, 0o600))
	}
}

// onlyBoottimeWentOn fails the test unless the clocks of the only outage are as the usual
// policy has them.
func onlyBoottimeWentOn(c *harness.Case, t *harness.Tree) {
	c.Helper()
	step := oneOutage(c, t)
	if off := step.BoottimeError(); off.Abs() > 5*time.Millisecond {
		c.Errorf("CLOCK_BOOTTIME is off by %v", off)
	}
	if jump := step.Advance(clocklog.Monotonic); jump > time.Second {
		c.Errorf("CLOCK_MONOTONIC jumped by %v", jump)
	}
}

// TestPageServer sends the memory to a page server: into a directory of its own, or into
// the one of the dump.
func TestPageServer(t *testing.T) {
	for _, together := range []bool{false, true} {
		for _, engine := range []string{engineCRIU, engineNative} {
			t.Run(fmt.Sprintf("together=%v/%s", together, engine), func(t *testing.T) {
				c := newCase(t)
				criu := newAsCRIU(c)
				pages := criu.folder("pages")
				images := pages
				if !together {
					images = criu.folder("images")
				}
				ticker, port := c.Start(c.Ticker("-m", "8", "-t", "2")), fmt.Sprint(freePort(c))
				server := criu.serve("page-server", "-D", pages, "--address", "127.0.0.1", "--port", port, "-o", "server.log")
				if out, err := criu.run("dump", "-t", fmt.Sprint(ticker.PID), "-D", images, "-o", "dump.log",
					"--page-server", "--address", "127.0.0.1", "--port", port); err != nil {
					c.Fatalf("dump: %v\n%s", err, out)
				}
				c.Check(ticker.Reap(c.Context))
				criu.ends(server)
				if !together {
					copyImages(c, images, pages)
				}
				time.Sleep(2 * time.Second)
				c.UseEngine(engine)
				if out, err := criu.run("restore", "-d", "-D", pages, "-o", "restore.log"); err != nil {
					c.Fatalf("restore: %v\n%s", err, out)
				}
				c.WaitRecords(ticker, 30)
				onlyBoottimeWentOn(c, ticker)
			})
		}
	}
}

// connected are both ends of a connection.
func connected(c *harness.Case) (one, other *os.File) {
	c.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	c.Check(err)
	defer l.Close()
	file := func(conn net.Conn, err error) *os.File {
		c.Check(err)
		defer conn.Close()
		f, err := conn.(*net.TCPConn).File()
		c.Check(err)
		c.Cleanup(func() { f.Close() }) // It may have been closed.
		return f
	}
	one = file(net.Dial("tcp", l.Addr().String()))
	return one, file(l.Accept())
}

// TestPageServerSocket has both ends of the connection made by somebody else, and handed
// down to the server and, by command line or by request, to the dump.
func TestPageServerSocket(t *testing.T) {
	for _, byRequest := range []bool{false, true} {
		t.Run(fmt.Sprintf("request=%v", byRequest), func(t *testing.T) {
			c := newCase(t)
			criu, cl := newAsCRIU(c), newClient(c, "")
			images := cl.images.Name()
			ticker := c.Start(c.Ticker("-m", "8", "-t", "2"))
			ours, theirs := connected(c)
			criu.files = []*os.File{theirs}
			server := criu.serve("page-server", "-D", images, "--ps-socket", "3", "-o", "server.log")
			c.Check(theirs.Close())
			if byRequest {
				cl.files = []*os.File{ours}
				dump := cl.dumpRequest(ticker.PID)
				dump.Opts.Ps = &rpc.CriuPageServerInfo{Fd: proto.Int32(4)}
				cl.do(dump)
				cl.files = nil
			} else {
				criu.files = []*os.File{ours}
				if out, err := criu.run("dump", "-t", fmt.Sprint(ticker.PID), "-D", images, "-o", "dump.log", "--page-server", "--ps-socket", "3"); err != nil {
					c.Fatalf("dump: %v\n%s", err, out)
				}
			}
			c.Check(ticker.Reap(c.Context))
			criu.ends(server)
			cl.do(cl.restoreRequest())
			c.WaitRecords(ticker, 30)
			onlyBoottimeWentOn(c, ticker)
		})
	}
}

// TestPageServerMissing dumps to a page server that is not there: the program runs on.
func TestPageServerMissing(t *testing.T) {
	c := newCase(t)
	criu := newAsCRIU(c)
	images := criu.folder("images")
	ticker := c.Start(c.Ticker())
	if out, err := criu.run("dump", "-t", fmt.Sprint(ticker.PID), "-D", images, "-o", "dump.log",
		"--page-server", "--address", "127.0.0.1", "--port", fmt.Sprint(freePort(c))); err == nil || !strings.Contains(out, "page server") {
		c.Errorf("%v\n%s", err, out)
	}
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
	noImages(c, images)
}

// noImages fails the test if images are left.
func noImages(c *harness.Case, dir string) {
	c.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*.img"))
	c.Check(err)
	if _, err := os.Stat(filepath.Join(dir, "crtime-manifest.txt")); err == nil || len(left) > 0 {
		c.Errorf("images are left: %q", left)
	}
}

// TestRPCPageServer does the same by requests. The server is a child of CRIU's, whose end
// the client asks for over the same connection, or a daemon.
func TestRPCPageServer(t *testing.T) {
	for _, test := range []struct {
		kind   rpc.CriuReqType
		engine string // That restores.
	}{
		{rpc.CriuReqType_PAGE_SERVER_CHLD, engineNative},
		{rpc.CriuReqType_PAGE_SERVER, engineCRIU},
	} {
		t.Run(test.kind.String(), func(t *testing.T) {
			c := newCase(t)
			cl := newClient(c, "")
			pages := c.Path("pages")
			c.Check(os.Mkdir(pages, 0o700))
			dir, err := os.Open(pages)
			c.Check(err)
			defer dir.Close()
			address := &rpc.CriuPageServerInfo{Address: proto.String("127.0.0.1"), Port: proto.Int32(int32(freePort(c)))}
			child := test.kind == rpc.CriuReqType_PAGE_SERVER_CHLD

			server := cl.connect()
			resp, err := server.Call(&rpc.CriuReq{
				Type: test.kind.Enum(), KeepOpen: proto.Bool(child),
				Opts: &rpc.CriuOpts{ImagesDirFd: proto.Int32(int32(dir.Fd())), Ps: address},
			}, nil)
			c.Check(err)
			pid := resp.GetPs().GetPid()
			if !resp.GetSuccess() || resp.GetType() != rpc.CriuReqType_PAGE_SERVER || resp.GetPs().GetPort() != address.GetPort() {
				c.Fatalf("got %v, want the port %d", resp, address.GetPort())
			}
			if child != (pid > 0) { // CRIU 4.2 does not tell a daemon's.
				c.Errorf("the page server has pid %d", pid)
			}

			ticker := c.Start(c.Ticker("-m", "8", "-t", "2"))
			dump := cl.dumpRequest(ticker.PID)
			dump.Opts.Ps = address
			cl.do(dump)
			c.Check(ticker.Reap(c.Context))
			if child {
				resp, err = server.Call(&rpc.CriuReq{Type: rpc.CriuReqType_WAIT_PID.Enum(), Pid: proto.Uint32(uint32(pid))}, nil)
				c.Check(err)
				if !resp.GetSuccess() || resp.GetType() != rpc.CriuReqType_WAIT_PID {
					c.Errorf("the page server ended with %v", resp)
				}
			}
			if status, err := server.End(); err != nil || status != 0 {
				c.Errorf("status %d, %v", status, err)
			}
			c.Settle() // A daemon may not be done yet.

			copyImages(c, pages, cl.images.Name())
			time.Sleep(2 * time.Second)
			cl.engine = test.engine
			cl.do(cl.restoreRequest())
			c.WaitRecords(ticker, 30)
			onlyBoottimeWentOn(c, ticker)
		})
	}
}

// needsUserfaults skips the test where CRIU cannot restore lazily at all.
func needsUserfaults(c *harness.Case) {
	c.Helper()
	if out, err := exec.Command(c.CRIU.Path, "check", "--feature", "uffd-noncoop").CombinedOutput(); err != nil {
		c.Skipf("this kernel has no userfaultfd for CRIU: %v\n%s", err, out)
	}
}

// needsWidePipes skips the test where CRIU's page server cannot hand out pages: it makes
// a pipe for 819 of them, more than fs.pipe-max-size usually lets those make who lack
// CAP_SYS_RESOURCE, and does not look whether that went well.
func needsWidePipes(c *harness.Case) {
	c.Helper()
	var p [2]int
	c.Check(unix.Pipe2(p[:], unix.O_CLOEXEC))
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if _, err := unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, 819*os.Getpagesize()); err != nil {
		c.Skipf("this machine lacks the right to make wide pipes: %v", err)
	}
}

// TestLazyPages restores images whose pages are read when they are used.
func TestLazyPages(t *testing.T) {
	eachEngine(t, func(c *harness.Case) {
		needsUserfaults(c)
		criu := newAsCRIU(c)
		images := criu.folder("images")
		ticker := c.Start(c.Ticker("-m", "8", "-t", "2"))
		if out, err := criu.run("dump", "-t", fmt.Sprint(ticker.PID), "-D", images, "-o", "dump.log"); err != nil {
			c.Fatalf("dump: %v\n%s", err, out)
		}
		c.Check(ticker.Reap(c.Context))
		time.Sleep(2 * time.Second)
		// Only CRIU knows how.
		c.UseEngine("")
		server := criu.serve("lazy-pages", "-D", images, "-o", "lazy.log")
		if out, err := criu.run("restore", "-d", "-D", images, "--lazy-pages", "-o", "restore.log"); err != nil {
			c.Fatalf("restore: %v\n%s", err, out)
		}
		criu.ends(server)
		c.WaitRecords(ticker, 30)
		onlyBoottimeWentOn(c, ticker)
	})
}

// TestLazyMigration restores a program elsewhere, in another pid namespace, while the one
// that was dumped still stands there and hands out its pages.
func TestLazyMigration(t *testing.T) {
	c := newCase(t)
	needsUserfaults(c)
	needsWidePipes(c)
	criu := newAsCRIU(c)
	images, there, port := criu.folder("images"), criu.folder("there"), fmt.Sprint(freePort(c))
	ticker := c.Start(c.Ticker("-m", "8", "-t", "2"))
	dump := criu.serve("dump", "-t", fmt.Sprint(ticker.PID), "-D", images, "-o", "dump.log",
		"--lazy-pages", "--address", "127.0.0.1", "--port", port)
	copyImages(c, images, there)
	time.Sleep(2 * time.Second)
	pages := criu.serve("lazy-pages", "-D", there, "-o", "lazy.log", "--page-server", "--address", "127.0.0.1", "--port", port)
	before, err := ticker.Log()
	c.Check(err)
	// It is the first process there, and waits for the tree's end.
	restore := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
		criu.path, "restore", "-D", there, "--lazy-pages", "-o", "restore.log")
	restore.Env = criu.environment()
	c.Check(restore.Start())
	defer func() {
		// What is first there takes all others along; it is what has an end.
		c.Check(restore.Process.Kill())
		_ = restore.Wait() // It was killed.
	}()
	criu.ends(pages)
	criu.ends(dump)
	c.Check(ticker.Reap(c.Context))
	for {
		now, err := ticker.Log()
		c.Check(err)
		if len(now.Records) > len(before.Records)+30 {
			break
		}
		if c.Context.Err() != nil {
			c.Fatalf("the program does not run there")
		}
		time.Sleep(20 * time.Millisecond)
	}
	onlyBoottimeWentOn(c, ticker)
}

// TestLazyDumpGivenUp ends a dump that waits for somebody to fetch the pages, and has its
// images restored without them.
func TestLazyDumpGivenUp(t *testing.T) {
	c := newCase(t)
	needsUserfaults(c)
	criu := newAsCRIU(c)
	images, there := criu.folder("images"), criu.folder("there")
	ticker := c.Start(c.Ticker("-m", "8"))
	lazy := []string{"dump", "-t", fmt.Sprint(ticker.PID), "-D", images, "-o", "dump.log", "--lazy-pages", "--address", "127.0.0.1"}
	for _, how := range [][]string{nil, {"--leave-running"}} {
		dump := criu.serve(slices.Concat(lazy, []string{"--port", fmt.Sprint(freePort(c))}, how)...)
		copyImages(c, images, there)
		if _, err := os.Stat(filepath.Join(there, "crtime-manifest.txt")); err != nil {
			c.Errorf("images that can be restored elsewhere already are not complete: %v", err)
		}
		c.Check(dump.Process.Signal(syscall.SIGTERM))
		if err := dump.Wait(); err == nil || !strings.Contains(dump.said.String(), "terminated") {
			c.Errorf("%v\n%s", err, &dump.said)
		}
		c.WaitRecords(ticker, 30)
		noImages(c, images)
	}
	c.GoodLog(ticker)
	c.Check(ticker.Kill())
	for _, engine := range []string{engineCRIU, ""} {
		c.UseEngine(engine)
		if out, err := criu.run("restore", "-d", "-D", there, "-o", "restore.log"); err == nil || !strings.Contains(out, "criu lazy-pages") {
			c.Errorf("engine %q: %v\n%s", engine, err, out)
		}
	}
}

// TestRPCLazyDumpGivenUp has a client go away while the pages wait.
func TestRPCLazyDumpGivenUp(t *testing.T) {
	c := newCase(t)
	needsUserfaults(c)
	cl := newClient(c, "")
	ticker := c.Start(c.Ticker("-m", "8"))
	req := cl.dumpRequest(ticker.PID)
	req.Opts.LazyPages, req.Opts.Ps = proto.Bool(true), &rpc.CriuPageServerInfo{Port: proto.Int32(int32(freePort(c)))}
	conn := cl.connect()
	_, err := conn.Call(req, func(script string) bool {
		if script == "status-ready" {
			time.AfterFunc(200*time.Millisecond, func() { _ = conn.HangUp() })
		}
		return true
	})
	if status, _ := conn.End(); err == nil || status <= 0 {
		c.Errorf("status %d, %v", status, err)
	}
	if !slices.Contains(conn.Heard, "status-ready") {
		c.Errorf("the client heard %q, and nothing of pages that wait", conn.Heard)
	}
	c.WaitRecords(ticker, 30)
	c.GoodLog(ticker)
	noImages(c, cl.images.Name())
}

// TestPreDumpAsCRIU has CRIU's answer to a pre-dump, which on a kernel without memory
// tracking is that it cannot: the program is left alone.
func TestPreDumpAsCRIU(t *testing.T) {
	c := newCase(t)
	criu := newAsCRIU(c)
	ticker := c.Start(c.Ticker())
	status := func(path, images string) (code int) {
		cmd := exec.CommandContext(c.Context, path, "pre-dump", "-t", fmt.Sprint(ticker.PID), "-D", criu.folder(images), "-o", "dump.log")
		cmd.Env = criu.environment()
		if err := cmd.Run(); err != nil {
			if cmd.ProcessState == nil {
				c.Fatal(err)
			}
			code = int(cmd.ProcessState.Sys().(syscall.WaitStatus))
		}
		c.WaitRecords(ticker, 30)
		return code
	}
	plain := status(c.CRIU.Path, "plain")
	if ours := status(criu.path, "ours"); ours != plain {
		c.Errorf("criu pre-dump ends with %#x, crtime in its place with %#x", plain, ours)
	}
	cl := newClient(c, "")
	for _, kind := range []rpc.CriuReqType{rpc.CriuReqType_PRE_DUMP, rpc.CriuReqType_SINGLE_PRE_DUMP} {
		req := cl.dumpRequest(ticker.PID)
		req.Type = kind.Enum()
		conn := cl.connect()
		resp, err := conn.Call(req, nil)
		_, endErr := conn.End()
		c.Check(errors.Join(err, endErr))
		if resp.GetSuccess() != (plain == 0) || resp.GetType() != kind {
			c.Errorf("%s: %v; plain CRIU's status is %#x", kind, resp, plain)
		}
		c.WaitRecords(ticker, 30)
	}
	c.GoodLog(ticker)
}
