// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/extra"
)

// Fields of CRIU 4.2's images/*.proto that go-criu's generated types lack. A
// test fails when a newer go-criu knows them, because they are then no longer
// found among the unknown fields.
const (
	fieldNoNewPrivs  protowire.Number = 18 // creds_entry: optional uint32.
	fieldCapAmb      protowire.Number = 19 // creds_entry: repeated uint32.
	fieldMembarriers protowire.Number = 22 // task_core_entry: optional uint32.
	fieldCET         protowire.Number = 9  // user_x86_xsave_entry: shadow stack.
)

// Fields of crtime's own in thread_core_entry, from the range that protobuf
// keeps for use within organisations. CRIU skips fields that it does not know.
const (
	fieldAffinity   protowire.Number = 50001 // bytes: CPUs the thread may run on, bit n%8 of byte n/8 is CPU n.
	fieldTimerSlack protowire.Number = 50002 // uint64: in nanoseconds.
	fieldCall       protowire.Number = 50003 // bytes: the system call that the dump interrupted, see call.

	fieldIOPriority  protowire.Number = 50004 // uint32: as ioprio_get(2) gives it; absent: none of its own.
	fieldClampMin    protowire.Number = 50005 // uint32: sched_attr.sched_util_min.
	fieldClampMax    protowire.Number = 50006 // uint32: sched_attr.sched_util_max.
	fieldSlice       protowire.Number = 50007 // uint64: sched_attr.sched_runtime of an ordinary thread, in nanoseconds.
	fieldPolicy      protowire.Number = 50008 // bytes: where its memory comes from, see package numa.
	fieldPersonality protowire.Number = 50009 // uint32: of a further thread; the first has that of task_core_entry.

	// See threadMarks for what their values are.
	fieldMachineCheck   protowire.Number = 50010 // uint32
	fieldTimeStamps     protowire.Number = 50011 // uint32
	fieldStoreBypass    protowire.Number = 50012 // uint32
	fieldIndirectBranch protowire.Number = 50013 // uint32
	fieldFlushL1D       protowire.Number = 50014 // uint32
	fieldIOFlusher      protowire.Number = 50015 // uint32
	fieldCPUID          protowire.Number = 50016 // uint32
)

// Fields of crtime's own in task_core_entry.
const (
	fieldCoreFilter  protowire.Number = 50001 // uint32: /proc/PID/coredump_filter.
	fieldKeyring     protowire.Number = 50002 // uint32: serial number of its session keyring.
	fieldMergeMemory protowire.Number = 50003 // uint32: see processMarks.
	fieldXSAVE       protowire.Number = 50004 // uint64: see processMarks.
)

// setCall notes the system call that a thread was in.
func setCall(m proto.Message, c call) {
	b := protowire.AppendTag(nil, fieldCallNumber, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(c.number))
	b = protowire.AppendTag(b, fieldCallResult, protowire.VarintType)
	b = protowire.AppendVarint(b, protowire.EncodeZigZag(c.result))
	for _, arg := range c.args {
		b = protowire.AppendTag(b, fieldCallArgument, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, arg)
	}
	if c.known {
		b = protowire.AppendTag(b, fieldCallClock, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(uint32(c.rest.Clock)))
		b = protowire.AppendTag(b, fieldCallLeft, protowire.VarintType)
		b = protowire.AppendVarint(b, protowire.EncodeZigZag(c.rest.Left))
		b = protowire.AppendTag(b, fieldCallFuzz, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(c.rest.Fuzz))
	}
	extra.SetBytes(m, fieldCall, b)
}

// Fields of the message in fieldCall.
const (
	fieldCallNumber   protowire.Number = 1 // int64
	fieldCallResult   protowire.Number = 2 // sint64
	fieldCallArgument protowire.Number = 3 // repeated fixed64
	// What was left of its time at the freeze, if that is known: see Rest.
	fieldCallClock protowire.Number = 4 // uint32
	fieldCallLeft  protowire.Number = 5 // sint64, in nanoseconds
	fieldCallFuzz  protowire.Number = 6 // uint64, in nanoseconds
)

// getCall is the reverse of setCall. ok is false if there is none, or what is
// there is damaged.
func getCall(m proto.Message) (c call, ok bool) {
	b := extra.Bytes(m, fieldCall)
	args := c.args[:0]
	for ok = len(b) > 0; len(b) > 0; {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return call{}, false
		}
		b = b[size:]
		size = protowire.ConsumeFieldValue(n, typ, b)
		if size < 0 {
			return call{}, false
		}
		switch {
		case n == fieldCallNumber && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			c.number = int64(v)
		case n == fieldCallResult && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			c.result = protowire.DecodeZigZag(v)
		case n == fieldCallArgument && typ == protowire.Fixed64Type && len(args) < len(c.args):
			v, _ := protowire.ConsumeFixed64(b)
			args = append(args, v)
		case n == fieldCallClock && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			c.rest.Clock = int32(v)
		case n == fieldCallLeft && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			c.rest.Left, c.known = protowire.DecodeZigZag(v), true
		case n == fieldCallFuzz && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			c.rest.Fuzz = int64(v)
		}
		b = b[size:]
	}
	if !c.known || !c.rest.valid() {
		c.known, c.rest = false, Rest{}
	}
	return c, ok
}
