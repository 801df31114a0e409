// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"

	"github.com/crtime/crtime/internal/native/remote"
)

// machine is how a core image names this machine.
const machine = criu_core.CoreEntry_AARCH64

// errMachine says that the registers of this machine are not supported yet.
var errMachine = errors.New("the native engine does not save the registers of arm64 yet: use --engine criu")

func saveState(*criu_core.CoreEntry, *remote.State) error { return errMachine }

func loadState(*criu_core.CoreEntry) (remote.State, error) { return remote.State{}, errMachine }

func checkTLS(*criu_core.CoreEntry) error { return errMachine }

func setClearTID(*criu_core.CoreEntry, uint64) {}

func clearTID(*criu_core.CoreEntry) uint64 { return 0 }
