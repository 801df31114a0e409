// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// largestMessage is the size of our receive buffer. CRIU's own messages are well
// under a page; one that does not fit is an error, never cut.
const largestMessage = 64 << 10

// errInterrupted is what a cancelled context looks like to the conversation.
var errInterrupted = errors.New("interrupted")

// conversation is our end of the socket to one `criu swrk` process.
type conversation struct{ conn *net.UnixConn }

// newConversation makes the socket pair. The second result is CRIU's end, which
// the caller passes to CRIU and closes.
func newConversation() (*conversation, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the socket to criu: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "criu-rpc"), os.NewFile(uintptr(fds[1]), "criu-swrk")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make the socket to criu: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		theirs.Close()
		return nil, nil, errors.Join(fmt.Errorf("make the socket to criu: it is a %T", conn), conn.Close())
	}
	return &conversation{conn: socket}, theirs, nil
}

// close hangs up. CRIU then undoes what it is doing and exits.
func (c *conversation) close() error { return c.conn.Close() }

// call sends a request and answers notifications until CRIU responds. An error
// from notify refuses the notification; CRIU then fails the request, and call
// returns notify's error.
//
// When ctx ends, the next notification is refused: hanging up on CRIU in the
// middle would reach the same end, but lose its reason.
func (c *conversation) call(ctx context.Context, req *rpc.CriuReq, notify func(*rpc.CriuNotify) error) (*rpc.CriuResp, error) {
	if err := c.send(req); err != nil {
		return nil, err
	}
	var refused error
	for {
		resp, err := c.receive()
		if err != nil {
			return nil, errors.Join(refused, err)
		}
		if resp.GetType() != rpc.CriuReqType_NOTIFY {
			return resp, refused
		}
		if refused == nil && ctx.Err() != nil {
			refused = fmt.Errorf("%w: %w", errInterrupted, context.Cause(ctx))
		}
		if refused == nil {
			refused = notify(resp.GetNotify())
		}
		answer := &rpc.CriuReq{
			Type:          rpc.CriuReqType_NOTIFY.Enum(),
			NotifySuccess: proto.Bool(refused == nil),
		}
		if err := c.send(answer); err != nil {
			return nil, errors.Join(refused, err)
		}
	}
}

// send sends one message.
func (c *conversation) send(req *rpc.CriuReq) error {
	data, err := proto.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode the request to criu: %w", err)
	}
	if _, err := c.conn.Write(data); err != nil {
		return fmt.Errorf("send to criu: %w", err)
	}
	return nil
}

// receive waits for one message.
func (c *conversation) receive() (*rpc.CriuResp, error) {
	buf := make([]byte, largestMessage)
	n, _, flags, _, err := c.conn.ReadMsgUnix(buf, nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("receive from criu: %w", err)
	case n == 0:
		return nil, errors.New("criu ended without an answer")
	case flags&unix.MSG_TRUNC != 0:
		return nil, fmt.Errorf("criu sent a message of more than %d bytes", largestMessage)
	}
	resp := &rpc.CriuResp{}
	if err := proto.Unmarshal(buf[:n], resp); err != nil {
		return nil, fmt.Errorf("decode criu's message: %w", err)
	}
	return resp, nil
}
