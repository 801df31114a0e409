// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/timens"
)

// namespaces are new time namespaces by the recorded ones that they stand for.
type namespaces map[uint64]*timens.Holder

// makeNamespaces makes those that processes of the tree lived in and that no process
// of the tree had made: such a one makes its own again. The caller closes them.
func makeNamespaces(s *clockstate.State) (namespaces, error) {
	made, unshared := namespaces{}, s.Unshared()
	for _, p := range s.Processes {
		if _, later := unshared[p.Namespace]; later || made[p.Namespace] != nil {
			continue
		}
		holder, err := timens.NewHolder()
		if err != nil {
			made.Close()
			return nil, err
		}
		made[p.Namespace] = holder
	}
	return made, nil
}

// setOffsets writes the offsets of a plan, or tells which could not be written.
func (n namespaces) setOffsets(p *clockstate.Plan) error {
	for id, holder := range n {
		planned, err := p.Namespace(id)
		if err != nil {
			return err
		}
		if err := holder.SetOffsets(planned.Offsets); err != nil {
			return err
		}
	}
	return nil
}

// Close gives up crtime's hold on all of them. Processes that are inside stay there.
func (n namespaces) Close() {
	for _, holder := range n {
		holder.Close()
	}
}
