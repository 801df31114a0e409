// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v7"
	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
	"github.com/crtime/crtime/internal/seqpacket"
)

// client is a program that speaks CRIU's RPC, with an image directory of its own.
type client struct {
	*harness.Case
	path   string // Of what it takes for criu.
	engine string // "" leaves crtime the choice.
	images *os.File
	files  []*os.File // That it hands down, under the numbers from 4 on.
}

// newClient makes one for `crtime swrk`.
func newClient(c *harness.Case, engine string) *client {
	c.Helper()
	return clientOf(c, c.Crtime.Path, engine)
}

// clientOf makes one that starts the program at path.
func clientOf(c *harness.Case, path, engine string) *client {
	c.Helper()
	dir := c.Path("images")
	c.Check(os.MkdirAll(dir, 0o700))
	images, err := os.Open(dir)
	c.Check(err)
	c.Cleanup(func() { images.Close() })
	return &client{Case: c, path: path, engine: engine, images: images}
}

// connect starts the program.
func (cl *client) connect() *harness.Client {
	cl.Helper()
	conn, err := harness.StartSwrk(cl.path, cl.files, "CRTIME_ENGINE="+cl.engine, "CRTIME_CRIU="+cl.CRIU.Path)
	cl.Check(err)
	return conn
}

// options are those that every request has.
func (cl *client) options() *rpc.CriuOpts {
	return &rpc.CriuOpts{
		ImagesDirFd: proto.Int32(int32(cl.images.Fd())), NotifyScripts: proto.Bool(true), LogLevel: proto.Int32(4),
	}
}

// dumpRequest asks for a dump.
func (cl *client) dumpRequest(pid int) *rpc.CriuReq {
	o := cl.options()
	o.Pid, o.LogFile = proto.Int32(int32(pid)), proto.String("dump.log")
	return &rpc.CriuReq{Type: rpc.CriuReqType_DUMP.Enum(), Opts: o}
}

// restoreRequest asks for a restore whose root becomes the client's child.
func (cl *client) restoreRequest() *rpc.CriuReq {
	o := cl.options()
	o.RstSibling, o.LogFile = proto.Bool(true), proto.String("restore.log")
	return &rpc.CriuReq{Type: rpc.CriuReqType_RESTORE.Enum(), Opts: o}
}

// do sends one request over a connection of its own, which must succeed.
func (cl *client) do(req *rpc.CriuReq) []string {
	cl.Helper()
	conn := cl.connect()
	resp, err := conn.Call(req, nil)
	status, endErr := conn.End()
	cl.Check(errors.Join(err, endErr))
	if !resp.GetSuccess() || status != 0 {
		cl.Fatalf("%s: %v, status %d\n%s", req.GetType(), resp, status, cl.logs())
	}
	return conn.Heard
}

// logs are the logs that the client finds.
func (cl *client) logs() string {
	var all []byte
	for _, name := range []string{"dump.log", "restore.log"} {
		text, _ := os.ReadFile(filepath.Join(cl.images.Name(), name))
		all = append(all, text...)
	}
	return string(all)
}

// holds reports whether the image directory has a file.
func (cl *client) holds(name string) bool {
	_, err := os.Stat(filepath.Join(cl.images.Name(), name))
	return err == nil
}

// TestRPCClocks is the main job for a program that knows nothing of crtime: go-criu's
// client, told another path of criu.
func TestRPCClocks(t *testing.T) {
	eachEngine(t, func(c *harness.Case) {
		t.Setenv("CRTIME_ENGINE", c.Crtime.Engine)
		t.Setenv("CRTIME_CRIU", c.CRIU.Path)
		cl := newClient(c, "")
		ticker := c.Start(c.Ticker("-t", "4"))
		lib := criu.MakeCriu()
		lib.SetCriuPath(c.Crtime.Path)
		if version, err := lib.GetCriuVersion(); err != nil || version < 40200 {
			c.Fatalf("version %d, %v; want at least 40200", version, err)
		}
		c.Check(lib.Dump(cl.dumpRequest(ticker.PID).GetOpts(), criu.NoNotify{}))
		c.Check(ticker.Reap(c.Context))
		time.Sleep(2 * time.Second)
		c.Check(lib.Restore(cl.restoreRequest().GetOpts(), criu.NoNotify{}))
		c.WaitRecords(ticker, 30)
		step := oneOutage(c, ticker)
		if off := step.BoottimeError(); off.Abs() > 5*time.Millisecond {
			c.Errorf("CLOCK_BOOTTIME is off by %v", off)
		}
		if jump := step.Advance(clocklog.Monotonic); jump > time.Second {
			c.Errorf("CLOCK_MONOTONIC jumped by %v", jump)
		}
		if log := cl.logs(); !strings.Contains(log, "no clock reads less than it did") {
			c.Errorf("the log does not tell that the promise was kept:\n%s", log)
		}
	})
}

// TestRPCNotifications compares what a client hears with what it hears of CRIU.
func TestRPCNotifications(t *testing.T) {
	hears := func(c *harness.Case, cl *client) (dump, restored []string) {
		ticker := c.Start(c.Ticker())
		dump = cl.do(cl.dumpRequest(ticker.PID))
		c.Check(ticker.Reap(c.Context))
		restored = cl.do(cl.restoreRequest())
		c.WaitRecords(ticker, 3)
		return dump, restored
	}
	plain := newCase(t)
	dump, restored := hears(plain, clientOf(plain, plain.CRIU.Path, ""))
	eachEngine(t, func(c *harness.Case) {
		dump := dump
		if c.Crtime.Engine == engineNative {
			// It saves what CRIU would need to be told of, or leaves it to CRIU.
			dump = slices.DeleteFunc(slices.Clone(dump), func(s string) bool { return s == "query-ext-files" })
		}
		d, r := hears(c, newClient(c, c.Crtime.Engine))
		if !slices.Equal(d, dump) || !slices.Equal(r, restored) {
			c.Errorf("a client hears %q and %q, of CRIU %q and %q", d, r, dump, restored)
		}
	})
}

// TestRPCRefused has the client answer no.
func TestRPCRefused(t *testing.T) {
	eachEngine(t, func(c *harness.Case) {
		cl := newClient(c, c.Crtime.Engine)
		ticker := c.Start(c.Ticker())
		refuse := func(req *rpc.CriuReq, script string) {
			conn := cl.connect()
			resp, err := conn.Call(req, func(s string) bool { return s != script })
			status, endErr := conn.End()
			c.Check(errors.Join(err, endErr))
			if resp.GetSuccess() || resp.GetType() != req.GetType() || status == 0 {
				c.Errorf("%s although %s was refused: %v, status %d", req.GetType(), script, resp, status)
			}
		}
		for _, script := range []string{"pre-dump", "post-dump"} {
			refuse(cl.dumpRequest(ticker.PID), script)
			c.WaitRecords(ticker, 3)
			if cl.holds("crtime-manifest.txt") || cl.holds("pstree.img") && c.Crtime.Engine == engineNative {
				c.Errorf("images are left after %s was refused", script)
			}
		}
		cl.do(cl.dumpRequest(ticker.PID))
		c.Check(ticker.Reap(c.Context))
		for _, script := range []string{"pre-restore", "post-restore"} {
			refuse(cl.restoreRequest(), script)
			c.Check(ticker.Reap(c.Context))
		}
		cl.do(cl.restoreRequest())
		c.WaitRecords(ticker, 3)
	})
}

// TestRPCVanish has the client go away at each step.
func TestRPCVanish(t *testing.T) {
	eachEngine(t, func(c *harness.Case) {
		cl := newClient(c, c.Crtime.Engine)
		ticker := c.Start(c.Ticker("-m", "64"))
		vanish := func(req *rpc.CriuReq, script string) {
			conn := cl.connect()
			if script == "" {
				data, err := proto.Marshal(req)
				c.Check(errors.Join(err, conn.Send(data), conn.HangUp()))
			} else if _, err := conn.Call(req, func(s string) bool {
				if s == script {
					c.Check(conn.HangUp())
				}
				return true
			}); err == nil {
				c.Errorf("%s: the client did not get as far as %s", req.GetType(), script)
			}
			if status, _ := conn.End(); status <= 0 {
				c.Errorf("%s: status %d after the client has gone", req.GetType(), status)
			}
		}
		for _, script := range []string{"", "pre-dump", "post-dump"} {
			req := cl.dumpRequest(ticker.PID)
			req.Opts.NotifyScripts = proto.Bool(script != "")
			vanish(req, script)
			c.WaitRecords(ticker, 3)
		}
		cl.do(cl.dumpRequest(ticker.PID))
		c.Check(ticker.Reap(c.Context))
		for _, script := range []string{"", "pre-restore", "post-restore"} {
			vanish(cl.restoreRequest(), script)
			c.Check(ticker.Reap(c.Context))
		}
		cl.do(cl.restoreRequest())
		c.WaitRecords(ticker, 3)
	})
}

// TestRPCBadRequests sends what cannot be served.
func TestRPCBadRequests(t *testing.T) {
	c := newCase(t)
	cl := newClient(c, "")
	c.Check(os.WriteFile(c.Path("file"), nil, 0o600))
	file, err := os.Open(filepath.Join(c.Folder, "file"))
	c.Check(err)
	defer file.Close()
	const nobody = 1<<22 - 1 // Beyond what the kernel gives away.
	with := func(change func(*rpc.CriuReq)) *rpc.CriuReq {
		req := cl.dumpRequest(nobody)
		change(req)
		return req
	}
	tests := []struct {
		name  string
		req   *rpc.CriuReq
		errno unix.Errno
	}{
		{"no options", &rpc.CriuReq{Type: rpc.CriuReqType_DUMP.Enum()}, unix.EBADRQC},
		{"no such process", cl.dumpRequest(nobody), unix.ESRCH},
		{"no such descriptor", with(func(r *rpc.CriuReq) { r.Opts.ImagesDirFd = proto.Int32(999) }), unix.EBADRQC},
		{"no directory", with(func(r *rpc.CriuReq) { r.Opts.ImagesDirFd = proto.Int32(int32(file.Fd())) }), unix.EBADRQC},
		{"a log file elsewhere", with(func(r *rpc.CriuReq) { r.Opts.LogFile = proto.String("../x") }), unix.EBADRQC},
		{"kept open", with(func(r *rpc.CriuReq) { r.KeepOpen = proto.Bool(true) }), unix.EBADRQC},
		{"a notification", &rpc.CriuReq{Type: rpc.CriuReqType_NOTIFY.Enum()}, unix.EBADRQC},
		{"no images", cl.restoreRequest(), unix.ENOENT},
	}
	for _, test := range tests {
		conn := cl.connect()
		resp, err := conn.Call(test.req, nil)
		status, endErr := conn.End()
		c.Check(errors.Join(err, endErr))
		if resp.GetSuccess() || unix.Errno(resp.GetCrErrno()) != test.errno || resp.GetCrErrmsg() == "" || status != 1 {
			c.Errorf("%s: %v, status %d; want error number %d", test.name, resp, status, test.errno)
		}
	}
	for name, data := range map[string][]byte{"nonsense": {0xff, 0xff, 0xff}, "too much": make([]byte, 2*seqpacket.Limit)} {
		conn := cl.connect()
		if err := conn.Send(data); err == nil {
			resp, err := conn.Receive()
			c.Check(err)
			if resp.GetSuccess() || resp.GetType() != rpc.CriuReqType_EMPTY {
				c.Errorf("%s: %v", name, resp)
			}
		} else if !errors.Is(err, unix.EMSGSIZE) {
			// The socket's own limit is lower here.
			c.Errorf("%s: %v", name, err)
		}
		if status, err := conn.End(); err != nil || name == "nonsense" && status != 1 {
			c.Errorf("%s: status %d, %v", name, status, err)
		}
	}
}
