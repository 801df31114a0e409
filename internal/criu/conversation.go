// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/seqpacket"
)

// errInterrupted is what a cancelled context looks like to the conversation.
var errInterrupted = errors.New("interrupted")

// conversation is our end of the socket to one `criu swrk` process.
type conversation struct{ conn *seqpacket.Conn }

// newConversation makes the socket pair. The second result is CRIU's end, which
// the caller passes to CRIU and closes.
func newConversation() (*conversation, *os.File, error) {
	conn, theirs, err := seqpacket.Pair()
	if err != nil {
		return nil, nil, fmt.Errorf("talk to criu: %w", err)
	}
	return &conversation{conn: conn}, theirs, nil
}

// close hangs up. CRIU then undoes what it is doing and exits.
func (c *conversation) close() error { return c.conn.Close() }

// call sends a request and answers notifications until CRIU responds. An error
// from notify refuses the notification; CRIU then fails the request, and call
// returns notify's error.
//
// When ctx ends, the next notification is refused, unless it is too late: hanging up on
// CRIU in the middle would reach the same end, but lose its reason.
func (c *conversation) call(ctx context.Context, req *rpc.CriuReq, notify func(*Notification) (*Answer, error)) (*rpc.CriuResp, error) {
	if err := c.send(req); err != nil {
		return nil, err
	}
	var refused error
	for {
		resp, packet, err := c.receive()
		if err != nil {
			if refused == nil {
				refused = interruption(ctx) // CRIU may have been ended for it.
			}
			return nil, errors.Join(refused, err)
		}
		if resp.GetType() != rpc.CriuReqType_NOTIFY {
			packet.CloseFiles()
			return resp, refused
		}
		late := tooLate(resp.GetNotify().GetScript())
		if refused == nil && !late {
			refused = interruption(ctx)
		}
		var answer *Answer
		if refused == nil || late {
			var no error
			if answer, no = notify(newNotification(resp, packet)); !late {
				refused = no
			}
		}
		packet.CloseFiles()
		if err := c.answer(answer, refused); err != nil {
			return nil, errors.Join(refused, err)
		}
	}
}

// interruption is why a conversation is to end early, nil if it is not.
func interruption(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errInterrupted, context.Cause(ctx))
}

// tooLate reports whether CRIU goes on whatever is answered to a notification: the tree is
// about to run, and must not before notify has returned.
func tooLate(script string) bool { return script == "pre-resume" || script == "post-resume" }

// answer tells CRIU to go on, what a client answered, or no.
func (c *conversation) answer(a *Answer, refused error) error {
	if a != nil && refused == nil {
		if err := c.conn.Send(a.message, nil); err != nil {
			return fmt.Errorf("send to criu: %w", err)
		}
		return nil
	}
	return c.send(&rpc.CriuReq{
		Type:          rpc.CriuReqType_NOTIFY.Enum(),
		NotifySuccess: proto.Bool(refused == nil),
	})
}

// send sends one message.
func (c *conversation) send(req *rpc.CriuReq) error {
	data, err := proto.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode the request to criu: %w", err)
	}
	if err := c.conn.Send(data, nil); err != nil {
		return fmt.Errorf("send to criu: %w", err)
	}
	return nil
}

// receive waits for one message. The caller closes the files that came with it.
func (c *conversation) receive() (*rpc.CriuResp, *seqpacket.Packet, error) {
	packet, err := c.conn.Receive()
	switch {
	case errors.Is(err, seqpacket.ErrClosed):
		return nil, nil, errors.New("criu ended without an answer")
	case err != nil:
		return nil, nil, fmt.Errorf("receive from criu: %w", err)
	}
	resp := &rpc.CriuResp{}
	if err := proto.Unmarshal(packet.Data, resp); err != nil {
		packet.CloseFiles()
		return nil, nil, fmt.Errorf("decode criu's message: %w", err)
	}
	return resp, packet, nil
}
