// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// pieceSize is how much is copied at a time: large enough that a system call
// costs nothing against it, small enough that crtime never holds much of the
// images, and that the cores finish together.
const pieceSize = 1 << 20

// pieceRuns is how many separate ranges a piece may consist of: as many as one
// process_vm_writev takes.
const pieceRuns = 512

// piece is the work that one core does at a time: stretches that are written in
// one way and follow one another in one pages image.
type piece struct {
	to    sink
	from  *pagesImage
	twins *pagesImage // Where the parent's pages are, for how compare.
	how   way
	parts []stretch
	size  uint64
}

// sink is what contents are written into: a process, or a shared object.
type sink interface {
	// put writes the parts of a piece, whose contents b begins with.
	put(p *piece, b []byte) error
}

// Fill writes the contents of mapped processes, and of all shared memory that
// has not been filled yet, by all cores. On an error, ctx's included, the
// processes are to be killed.
func (r *Rebuild) Fill(ctx context.Context, pids ...int) error {
	var all []piece
	for _, pid := range pids {
		pieces, err := r.piecesOf(pid)
		if err != nil {
			return fmt.Errorf("fill the memory of process %d: %w", pid, err)
		}
		all = append(all, pieces...)
	}
	objects, err := r.unfilled()
	if err != nil {
		return err
	}
	all = append(all, objects...)
	if err := copyAll(ctx, all); err != nil {
		return err
	}
	for _, pid := range pids {
		b := r.built[pid]
		b.work = nil
		if err := b.faults.close(); err != nil {
			return fmt.Errorf("fill the memory of process %d: %w", pid, err)
		}
		b.faults = nil
	}
	for _, o := range r.objects {
		o.filled = true
	}
	return nil
}

// copyAll works pieces off by all cores.
func copyAll(ctx context.Context, all []piece) error {
	work, ctx := errgroup.WithContext(ctx)
	queue := make(chan *piece, len(all))
	for i := range all {
		queue <- &all[i]
	}
	close(queue)
	for range min(runtime.GOMAXPROCS(0), len(all)) {
		work.Go(func() error {
			var scratch scratch
			for p := range queue {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("fill memory: %w", err)
				}
				if err := p.copy(&scratch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return work.Wait()
}

// piecesOf cuts the contents of a process into pieces.
func (r *Rebuild) piecesOf(pid int) ([]piece, error) {
	b := r.built[pid]
	if b == nil {
		return nil, fmt.Errorf("it has not been mapped")
	}
	if len(b.work) == 0 {
		return nil, nil
	}
	from, err := r.pagesFor(b.space)
	if err != nil {
		return nil, err
	}
	base := piece{to: &process{pid: pid, faults: b.faults}, from: from}
	if b.parent != nil {
		if base.twins, err = r.pagesFor(b.parent); err != nil {
			return nil, err
		}
	}
	if err := b.faults.register(b.missing()); err != nil {
		return nil, err
	}
	return cut(base, b.work), nil
}

// missing lists the areas that are filled directly.
func (b *building) missing() []span {
	var out []span
	for _, w := range b.work {
		if n := len(out); w.how == direct && (n == 0 || out[n-1].end <= w.addr) {
			out = append(out, spanOf(b.space.areaAt(w.addr)))
		}
	}
	return out
}

// pagesFor opens the pages image of a process. A process without pages has none.
func (r *Rebuild) pagesFor(sp *space) (*pagesImage, error) {
	if len(sp.runs) == 0 {
		return nil, nil
	}
	last := sp.runs[len(sp.runs)-1]
	return r.images.get(sp.pages, last.off+int64(last.size))
}

// cut makes pieces of stretches.
func cut(base piece, work []stretch) []piece {
	var out []piece
	for _, w := range work {
		for w.size > 0 {
			if n := len(out); n == 0 || !out[n-1].takes(w) {
				p := base
				p.how = w.how
				out = append(out, p)
			}
			p := &out[len(out)-1]
			part := w
			part.size = min(w.size, pieceSize-p.size)
			p.parts = append(p.parts, part)
			p.size += part.size
			w.run = w.part(span{part.end(), w.end()})
			w.twin += int64(part.size)
		}
	}
	return out
}

// takes says whether a stretch can follow in the piece.
func (p *piece) takes(w stretch) bool {
	last := p.parts[len(p.parts)-1]
	return p.how == w.how && p.size < pieceSize && len(p.parts) < pieceRuns && last.off+int64(last.size) == w.off
}

// copy writes one piece.
func (p *piece) copy(s *scratch) error {
	if p.how == compare {
		return p.copyChanged(s)
	}
	b, done, err := p.from.present(p.parts[0].off, int64(p.size))
	if err != nil {
		return err
	}
	defer done()
	return p.to.put(p, b)
}
