// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"fmt"

	criu_sa "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-sa"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// signals is the number of the highest signal.
const signals = 64

// sigIgn is SIG_IGN; SIG_DFL is 0, and everything above is a handler's address.
const sigIgn = 1

// sigaction is the kernel's struct sigaction of 64-bit machines: four words.
type sigaction struct {
	handler  uint64
	flags    uint64
	restorer uint64
	mask     uint64
}

// sigactionSize is its size in bytes, maskSize that of a signal mask.
const (
	sigactionSize = 32
	maskSize      = 8
)

// fixed reports whether the action of a signal cannot be changed. The image
// leaves those signals out.
func fixed(sig int) bool { return sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) }

// readActions makes the calls that ask for all signal actions.
func readActions(b *batch) (addr uint64, err error) {
	addr, err = b.alloc(signals * sigactionSize)
	if err != nil {
		return 0, err
	}
	for sig := 1; sig <= signals; sig++ {
		if fixed(sig) {
			continue
		}
		b.must("ask for the action of signal %d", sig).
			call(unix.SYS_RT_SIGACTION, uint64(sig), 0, addr+uint64(sig-1)*sigactionSize, maskSize)
	}
	return addr, nil
}

// parseActions reads an array of actions, one for each signal from 1 on.
func parseActions(data []byte) []sigaction {
	actions := make([]sigaction, len(data)/sigactionSize)
	for i := range actions {
		w := data[i*sigactionSize:]
		actions[i] = sigaction{
			handler:  binary.NativeEndian.Uint64(w),
			flags:    binary.NativeEndian.Uint64(w[8:]),
			restorer: binary.NativeEndian.Uint64(w[16:]),
			mask:     binary.NativeEndian.Uint64(w[24:]),
		}
	}
	return actions
}

// bytes is the reverse of parseActions for one action.
func (a sigaction) bytes() []byte {
	b := make([]byte, 0, sigactionSize)
	for _, w := range []uint64{a.handler, a.flags, a.restorer, a.mask} {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	return b
}

// saveActions converts actions to the image's form.
func saveActions(actions []sigaction) []*criu_sa.SaEntry {
	var entries []*criu_sa.SaEntry
	for i, a := range actions {
		if fixed(i + 1) {
			continue
		}
		entries = append(entries, &criu_sa.SaEntry{
			Sigaction: proto.Uint64(a.handler), Flags: proto.Uint64(a.flags),
			Restorer: proto.Uint64(a.restorer), Mask: proto.Uint64(a.mask),
			CompatSigaction: proto.Bool(false),
		})
	}
	return entries
}

// loadActions is the reverse of saveActions, indexed by signal number less one.
func loadActions(entries []*criu_sa.SaEntry) ([]sigaction, error) {
	if len(entries) != signals-2 {
		return nil, fmt.Errorf("the image has actions for %d signals instead of %d", len(entries), signals-2)
	}
	actions := make([]sigaction, signals)
	for sig := 1; sig <= signals; sig++ {
		if fixed(sig) {
			continue
		}
		e := entries[0]
		entries = entries[1:]
		if e.GetCompatSigaction() {
			return nil, fmt.Errorf("%w: signal %d has a 32-bit handler, which the native engine does not rebuild", criuimg.ErrUnsupported, sig)
		}
		actions[sig-1] = sigaction{handler: e.GetSigaction(), flags: e.GetFlags(), restorer: e.GetRestorer(), mask: e.GetMask()}
	}
	return actions, nil
}

// writeActions adds the calls that set all actions. A process that forked before
// has handed its actions down, so none is taken for the default.
func writeActions(b *batch, entries []*criu_sa.SaEntry) error {
	actions, err := loadActions(entries)
	if err != nil {
		return err
	}
	var all []byte
	for _, a := range append(actions, sigaction{handler: sigIgn}) {
		all = append(all, a.bytes()...)
	}
	addr, err := b.put(all)
	if err != nil {
		return err
	}
	// Ignoring a signal throws away those that are pending: the stub's children
	// that have ended would be news to the program.
	b.must("forget SIGCHLDs").call(unix.SYS_RT_SIGACTION, uint64(unix.SIGCHLD), addr+signals*sigactionSize, 0, maskSize)
	for sig := 1; sig <= signals; sig++ {
		if !fixed(sig) {
			b.must("set the action of signal %d", sig).
				call(unix.SYS_RT_SIGACTION, uint64(sig), addr+uint64(sig-1)*sigactionSize, 0, maskSize)
		}
	}
	return nil
}
