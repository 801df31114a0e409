// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"fmt"
	"time"
)

// freezeLimit is how long a tree may take to stop, unless the user says so: CRIU's
// own default.
const freezeLimit = 10 * time.Second

// limit bounds the time for freezing; 0 is the default.
func limit(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	if most <= 0 {
		most = freezeLimit
	}
	return context.WithTimeoutCause(ctx, most, fmt.Errorf("it did not stop within %v (--timeout): %w", most, context.DeadlineExceeded))
}
