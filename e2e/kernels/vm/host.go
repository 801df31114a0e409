// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Host is where machines run. It learns whether KVM works here.
type Host struct {
	mu     sync.Mutex // Guards accels, and is held while it is not known which works.
	accels []Accel    // What may work, the best first; nil: not looked at.
	proven bool       // The first of them has booted a machine.
}

// Boot starts a machine and waits for its agent. Its files, of the size of the
// image, are in dir, which must exist. The caller closes the machine.
func (h *Host) Boot(ctx context.Context, k Kernel, i *Image, dir string) (*Machine, error) {
	with, err := i.withModules(k)
	if err != nil {
		return nil, err
	}
	m := &Machine{Kernel: k, dir: dir}
	if err := with.Write(m.path("initramfs")); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.accels == nil {
		if h.accels, err = accelerators(); err != nil {
			return nil, err
		}
	}
	for _, m.Accel = range slices.Clone(h.accels) {
		if m.tryBoot(ctx) {
			h.proven = true
			return m, nil
		}
		if h.proven || ctx.Err() != nil {
			break
		}
		// What cannot boot one kernel need not be tried with the next.
		if len(h.accels) > 1 {
			h.accels = h.accels[1:]
		}
	}
	return nil, errors.Join(m.Failed...)
}

// tries is how often an emulated machine is booted before it is given up: of some
// thirty machines of QEMU 7.2 one panicked and one hung before its first process.
const tries = 3

// tryBoot reports whether the machine runs; if not, m.Failed says why.
func (m *Machine) tryBoot(ctx context.Context) bool {
	attempts := 1
	if m.Accel == TCG {
		attempts = tries
	}
	for range attempts {
		err := m.boot(ctx)
		if err == nil {
			return true
		}
		m.Failed = append(m.Failed, fmt.Errorf("booting %s by %s: %w", m.Kernel.Name, m.Accel, err))
		if ctx.Err() != nil {
			return false
		}
	}
	return false
}

// accelerators lists what to try, in order: what CRTIME_KERNELS_ACCEL names, or
// KVM if this machine seems to have it, then emulation.
func accelerators() ([]Accel, error) {
	switch given := Accel(os.Getenv("CRTIME_KERNELS_ACCEL")); given {
	case KVM, TCG:
		return []Accel{given}, nil
	case "":
	default:
		return nil, fmt.Errorf("CRTIME_KERNELS_ACCEL is %q, not %s or %s", given, KVM, TCG)
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return []Accel{TCG}, nil //nolint:nilerr // Then there is only emulation.
	}
	f.Close()
	return []Accel{KVM, TCG}, nil
}
