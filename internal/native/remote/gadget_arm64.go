// SPDX-License-Identifier: Apache-2.0

package remote

// search is not written for this machine.
func (*gadgets) search(uint64, []byte) {}
