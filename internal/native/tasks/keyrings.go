// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/remote"
)

// A keyring as keyctl(2) takes it.
func keyring(special int32) uint64 { return uint64(int64(special)) }

// askKeys adds the call that asks for the keys that belong to a thread, or a
// process, alone. The returned function refuses them after the batch was run: what
// is in a keyring the kernel keeps for whoever possesses it.
func askKeys(b *batch, special int32, whose string) func() error {
	// The result is the size of the list of keys; ENOKEY: there is no such keyring.
	asked := b.may("ask for the keys of the "+whose).call(unix.SYS_KEYCTL, unix.KEYCTL_READ, keyring(special), 0, 0)
	return func() error {
		if c := &b.calls[asked]; c.Err() == nil && c.Ret > 0 {
			return fmt.Errorf("%w: it has keys in the keyring of the %s (keyctl), which no image has a place for: let the program remove them first",
				engine.ErrUnsavable, whose)
		}
		return nil
	}
}

// askSessionKeyring adds the call that asks for the serial number of the process's
// session keyring. The keys in it are its session's and not saved: the number only
// tells which processes have one in common. Asking gives a process that has none
// its user's, as any other use of keys does.
func askSessionKeyring(b *batch) func(*criu_core.TaskCoreEntry) {
	asked := b.may("ask for its session keyring").
		call(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, keyring(unix.KEY_SPEC_SESSION_KEYRING), 0)
	return func(tc *criu_core.TaskCoreEntry) {
		if c := &b.calls[asked]; c.Err() == nil {
			extra.Set(tc, fieldKeyring, uint64(uint32(c.Ret)))
		}
	}
}

// newKeyring gives a stub a new, empty session keyring, without a name and so out of
// reach of others. Otherwise it would have crtime's own, which is that of the login
// of whoever runs it.
func newKeyring(stub *remote.Stub) error {
	b := newBatch(stub)
	joined := b.may("get a session keyring of its own").call(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0)
	if err := b.run(nil); err != nil {
		return err
	}
	err := b.calls[joined].Err()
	// A kernel without keys, or a container that forbids them: to crtime and to what
	// it makes alike.
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return nil
	}
	return err
}
