// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"errors"
	"fmt"

	"github.com/crtime/crtime/clockstate"
)

// ErrSeveralNamespaces says that the processes of a tree live in different time
// namespaces, or have chosen another for their children, where one has to do for all.
var ErrSeveralNamespaces = errors.New("the tree has several time namespaces")

// oneNamespace returns what is planned for the time namespace of the tree's root, which
// must be that of all: who starts a program with the offsets of one namespace gives it
// no other. The error is ErrSeveralNamespaces and names a process, or clockstate's
// ErrInvalid.
func oneNamespace(p *clockstate.Plan) (clockstate.PlannedNamespace, error) {
	root, err := p.State.Root()
	if err != nil {
		return clockstate.PlannedNamespace{}, err
	}
	for _, process := range p.State.Processes {
		what := ""
		switch root.Namespace {
		case process.Namespace:
			if process.NamespaceForChildren != process.Namespace {
				what = "has made one for its children"
			}
		default:
			what = fmt.Sprintf("lives in another than the root, process %d", root.OuterPID)
		}
		if what != "" {
			return clockstate.PlannedNamespace{}, fmt.Errorf("%w: process %d (%q) %s; only 'crtime restore' can bring them all back",
				ErrSeveralNamespaces, process.OuterPID, process.Comm, what)
		}
	}
	return p.Namespace(root.Namespace)
}
