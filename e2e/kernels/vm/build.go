// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// CompileFrom makes the machine's compiler work: what is compiled below
// wire.SourceDir in the guest is compiled in the same folder below root, the
// source tree on the host. It goes on until the machine ends.
func (m *Machine) CompileFrom(root string) {
	go func() {
		for {
			var b wire.Build
			if err := m.client.Call("Service.NextBuild", wire.Nothing{}, &b); err != nil {
				return // The machine has ended.
			}
			// If this fails the machine has ended, as the next round will find.
			_ = m.client.Call("Service.Built", compile(root, b), &wire.Nothing{})
		}
	}()
}

// compile runs a compiler for the guest.
func compile(root string, b wire.Build) wire.Built {
	built := wire.Built{ID: b.ID}
	refuse := func(err error) wire.Built {
		built.Status, built.Words = 1, []byte("the host: "+err.Error()+"\n")
		return built
	}
	folder, err := filepath.Rel(wire.SourceDir, b.Dir)
	if err != nil || !filepath.IsLocal(folder) || b.Output() == 0 {
		return refuse(fmt.Errorf("cannot run %q in %s", b.Argv, b.Dir))
	}
	out, err := os.CreateTemp("", "crtime-kernels-*")
	if err != nil {
		return refuse(err)
	}
	out.Close()
	defer func() {
		// It lies in the temporary folder, where nobody else looks for it.
		_ = os.Remove(out.Name())
	}()
	for i, arg := range b.Argv {
		if below, ok := strings.CutPrefix(arg, wire.SourceDir); ok {
			b.Argv[i] = root + below
		}
	}
	b.Argv[b.Output()] = out.Name()
	cmd := exec.Command(b.Argv[0], b.Argv[1:]...)
	cmd.Dir = filepath.Join(root, folder)
	words, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return refuse(err)
	}
	built.Status, built.Words = cmd.ProcessState.ExitCode(), words
	if built.File, err = os.ReadFile(out.Name()); err != nil {
		return refuse(err)
	}
	return built
}
