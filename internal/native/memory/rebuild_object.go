// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// segment is a shared object into which contents are written through crtime's
// own descriptor of it.
type segment struct {
	id   uint64
	fd   int
	size uint64 // A memfd may end within a page.
}

func (s *segment) put(p *piece, b []byte) error {
	for _, part := range p.parts {
		page := b[:min(part.size, s.size-min(s.size, part.addr))]
		b = b[part.size:]
		for at := part.addr; len(page) > 0; {
			n, err := unix.Pwrite(s.fd, page, int64(at))
			if err != nil {
				return fmt.Errorf("fill shared memory %d at byte %d: %w", s.id, at, err)
			}
			at += uint64(n)
			page = page[n:]
		}
	}
	return nil
}

// unfilled cuts the contents of the shared objects into pieces. Each is filled
// once; a memfd has no seals against it until it was.
func (r *Rebuild) unfilled() ([]piece, error) {
	var out []piece
	for _, o := range r.objects {
		if o.filled || len(o.runs) == 0 {
			continue
		}
		from := source{shared: true, id: o.id}
		if o.memfd {
			from = source{id: uint64(o.file), flags: unix.O_RDWR}
		}
		fd, err := r.open(from)
		if err != nil {
			return nil, fmt.Errorf("fill shared memory %d: %w", o.id, err)
		}
		last := o.runs[len(o.runs)-1]
		pages, err := r.images.get(o.pages, last.off+int64(last.size))
		if err != nil {
			return nil, fmt.Errorf("fill shared memory %d: %w", o.id, err)
		}
		var work []stretch
		for _, c := range o.runs {
			work = append(work, stretch{run: c, how: write})
		}
		out = append(out, cut(piece{to: &segment{id: o.id, fd: fd, size: o.size}, from: pages}, work)...)
	}
	return out, nil
}
