// SPDX-License-Identifier: Apache-2.0

// Package extra reads and writes fields of image messages that their types do not
// know: those that are newer than go-criu, and crtime's own, for state that CRIU's
// images have no place for. The latter have numbers from the range that protobuf
// keeps for use within organisations (50000 to 99999). CRIU skips fields that it
// does not know, and crtime keeps them when it writes a message again.
//
// Unknown fields have been checked when a message was parsed. In a message that was
// damaged since, what comes after the damage counts as absent.
package extra

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Set appends an integer field.
func Set(m proto.Message, n protowire.Number, v uint64) {
	r := m.ProtoReflect()
	b := protowire.AppendTag(r.GetUnknown(), n, protowire.VarintType)
	r.SetUnknown(protowire.AppendVarint(b, v))
}

// SetBytes is Set for a field of bytes.
func SetBytes(m proto.Message, n protowire.Number, v []byte) {
	r := m.ProtoReflect()
	b := protowire.AppendTag(r.GetUnknown(), n, protowire.BytesType)
	r.SetUnknown(protowire.AppendBytes(b, v))
}

// All lists the values of an integer field in the order in which they stand.
// Repeated integers may be packed or not.
func All(m proto.Message, n protowire.Number) []uint64 {
	var values []uint64
	each(m, n, func(typ protowire.Type, b []byte) {
		switch typ {
		case protowire.VarintType:
			if v, size := protowire.ConsumeVarint(b); size > 0 {
				values = append(values, v)
			}
		case protowire.BytesType:
			packed, _ := protowire.ConsumeBytes(b)
			for len(packed) > 0 {
				v, size := protowire.ConsumeVarint(packed)
				if size <= 0 {
					return
				}
				values, packed = append(values, v), packed[size:]
			}
		default:
		}
	})
	return values
}

// Value is the last value of an integer field, which is the one that counts.
func Value(m proto.Message, n protowire.Number) (uint64, bool) {
	values := All(m, n)
	if len(values) == 0 {
		return 0, false
	}
	return values[len(values)-1], true
}

// Bytes is the last value of a field of bytes, nil if there is none.
func Bytes(m proto.Message, n protowire.Number) []byte {
	var value []byte
	each(m, n, func(typ protowire.Type, b []byte) {
		if typ == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(b)
		}
	})
	return value
}

// each calls f for each unknown field n with what follows its tag.
func each(m proto.Message, n protowire.Number, f func(protowire.Type, []byte)) {
	b := m.ProtoReflect().GetUnknown()
	for len(b) > 0 {
		number, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return
		}
		b = b[size:]
		value := protowire.ConsumeFieldValue(number, typ, b)
		if value < 0 {
			return
		}
		if number == n {
			f(typ, b[:value])
		}
		b = b[value:]
	}
}
