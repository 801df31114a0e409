// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/choose"
	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/settings"
)

// criu finds CRIU, as it is for this client.
func (s *Session) criu(ctx context.Context) (*criu.Engine, error) {
	binary, err := criu.Find(ctx, s.Settings.CRIU)
	if err != nil {
		return nil, err
	}
	return &criu.Engine{Binary: binary, Log: s.Log, Client: &criu.Client{Ask: s.forward, Socket: s.number}}, nil
}

// choice says who does a dump or a restore with these options.
func (s *Session) choice(set settings.Settings, opts *rpc.CriuOpts, j *job) (choose.Choice, error) {
	own, err := s.owned(opts, j.places)
	if err != nil {
		return choose.Choice{}, err
	}
	files, err := configFiles(opts)
	if err != nil {
		return choose.Choice{}, err
	}
	j.lazy = lazily(opts, files)
	client := &criu.Client{Options: own, Socket: s.number, Parent: s.Own, Lazy: j.lazy}
	if opts.GetNotifyScripts() {
		client.Ask = s.forward
	}
	c := choose.Choice{Engine: set.Engine, CRIU: set.CRIU, Log: j.log, Client: client}
	if c.Engine == criu.Name {
		return c, nil
	}
	only := onlyCRIU(opts)
	for _, f := range files {
		only = append(only, "options in "+f.path)
	}
	switch {
	case len(only) == 0:
	case c.Engine == choose.Auto:
		j.log.Info("taking CRIU for what it alone can do", zap.Strings("the request has", only))
		c.Engine = criu.Name
	default:
		return c, fmt.Errorf("%w: the request has what CRIU alone can do (%s), and the settings say engine: %s",
			engine.ErrUnsupported, strings.Join(only, ", "), c.Engine)
	}
	return c, nil
}

// pass hands a request to a CRIU as it is. The same CRIU serves all such requests of a
// session: a WAIT_PID is for a page server that it has started.
func (s *Session) pass(ctx context.Context, req *rpc.CriuReq) (*rpc.CriuResp, error) {
	req = proto.CloneOf(req)
	if req.Opts != nil {
		p, err := s.places(req.GetOpts())
		if err != nil {
			return nil, err
		}
		defer p.close()
		if req.Opts, err = s.owned(req.GetOpts(), p); err != nil {
			return nil, err
		}
	}
	if s.relay == nil {
		e, err := s.criu(ctx)
		if err != nil {
			return nil, err
		}
		if s.relay, err = e.NewRelay(); err != nil {
			return nil, err
		}
	}
	resp, err := s.relay.Do(ctx, req)
	if err == nil && !resp.GetSuccess() {
		err = errPassed
	}
	return resp, err
}

// errPassed says that CRIU could not do what was passed to it. The client gets its response.
var errPassed = errors.New("criu could not do it")
