// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/seqpacket"
)

// Client speaks CRIU's RPC with a program that it has started for that, or with a
// service. Unlike go-criu's it sees every notification.
type Client struct {
	conn *seqpacket.Conn
	swrk *exec.Cmd // nil: a service.
	// Heard are the notifications so far, in their order.
	Heard []string
}

// StartSwrk starts `path swrk N` for a client. It gets files under the numbers from 4 on,
// and env is added to its environment.
func StartSwrk(path string, files []*os.File, env ...string) (*Client, error) {
	conn, theirs, err := seqpacket.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	const first = 3
	cmd := exec.Command(path, "swrk", fmt.Sprint(first))
	cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &Client{conn: conn, swrk: cmd}, nil
}

// Dial connects to a service.
func Dial(path string) (*Client, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", path, err), unix.Close(fd))
	}
	conn, err := seqpacket.New(os.NewFile(uintptr(fd), "client"))
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn}, nil
}

// PID is the process number of the program that was started.
func (c *Client) PID() int { return c.swrk.Process.Pid }

// Send sends a message as it is.
func (c *Client) Send(data []byte) error { return c.conn.Send(data, nil) }

// Receive waits for a message.
func (c *Client) Receive() (*rpc.CriuResp, error) {
	packet, err := c.conn.Receive()
	if err != nil {
		return nil, err
	}
	packet.CloseFiles()
	resp := &rpc.CriuResp{}
	return resp, proto.Unmarshal(packet.Data, resp)
}

// Call sends a request and returns the response. answer says what to answer to a
// notification; nil: yes, always.
func (c *Client) Call(req *rpc.CriuReq, answer func(script string) bool) (*rpc.CriuResp, error) {
	data, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	if err := c.Send(data); err != nil {
		return nil, err
	}
	for {
		resp, err := c.Receive()
		if err != nil || resp.GetType() != rpc.CriuReqType_NOTIFY {
			return resp, err
		}
		heard := resp.GetNotify().GetScript()
		if resp.GetNotify().GetPid() > 0 {
			heard += " with a pid"
		}
		c.Heard = append(c.Heard, heard)
		yes := answer == nil || answer(resp.GetNotify().GetScript())
		data, err := proto.Marshal(&rpc.CriuReq{Type: rpc.CriuReqType_NOTIFY.Enum(), NotifySuccess: proto.Bool(yes)})
		if err != nil {
			return nil, err
		}
		if err := c.Send(data); err != nil {
			return nil, err
		}
	}
}

// HangUp closes the client's end.
func (c *Client) HangUp() error { return c.conn.Close() }

// End hangs up and waits for the end of the program, whose exit status it returns.
func (c *Client) End() (int, error) {
	err := c.HangUp()
	if c.swrk == nil {
		return 0, err
	}
	done := make(chan error, 1)
	go func() { done <- c.swrk.Wait() }()
	const patience = 30 * time.Second
	select {
	case ended := <-done:
		if exit, ok := errors.AsType[*exec.ExitError](ended); ok {
			return exit.ExitCode(), err
		}
		return 0, errors.Join(err, ended)
	case <-time.After(patience):
		return -1, errors.Join(err, fmt.Errorf("%s still runs %v after its client has hung up", c.swrk.Path, patience), c.swrk.Process.Kill())
	}
}
