// SPDX-License-Identifier: Apache-2.0

package native

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/tasks"
)

// checkPrivilege refuses images in which a process is to be more than whoever owns
// their directory: a user who may run crtime with capabilities of its own could
// otherwise make processes of any user.
func checkPrivilege(set *criuimg.Set, dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("look at the image directory %s: %w", dir, err)
	}
	return tasks.CheckPrivilege(set, st.Uid)
}
