// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// checkText refuses strings with a NUL in them: the kernel would take them for
// shorter ones, so that two different names could mean the same file.
func checkText(s *source, m proto.Message) error {
	if bad := nulField(m.ProtoReflect()); bad != "" {
		return s.wrong("its field %s has a zero byte in it", bad)
	}
	return nil
}

// nulField returns the full name of a string field with a NUL, or "". Lists
// whose messages hold no text, such as memory mappings, are not walked.
func nulField(m protoreflect.Message) (bad string) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case !holdsText(f, nil):
		case f.IsList():
			for i := 0; i < v.List().Len() && bad == ""; i++ {
				bad = nulValue(f, v.List().Get(i))
			}
		default:
			bad = nulValue(f, v)
		}
		return bad == ""
	})
	return bad
}

// nulValue is nulField for one value of a field.
func nulValue(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if f.Kind() != protoreflect.StringKind {
		return nulField(v.Message())
	}
	if strings.IndexByte(v.String(), 0) >= 0 {
		return string(f.FullName())
	}
	return ""
}

// holdsText reports whether a field can hold a string, itself or further down.
// seen breaks the circle of messages that hold themselves.
func holdsText(f protoreflect.FieldDescriptor, seen []protoreflect.FullName) bool {
	if f.Kind() == protoreflect.StringKind {
		return true
	}
	if f.Message() == nil {
		return false
	}
	name := f.Message().FullName()
	if slices.Contains(seen, name) {
		return false
	}
	seen = append(seen, name)
	fields := f.Message().Fields()
	for i := range fields.Len() {
		if holdsText(fields.Get(i), seen) {
			return true
		}
	}
	return false
}
