// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"errors"
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/seqpacket"
)

// ErrRefused says that a client has answered one of CRIU's notifications with no.
var ErrRefused = errors.New("the client refused")

// Client is a client of CRIU's RPC for whom an Engine stands: CRIU gets the client's own
// options, the client hears of all that CRIU notifies of, and CRIU gets its answers as
// they are.
type Client struct {
	// Options are the client's. Descriptor numbers in them are this process's own, or
	// those that CRIU inherits; that of the image directory does not matter.
	Options *rpc.CriuOpts
	// Ask passes a notification on and returns the answer. nil: the client does not
	// want to know.
	Ask func(*Notification) (*Answer, error)
	// Socket is the number at which CRIU is to find its socket: the client's own, for
	// all others may be descriptors that it has for CRIU to inherit.
	Socket int
	// Parent says that this process is the client: a restored root becomes its child.
	Parent bool
	// Lazy says that CRIU is to serve pages to a restore elsewhere when it has dumped,
	// or that somebody serves those which the images lack to CRIU when it restores.
	Lazy bool
}

// Notification is something that CRIU tells of and waits with until it is answered.
type Notification struct {
	Script  string     // What it is about, such as "pre-dump".
	PID     int        // Of the tree's root, where CRIU says it; or 0.
	Message []byte     // As CRIU has sent it.
	Files   []*os.File // Came with it. They are closed when it has been answered.
}

func newNotification(resp *rpc.CriuResp, packet *seqpacket.Packet) *Notification {
	n := resp.GetNotify()
	return &Notification{Script: n.GetScript(), PID: int(n.GetPid()), Message: packet.Data, Files: packet.Files}
}

// Answer is what a client says to a notification.
type Answer struct {
	message []byte // As it was sent.
	refused bool
}

// NewAnswer reads an answer.
func NewAnswer(message []byte) (*Answer, error) {
	req := &rpc.CriuReq{}
	if err := proto.Unmarshal(message, req); err != nil {
		return nil, fmt.Errorf("decode the answer to a notification: %w", err)
	}
	if req.GetType() != rpc.CriuReqType_NOTIFY {
		return nil, fmt.Errorf("a notification was answered with a message of type %s", req.GetType())
	}
	return &Answer{message: message, refused: !req.GetNotifySuccess()}, nil
}

// Err is nil for yes.
func (a *Answer) Err(script string) error {
	if a == nil || !a.refused {
		return nil
	}
	return fmt.Errorf("%w (%s)", ErrRefused, script)
}

// ask asks whoever wants to know of a notification: the client or, for other callers,
// the request's Notify.
func (e *Engine) ask(n *Notification, notify func(script string, pid int) error) (*Answer, error) {
	switch {
	case e.Client != nil && e.Client.Ask != nil:
		return e.Client.Ask(n)
	case e.Client == nil && notify != nil:
		return nil, notify(n.Script, n.PID)
	}
	return nil, nil
}
