// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"

	"github.com/crtime/crtime/internal/native/parallel"
)

// each is parallel.Each for what can fail: it joins the errors, in the order of the
// numbers.
func each(n int, f func(i int) error) error {
	errs := make([]error, n)
	parallel.Each(n, func(i int) { errs[i] = f(i) })
	return errors.Join(errs...)
}
