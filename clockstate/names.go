// SPDX-License-Identifier: Apache-2.0

package clockstate

import (
	"fmt"
	"strings"
)

// nameOf returns the name at index i, or a visibly wrong one such as
// "Policy(9)" for a number that has none.
func nameOf(kind string, names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("%s(%d)", kind, i)
	}
	return names[i]
}

// marshalName refuses numbers without a name, which could not be read back.
func marshalName(kind string, names []string, i int) ([]byte, error) {
	if i < 0 || i >= len(names) {
		return nil, fmt.Errorf("%w: %s number %d has no name", ErrInvalid, kind, i)
	}
	return []byte(names[i]), nil
}

// parseName returns the number whose name that is, or an error that lists all
// the names.
func parseName[T ~uint8](kind string, names []string, name string) (T, error) {
	var number T
	for _, known := range names {
		if known == name {
			return number, nil
		}
		number++
	}
	return 0, fmt.Errorf("%w: unknown %s %q: use one of %s", ErrInvalid, kind, name, strings.Join(names, ", "))
}
