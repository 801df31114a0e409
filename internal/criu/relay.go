// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"context"
	"errors"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"
)

// Relay is one CRIU that serves requests of a client which do not concern clocks. It
// must be closed, and serves one request at a time.
type Relay struct {
	engine *Engine
	talk   *conversation
	swrk   *os.Process
}

// NewRelay starts a CRIU for the engine's client.
func (e *Engine) NewRelay() (*Relay, error) {
	talk, swrk, err := e.start()
	if err != nil {
		return nil, err
	}
	return &Relay{engine: e, talk: talk, swrk: swrk}, nil
}

// Do has CRIU serve a request, whose descriptor numbers are this process's own, and
// returns CRIU's response. The client hears of CRIU's notifications. When CRIU is to
// serve another request afterwards, the request must say that it stays open.
func (r *Relay) Do(ctx context.Context, req *rpc.CriuReq) (*rpc.CriuResp, error) {
	return r.talk.call(ctx, req, func(n *Notification) (*Answer, error) { return r.engine.ask(n, nil) })
}

// Close hangs up and waits for CRIU's end. How it ends says nothing: with an error also
// when it was waiting for another request.
func (r *Relay) Close() error {
	err := r.talk.close()
	_, waited := r.swrk.Wait()
	return errors.Join(err, waited)
}

// Features asks CRIU for what a FEATURE_CHECK asks for.
func (e *Engine) Features(ctx context.Context, want *rpc.CriuFeatures) (*rpc.CriuFeatures, error) {
	r, err := e.NewRelay()
	if err != nil {
		return nil, err
	}
	resp, err := r.Do(ctx, &rpc.CriuReq{Type: rpc.CriuReqType_FEATURE_CHECK.Enum(), Features: want})
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if !resp.GetSuccess() {
		return nil, errors.New("criu did not answer which features it has")
	}
	has := resp.GetFeatures()
	// As CRIU answers: each only if it was asked for.
	return &rpc.CriuFeatures{
		MemTrack:   proto.Bool(want.GetMemTrack() && has.GetMemTrack()),
		LazyPages:  proto.Bool(want.GetLazyPages() && has.GetLazyPages()),
		PidfdStore: proto.Bool(want.GetPidfdStore() && has.GetPidfdStore()),
	}, nil
}
