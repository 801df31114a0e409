// SPDX-License-Identifier: Apache-2.0

package remote

// signalFrame is not written for this machine.
func signalFrame(uint64, State, uint64) (b []byte, frame uint64, err error) {
	return nil, 0, ErrMachine
}
