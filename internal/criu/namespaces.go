// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/timens"
)

// checkNamespaces refuses a tree whose processes live in several time
// namespaces, or have set up another one for their children: CRIU finds that
// out too, but only with the tree frozen. A tree that changes in between is
// still refused by CRIU.
func checkNamespaces(root int) error {
	tree, err := proc.Scan(root)
	if err != nil {
		return err
	}
	var first uint64
	for i, pid := range tree.PIDs() {
		if tree.Tasks[i].Zombie {
			continue
		}
		own, forChildren, err := timens.IDOf(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue // It has just ended.
		}
		if err != nil {
			return err
		}
		if first == 0 {
			first = own
		}
		if own != first || forChildren != first {
			return fmt.Errorf("%w: processes %d and %d of the tree live in different time namespaces, or one has made another for its children; CRIU saves trees in one",
				engine.ErrUnsupported, root, pid)
		}
	}
	return nil
}

// onlyNamespace is the one that CRIU is to be born in. CRIU rebuilds trees that lived
// in one.
func onlyNamespace(req engine.RestoreRequest) (*timens.Holder, error) {
	first := req.State.Processes[0]
	for _, p := range req.State.Processes {
		if p.Namespace != first.Namespace || p.NamespaceForChildren != first.Namespace {
			return nil, fmt.Errorf("%w: processes %d (%s) and %d (%s) lived in different time namespaces, or one had made another for its children; CRIU rebuilds one: use --engine native",
				engine.ErrUnsupported, first.OuterPID, first.Comm, p.OuterPID, p.Comm)
		}
	}
	return req.Namespaces[first.Namespace], nil
}
