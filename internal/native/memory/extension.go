// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of crtime's own, from the range that protobuf keeps for use within
// organisations. CRIU skips fields that it does not know.
const (
	fieldLockNew  protowire.Number = 50001 // mm_entry, uint32: the flags of mlockall(2) for memory that is mapped later.
	fieldPolicy   protowire.Number = 50001 // vma_entry, bytes: the policy of mbind(2), see package numa.
	fieldResident protowire.Number = 50002 // vma_entry, repeated uint64, packed: see encodeRuns.
)
