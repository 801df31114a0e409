// SPDX-License-Identifier: Apache-2.0

package service

import (
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/restore"
)

// Settings are TODO.
type Settings struct {
	Engine, CRIU string
	Policy       clockstate.Policy
	WallClock    restore.WallClock
	Lead         time.Duration
	OnlyCRIU     []string
}

func (s Settings) forRequest(configFile string) (Settings, error) { if s.Engine == "" { s.Engine = "auto" }; return s, nil }
