// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// differences lists the fields in which two messages differ, by their paths, but
// for those that skip names. Fields that the type does not know are called by
// their numbers.
func differences(a, b proto.Message, skip func(path string) bool) []string {
	was, is := map[string]string{}, map[string]string{}
	flatten("", a.ProtoReflect(), was)
	flatten("", b.ProtoReflect(), is)
	var list []string
	for path := range was {
		if _, ok := is[path]; !ok {
			is[path] = "nothing"
		}
	}
	for path, v := range is {
		w, ok := was[path]
		if !ok {
			w = "nothing"
		}
		if w != v && !skip(path) {
			list = append(list, fmt.Sprintf("%s: %s and %s", path, w, v))
		}
	}
	slices.Sort(list)
	return list
}

// flatten writes every value of a message under its path.
func flatten(at string, m protoreflect.Message, into map[string]string) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		path := strings.TrimPrefix(at+"."+string(f.Name()), ".")
		one := func(path string, v protoreflect.Value) {
			if f.Kind() == protoreflect.MessageKind {
				flatten(path, v.Message(), into)
				return
			}
			into[path] = fmt.Sprint(v)
		}
		if !f.IsList() {
			one(path, v)
			return true
		}
		for i := range v.List().Len() {
			one(fmt.Sprintf("%s[%d]", path, i), v.List().Get(i))
		}
		return true
	})
	for b := m.GetUnknown(); len(b) > 0; {
		n, typ, size := protowire.ConsumeTag(b)
		whole := size + protowire.ConsumeFieldValue(n, typ, b[size:])
		path := fmt.Sprintf("%s.%d", at, n)
		into[path] += fmt.Sprintf("%x ", b[size:whole])
		b = b[whole:]
	}
}
