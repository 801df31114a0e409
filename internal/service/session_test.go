// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/seqpacket"
	"github.com/crtime/crtime/internal/settings"
)

// session starts a session of this process with itself. served gets its end.
func session(t *testing.T, o Options) (client *seqpacket.Conn, served <-chan error) {
	t.Helper()
	client, theirs, err := seqpacket.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	o.Settings = settings.Default()
	s, err := NewSession(theirs, o)
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- s.Serve(t.Context()) }()
	return client, end
}

// call sends a message and returns the response.
func call(t *testing.T, client *seqpacket.Conn, message []byte) *rpc.CriuResp {
	t.Helper()
	if err := client.Send(message, nil); err != nil {
		t.Fatal(err)
	}
	packet, err := client.Receive()
	if err != nil {
		t.Fatal(err)
	}
	resp := &rpc.CriuResp{}
	if err := proto.Unmarshal(packet.Data, resp); err != nil {
		t.Fatal(err)
	}
	return resp
}

// encode is a request as it is sent.
func encode(t *testing.T, req *rpc.CriuReq) []byte {
	t.Helper()
	data, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestVersion(t *testing.T) {
	client, served := session(t, Options{})
	ask := encode(t, &rpc.CriuReq{Type: rpc.CriuReqType_VERSION.Enum(), KeepOpen: proto.Bool(true)})
	for range 3 {
		resp := call(t, client, ask)
		if v := resp.GetVersion(); !resp.GetSuccess() || v.GetMajorNumber() != 4 || v.GetMinorNumber() != 2 || v.Gitid != nil {
			t.Fatal(resp)
		}
	}
	client.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestServeRefuses sends what cannot be served: the client is told why, and the
// conversation ends.
func TestServeRefuses(t *testing.T) {
	refusal := errors.New("the settings are broken")
	opts := func(kind rpc.CriuReqType, change func(*rpc.CriuOpts)) []byte {
		o := &rpc.CriuOpts{ImagesDirFd: proto.Int32(-1), Pid: proto.Int32(1)}
		change(o)
		return encode(t, &rpc.CriuReq{Type: kind.Enum(), Opts: o})
	}
	dump, restore := rpc.CriuReqType_DUMP, rpc.CriuReqType_RESTORE
	tests := []struct {
		name    string
		options Options
		message []byte
		kind    rpc.CriuReqType
		errno   unix.Errno
		says    string
	}{
		{"nonsense", Options{}, []byte{0xff}, rpc.CriuReqType_EMPTY, unix.EBADRQC, "decode"},
		{"an unknown type", Options{}, []byte{0x08, 0x63}, rpc.CriuReqType_EMPTY, unix.EBADRQC, "type"},
		{"no images", Options{}, opts(dump, func(*rpc.CriuOpts) {}), dump, unix.EBADRQC, "image directory"},
		{"no process", Options{}, opts(dump, func(o *rpc.CriuOpts) { o.Pid = nil }), dump, unix.EBADRQC, "client itself"},
		{"a path of a stranger's", Options{Stranger: true}, opts(restore, func(o *rpc.CriuOpts) { o.ImagesDir = proto.String("/") }), restore, unix.EBADRQC, "images_dir_fd"},
		{"a descriptor of nobody's", Options{}, opts(restore, func(o *rpc.CriuOpts) { o.ImagesDirFd = proto.Int32(9999) }), restore, unix.EBADRQC, "9999"},
		{"broken settings", Options{Refusal: refusal}, opts(restore, func(*rpc.CriuOpts) {}), restore, 0, refusal.Error()},
		{"features without any", Options{}, []byte{0x08, 0x09}, rpc.CriuReqType_FEATURE_CHECK, unix.EBADRQC, "features"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, served := session(t, test.options)
			resp := call(t, client, test.message)
			if resp.GetSuccess() || resp.GetType() != test.kind || unix.Errno(resp.GetCrErrno()) != test.errno || !strings.Contains(resp.GetCrErrmsg(), test.says) {
				t.Errorf("got %v, want %s with error number %d and %q", resp, test.kind, test.errno, test.says)
			}
			if err := <-served; err == nil {
				t.Error("the session ended without an error")
			}
		})
	}
}

// TestIdleClient keeps silent.
func TestIdleClient(t *testing.T) {
	client, served := session(t, Options{Idle: 20 * time.Millisecond, Patience: time.Second})
	packet, err := client.Receive()
	if err != nil {
		t.Fatal(err)
	}
	resp := &rpc.CriuResp{}
	if err := proto.Unmarshal(packet.Data, resp); err != nil || unix.Errno(resp.GetCrErrno()) != unix.ETIMEDOUT {
		t.Errorf("%v, %v", resp, err)
	}
	if err := <-served; err == nil {
		t.Error("the session ended without an error")
	}
}

// TestDeafClient does not take what it is sent.
func TestDeafClient(t *testing.T) {
	client, served := session(t, Options{Idle: time.Minute, Patience: 50 * time.Millisecond})
	ask := encode(t, &rpc.CriuReq{Type: rpc.CriuReqType_VERSION.Enum(), KeepOpen: proto.Bool(true)})
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for client.Send(ask, nil) == nil {
	}
	if err := <-served; err == nil || !strings.Contains(err.Error(), "kept crtime waiting") {
		t.Errorf("the session ended with %v", err)
	}
}

// TestErrorTextFits checks that a response stays within what go-criu's client reads.
func TestErrorTextFits(t *testing.T) {
	data, err := proto.Marshal(failure(errors.New(strings.Repeat("é", 1<<20))))
	if most := 8 << 10; err == nil || len(data) > most {
		resp := failure(errors.New(strings.Repeat("é", 1<<20)))
		resp.Type = rpc.CriuReqType_DUMP.Enum()
		if data, err = proto.Marshal(resp); err != nil || len(data) > most {
			t.Errorf("%d bytes, %v", len(data), err)
		}
	}
}

func TestOnlyCRIU(t *testing.T) {
	own := &rpc.CriuOpts{
		ImagesDirFd: proto.Int32(3), Pid: proto.Int32(3), LeaveRunning: proto.Bool(true), TcpEstablished: proto.Bool(true),
		// As runc writes them: set, and off.
		AutoDedup: proto.Bool(false), LazyPages: proto.Bool(false),
	}
	if only := onlyCRIU(own); len(only) > 0 {
		t.Errorf("crtime does not understand %v", only)
	}
	own.LazyPages, own.InheritFd = proto.Bool(true), []*rpc.InheritFd{{Key: proto.String("x"), Fd: proto.Int32(4)}}
	if only := strings.Join(onlyCRIU(own), " "); only != "inherit_fd lazy_pages" {
		t.Errorf("only CRIU knows %q", only)
	}
	unknown := &rpc.CriuOpts{}
	unknown.ProtoReflect().SetUnknown([]byte{0xd8, 0x3e, 0x01})
	if only := onlyCRIU(unknown); len(only) != 1 {
		t.Errorf("of a field that is newer: %v", only)
	}
}

func TestHasOptions(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "# crtime: policy host\n\n   # tcp-established": false, "tcp-established": true, "#\n  log-file x\n": true,
	} {
		if got := hasOptions([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestLazily(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "# lazy-pages": false, "lazy-pages-x": false, "tcp-close\n  lazy-pages # as runc has it\n": true,
	} {
		if got := lazily(&rpc.CriuOpts{LazyPages: proto.Bool(false)}, []configFile{{text: []byte(text)}}); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if !lazily(&rpc.CriuOpts{LazyPages: proto.Bool(true)}, nil) {
		t.Error("what the request itself asks for is not seen")
	}
}

// FuzzRequest has a session read anything. The types that would act on something are
// left out.
func FuzzRequest(f *testing.F) {
	for _, req := range []*rpc.CriuReq{
		{Type: rpc.CriuReqType_VERSION.Enum()},
		{Type: rpc.CriuReqType_DUMP.Enum(), Opts: &rpc.CriuOpts{ImagesDirFd: proto.Int32(3), External: []string{"mnt[]"}}},
		{Type: rpc.CriuReqType_NOTIFY.Enum(), NotifySuccess: proto.Bool(true)},
	} {
		data, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		req := &rpc.CriuReq{}
		if proto.Unmarshal(message, req) == nil {
			if req.Opts != nil {
				_ = onlyCRIU(req.GetOpts())
				if o, err := engineOptions(req.GetOpts()); err == nil && !o.TrustImages {
					t.Error("options that are not a client's")
				}
			}
			switch req.GetType() {
			case rpc.CriuReqType_VERSION, rpc.CriuReqType_NOTIFY, rpc.CriuReqType_EMPTY:
			default:
				if req.Opts != nil || rpc.CriuReqType_name[int32(req.GetType())] != "" {
					return
				}
			}
		}
		if len(message) == 0 {
			return // It would be the end of the connection.
		}
		client, served := session(t, Options{Refusal: errors.New("a test")})
		if resp := call(t, client, message); resp.GetType() == rpc.CriuReqType_NOTIFY {
			t.Errorf("%x: %v", message, resp)
		}
		client.Close()
		<-served
	})
}
