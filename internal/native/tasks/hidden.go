// SPDX-License-Identifier: Apache-2.0

package tasks

// hidden says what stands in the way of saving a thread that /proc does not show
// and that can be found out without stopping it.
func hidden(tid int) []obstacle {
	// Kernels without core scheduling, and machines without sibling threads, say
	// that they know no such thing.
	if cookie, err := coreCookie(tid); err == nil && cookie != 0 {
		return []obstacle{{
			"core scheduling group of its own (PR_SCHED_CORE)",
			"the kernel does not tell with whom it shares it: start the program outside of such a group",
		}}
	}
	return nil
}
