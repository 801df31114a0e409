// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/native"
	"github.com/crtime/crtime/internal/timens"
)

// version is the release of CRIU whose protocol crtime speaks. It has no gitid: clients
// count a version with one as a later release.
func version() *rpc.CriuResp {
	v := criu.Oldest()
	resp := success()
	resp.Version = &rpc.CriuVersion{MajorNumber: proto.Int32(int32(v.Major)), MinorNumber: proto.Int32(int32(v.Minor))}
	return resp
}

// features answers which of the features that are asked for are there. All three are
// CRIU's alone.
func (s *Session) features(ctx context.Context, req *rpc.CriuReq) (*rpc.CriuResp, error) {
	if req.Features == nil {
		return nil, badRequest("a FEATURE_CHECK request without features")
	}
	has := &rpc.CriuFeatures{MemTrack: proto.Bool(false), LazyPages: proto.Bool(false), PidfdStore: proto.Bool(false)}
	if e, err := s.criu(ctx); err == nil {
		if has, err = e.Features(ctx, req.GetFeatures()); err != nil {
			return nil, err
		}
	} else {
		s.Log.Info("no features of CRIU", zap.NamedError("because", err))
	}
	resp := success()
	resp.Features = has
	return resp, nil
}

// check answers whether dumps and restores work here.
func (s *Session) check(ctx context.Context) (*rpc.CriuResp, error) {
	spaces, err := timens.Probe()
	if err == nil && !spaces.CanCreate() {
		err = errors.Join(spaces.Clone3.Err, spaces.Unshare.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("time namespaces: %w", err)
	}
	own := native.Probe()
	if own == nil {
		return success(), nil
	}
	e, err := s.criu(ctx)
	if err == nil {
		_, err = e.Binary.Check(ctx)
	}
	if err != nil {
		return nil, errors.Join(own, err)
	}
	return success(), nil
}
