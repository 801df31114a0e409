// SPDX-License-Identifier: Apache-2.0

package extra

import (
	"bytes"
	"slices"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// TestFields writes fields, takes them through their encoded form and reads them.
func TestFields(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := protowire.Number(rapid.Int32Range(50000, 50010).Draw(t, "number"))
		values := rapid.SliceOf(rapid.Uint64()).Draw(t, "values")
		text := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		m := &mm.MmEntry{}
		for _, v := range values {
			Set(m, number, v)
		}
		SetBytes(m, number+20, text)
		data, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again := &mm.MmEntry{}
		if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(data, again); err != nil {
			t.Fatal(err)
		}
		if got := All(again, number); !slices.Equal(got, values) {
			t.Fatalf("got %v, want %v", got, values)
		}
		if v, ok := Value(again, number); ok != (len(values) > 0) || ok && v != values[len(values)-1] {
			t.Fatalf("the value is %d, %v of %v", v, ok, values)
		}
		if got := Bytes(again, number+20); !bytes.Equal(got, text) {
			t.Fatalf("got %q, want %q", got, text)
		}
		if got := All(again, number+30); got != nil {
			t.Fatalf("a field that was not written has %v", got)
		}
	})
}

func TestPacked(t *testing.T) {
	m := &mm.MmEntry{}
	SetBytes(m, 60000, protowire.AppendVarint(protowire.AppendVarint(nil, 7), 300))
	if got := All(m, 60000); !slices.Equal(got, []uint64{7, 300}) {
		t.Errorf("got %v", got)
	}
}

// FuzzDamaged reads messages whose unknown fields are anything.
func FuzzDamaged(f *testing.F) {
	f.Add([]byte{0x80})
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 50001, protowire.VarintType), 1))
	f.Fuzz(func(t *testing.T, unknown []byte) {
		m := &mm.MmEntry{}
		m.ProtoReflect().SetUnknown(unknown)
		values := All(m, 50001)
		if v, ok := Value(m, 50001); ok != (len(values) > 0) || ok && v != values[len(values)-1] {
			t.Errorf("the value is %d, %v of %v", v, ok, values)
		}
		_ = Bytes(m, 50001)
	})
}
