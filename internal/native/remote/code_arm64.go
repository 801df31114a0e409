// SPDX-License-Identifier: Apache-2.0

package remote

// stubCode is not written for this machine.
func stubCode() (code []byte, stop uint64, err error) { return nil, 0, ErrMachine }

const (
	entryStep  = 0
	entryLeave = 0
	entryTable = 0
)
