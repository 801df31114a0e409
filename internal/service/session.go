// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/seqpacket"
	"github.com/crtime/crtime/internal/settings"
)

// Session is the conversation with one client. It belongs to one goroutine.
type Session struct {
	Options

	conn   *seqpacket.Conn
	peer   peer
	number int             // Of the socket, as crtime was given it.
	ending atomic.Bool     // The context of Serve has ended.
	told   map[string]bool // What the client has been told of in this job.
	relay  *criu.Relay     // nil: nothing has been handed to CRIU whole.
}

// Options say how clients are served.
type Options struct {
	Settings settings.Settings
	// Refusal is why no dump or restore can be served, as when the settings cannot be
	// read; nil normally.
	Refusal error
	Log     *zap.Logger // nil: nothing is logged.
	// Own says that the client is this process: a restored tree becomes its child.
	Own bool
	// Stranger says that the client did not start this process: what it names by
	// numbers of inherited descriptors cannot be meant, nor can a restored tree become
	// its child.
	Stranger bool
	// Idle bounds how long a client may take to send a request; 0: for ever.
	Idle time.Duration
	// Patience bounds how long a client may take over a notification, while a tree is
	// frozen or half built; 0: for ever.
	Patience time.Duration
}

// NewSession takes over a connected socket.
func NewSession(socket *os.File, o Options) (*Session, error) {
	number := int(socket.Fd())
	p, err := peerOf(socket)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	conn, err := seqpacket.New(socket)
	if err != nil {
		p.close()
		return nil, err
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Session{Options: o, conn: conn, peer: p, number: number}, nil
}

// Serve answers requests until the client wants no more. The error is why the last
// request failed, which the client has been told, or why the conversation ended in the
// middle. When ctx ends, what is under way is undone.
func (s *Session) Serve(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	defer context.AfterFunc(ctx, s.interrupt)()
	for {
		req, err := s.receive()
		if errors.Is(err, seqpacket.ErrClosed) {
			return nil
		}
		if err != nil {
			// It may still listen, and learn what is wrong.
			return errors.Join(err, s.respond(rpc.CriuReqType_EMPTY, failure(err)))
		}
		resp, again, err := s.handle(ctx, req)
		if err != nil {
			s.Log.Error("request failed", zap.Stringer("request", req.GetType()), zap.Error(err))
		}
		if resp == nil {
			resp = failure(err)
		}
		if sent := s.respond(answerType(req.GetType()), resp); sent != nil {
			return errors.Join(err, sent)
		}
		if err != nil || !again {
			return err
		}
	}
}

// close ends the conversation, and CRIU's if there is one.
func (s *Session) close() error {
	err := s.conn.Close()
	s.peer.close()
	if s.relay != nil {
		err = errors.Join(err, s.relay.Close())
	}
	return err
}

// handle carries out one request. again says that another may follow.
func (s *Session) handle(ctx context.Context, req *rpc.CriuReq) (resp *rpc.CriuResp, again bool, err error) {
	kind := req.GetType()
	if req.GetKeepOpen() && !canStayOpen(kind) {
		return nil, false, badRequest("a %s request cannot keep the connection open", kind)
	}
	again = req.GetKeepOpen()
	switch kind {
	case rpc.CriuReqType_VERSION:
		resp = version()
	case rpc.CriuReqType_FEATURE_CHECK:
		resp, err = s.features(ctx, req)
	case rpc.CriuReqType_CHECK:
		resp, err = s.check(ctx)
	case rpc.CriuReqType_DUMP:
		resp, err = s.dump(ctx, req.GetOpts())
	case rpc.CriuReqType_RESTORE:
		resp, err = s.restore(ctx, req.GetOpts())
	case rpc.CriuReqType_PRE_DUMP:
		// The dump comes over the same connection.
		again = true
		resp, err = s.pass(ctx, req)
	case rpc.CriuReqType_SINGLE_PRE_DUMP, rpc.CriuReqType_CPUINFO_DUMP, rpc.CriuReqType_CPUINFO_CHECK,
		rpc.CriuReqType_PAGE_SERVER, rpc.CriuReqType_PAGE_SERVER_CHLD, rpc.CriuReqType_WAIT_PID:
		resp, err = s.pass(ctx, req)
	default:
		err = badRequest("there is no request of type %s", kind)
	}
	return resp, again, err
}

// canStayOpen says for which requests CRIU accepts that the connection is kept open.
func canStayOpen(kind rpc.CriuReqType) bool {
	switch kind {
	case rpc.CriuReqType_VERSION, rpc.CriuReqType_FEATURE_CHECK, rpc.CriuReqType_CPUINFO_DUMP, rpc.CriuReqType_CPUINFO_CHECK,
		rpc.CriuReqType_PAGE_SERVER, rpc.CriuReqType_PAGE_SERVER_CHLD:
		return true
	default:
		return false
	}
}

// answerType is the type of the response to a request.
func answerType(kind rpc.CriuReqType) rpc.CriuReqType {
	switch {
	case kind == rpc.CriuReqType_PAGE_SERVER_CHLD:
		return rpc.CriuReqType_PAGE_SERVER // So does CRIU.
	case rpc.CriuReqType_name[int32(kind)] == "" || kind == rpc.CriuReqType_NOTIFY:
		return rpc.CriuReqType_EMPTY
	}
	return kind
}

// receive waits for a request.
func (s *Session) receive() (*rpc.CriuReq, error) {
	packet, err := s.within(s.Idle, s.conn.Receive)
	if err != nil {
		return nil, err
	}
	packet.CloseFiles() // No request has any.
	req := &rpc.CriuReq{}
	if err := proto.Unmarshal(packet.Data, req); err != nil {
		return nil, badRequest("decode the request: %w", err)
	}
	return req, nil
}

// respond sends a response.
func (s *Session) respond(kind rpc.CriuReqType, resp *rpc.CriuResp) error {
	resp.Type = kind.Enum()
	data, err := proto.Marshal(resp)
	if err != nil {
		return fmt.Errorf("encode the response: %w", err)
	}
	return s.send(data, nil)
}

// send sends a message. The client must take it in some time.
func (s *Session) send(data []byte, files []*os.File) error {
	_, err := s.within(s.Patience, func() (*seqpacket.Packet, error) { return nil, s.conn.Send(data, files) })
	if err != nil {
		return fmt.Errorf("send to the client: %w", err)
	}
	return nil
}

// errEnding says that crtime was told to end while it waited for the client.
var errEnding = errors.New("crtime was told to end")

// interrupt ends all waiting for the client: what is under way is then undone.
func (s *Session) interrupt() {
	s.ending.Store(true)
	_ = s.conn.SetDeadline(time.Unix(1, 0)) // It fails only if the connection has ended.
}

// within does something with the connection, for at most some time. Once crtime is to end,
// it is only for a last word.
func (s *Session) within(most time.Duration, do func() (*seqpacket.Packet, error)) (*seqpacket.Packet, error) {
	const lastWord = time.Second
	ending := s.ending.Load()
	if ending {
		most = lastWord
	}
	var deadline time.Time
	if most > 0 {
		deadline = time.Now().Add(most)
	}
	if err := s.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if s.ending.Load() && !ending {
		return nil, errEnding // The interruption came in between, and its deadline is gone.
	}
	packet, err := do()
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return packet, err
	case s.ending.Load():
		return packet, errEnding
	}
	return packet, fmt.Errorf("the client has kept crtime waiting for %v: %w", most, context.DeadlineExceeded)
}

// success is a response that says nothing more.
func success() *rpc.CriuResp { return &rpc.CriuResp{Success: proto.Bool(true)} }

// failure is the response that tells of an error.
func failure(err error) *rpc.CriuResp {
	resp := &rpc.CriuResp{Success: proto.Bool(false), CrErrmsg: proto.String(errorText(err))}
	if errno := errnoOf(err); errno != 0 {
		resp.CrErrno = proto.Int32(int32(errno))
	}
	return resp
}
