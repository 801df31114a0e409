// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"reflect"
	"testing"
)

func TestTableLayout(t *testing.T) {
	if n := reflect.TypeFor[header]().Size(); n != headerSize {
		t.Errorf("a header takes %d bytes, not %d", n, headerSize)
	}
	if n := reflect.TypeFor[entry]().Size(); n != entrySize {
		t.Errorf("an entry takes %d bytes, not %d", n, entrySize)
	}
	code, stop, err := stubCode()
	if err != nil {
		t.Fatal(err)
	}
	if len(code) > codeSize || stop >= uint64(len(code)) {
		t.Errorf("the code takes %d bytes and ends at %d", len(code), stop)
	}
}
