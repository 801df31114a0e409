// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"errors"
	"testing"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/timens"
)

func TestOnlyNamespace(t *testing.T) {
	var holder timens.Holder
	for _, tt := range []struct {
		name             string
		own, forChildren uint64 // Of the second process.
		ok               bool
	}{
		{"one", 1, 1, true},
		{"two", 2, 2, false},
		{"another one for children", 1, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := onlyNamespace(engine.RestoreRequest{
				State: &clockstate.State{Processes: []clockstate.Process{
					{OuterPID: 1, Namespace: 1, NamespaceForChildren: 1},
					{OuterPID: 2, Namespace: tt.own, NamespaceForChildren: tt.forChildren},
				}},
				Namespaces: map[uint64]*timens.Holder{1: &holder},
			})
			if tt.ok && (err != nil || got != &holder) || !tt.ok && !errors.Is(err, engine.ErrUnsupported) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
