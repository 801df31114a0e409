// SPDX-License-Identifier: Apache-2.0

package memory

import "bytes"

// scratch is a core's own buffers for comparing.
type scratch struct{ own, twin []byte }

// buffers gives two of the same size.
func (s *scratch) buffers(n uint64) (own, twin []byte) {
	if uint64(len(s.own)) < n {
		s.own, s.twin = make([]byte, pieceSize), make([]byte, pieceSize)
	}
	return s.own[:n], s.twin[:n]
}

// copyChanged writes the pages of a piece that differ from those of the parent,
// which the process has. The images are compared, not the memory: they are in
// the page cache, and the parent's memory is what its image says.
func (p *piece) copyChanged(s *scratch) error {
	for _, part := range p.parts {
		own, twin := s.buffers(part.size)
		if err := p.from.read(own, part.off); err != nil {
			return err
		}
		if err := p.twins.read(twin, part.twin); err != nil {
			return err
		}
		for _, c := range changed(own, twin) {
			change := piece{to: p.to, how: write, size: c.size()}
			at := span{part.addr + c.start, part.addr + c.end}
			change.parts = []stretch{{run: part.part(at), how: write}}
			if err := p.to.put(&change, own[c.start:c.end]); err != nil {
				return err
			}
		}
	}
	return nil
}

// changed gives the ranges of whole pages in which two buffers differ.
func changed(a, b []byte) []span {
	var out []span
	for at := 0; at < len(a); at += pageSize {
		end := min(at+pageSize, len(a))
		if bytes.Equal(a[at:end], b[at:end]) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].end == uint64(at) {
			out[n-1].end = uint64(end)
			continue
		}
		out = append(out, span{uint64(at), uint64(end)})
	}
	return out
}
