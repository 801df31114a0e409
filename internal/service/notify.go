// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/criu"
)

// tell tells the client of a moment of a dump or restore that crtime's own engine does,
// and waits for its answer.
func (s *Session) tell(script string, pid int) error {
	s.told[script] = true
	notify := &rpc.CriuNotify{Script: proto.String(script)}
	if pid > 0 {
		notify.Pid = proto.Int32(int32(pid))
	}
	data, err := proto.Marshal(&rpc.CriuResp{Type: rpc.CriuReqType_NOTIFY.Enum(), Success: proto.Bool(true), Notify: notify})
	if err != nil {
		return fmt.Errorf("encode a notification: %w", err)
	}
	answer, err := s.ask(script, data, nil)
	if err != nil {
		return err
	}
	return answer.Err(script)
}

// forward passes one of CRIU's notifications on.
func (s *Session) forward(n *criu.Notification) (*criu.Answer, error) {
	if n.Script == "pre-dump" && s.told[n.Script] {
		return nil, nil // crtime's own engine got so far before it left the rest to CRIU.
	}
	return s.ask(n.Script, n.Message, n.Files)
}

// ask sends a notification and waits for the answer.
func (s *Session) ask(script string, message []byte, files []*os.File) (*criu.Answer, error) {
	if err := s.send(message, files); err != nil {
		return nil, fmt.Errorf("notification %s: %w", script, err)
	}
	packet, err := s.within(s.Patience, s.conn.Receive)
	if err != nil {
		return nil, fmt.Errorf("answer to the notification %s: %w", script, err)
	}
	packet.CloseFiles()
	return criu.NewAnswer(packet.Data)
}
