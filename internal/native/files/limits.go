// SPDX-License-Identifier: Apache-2.0

package files

// DefaultGhostBytes is how large a deleted file may be to be saved with its
// contents, when the user did not say. It is CRIU's default.
const DefaultGhostBytes = 1 << 20

// Limits are what the user allows. The zero value is the strictest.
type Limits struct {
	GhostBytes int64 // Largest deleted file that is saved; 0: DefaultGhostBytes.
	FileLocks  bool  // Save file locks. Without it a lock is an obstacle.
	LinkRemap  bool  // Make links for files whose name is gone but that have others.
	ShellJob   bool  // The tree may have a terminal of a session outside it.
	ExtUnixSk  bool  // The tree may have UNIX sockets whose peer is outside it.
}

// ghostBytes is the limit with its default.
func (l Limits) ghostBytes() int64 {
	if l.GhostBytes > 0 {
		return l.GhostBytes
	}
	return DefaultGhostBytes
}
