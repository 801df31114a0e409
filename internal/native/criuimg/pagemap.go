// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"math"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The flags of a pagemap entry, from CRIU's pagemap.h.
const (
	PageInParent = 1 << 0 // The pages are in the images of the parent dump.
	PageLazy     = 1 << 1 // The pages may be fetched late.
	PagePresent  = 1 << 2 // The pages are in the pages image.
)

// Pages returns how many pages lie in the pages image.
func (p *Pagemap) Pages() uint64 {
	var n uint64
	for _, e := range p.Entries {
		if e.GetFlags()&PagePresent != 0 {
			n += uint64(e.GetNrPages())
		}
	}
	return n
}

// Add appends a range of pages that lie in the pages image. start is an address
// (or offset in a segment) behind all earlier ranges; a range that continues
// the last one is joined to it.
func (p *Pagemap) Add(start uint64, pages uint32) {
	if n := len(p.Entries); n > 0 {
		last := p.Entries[n-1]
		sum := uint64(last.GetNrPages()) + uint64(pages)
		if pageRange(last).end == start && last.GetFlags() == PagePresent && sum <= math.MaxUint32 {
			last.NrPages = proto.Uint32(uint32(sum))
			return
		}
	}
	p.Entries = append(p.Entries, &pagemap.PagemapEntry{
		Vaddr:   proto.Uint64(start),
		NrPages: proto.Uint32(pages),
		Flags:   proto.Uint32(PagePresent),
	})
}

// minPagemapEntry is the least size of an entry in the file: its own size, and
// two fields of two bytes at least.
const minPagemapEntry = 8

// nrPagesField is the field of PagemapEntry in which CRIU 4.2 keeps the number
// of pages, as 64 bits. It writes 0 into the one of 32 bits, which is the only
// one that go-criu v7.2 and older releases of CRIU know.
const nrPagesField protowire.Number = 5

// normalise brings an entry into the one form that this package writes and that
// every release of CRIU reads: the number of pages in NrPages, and Flags in
// place of InParent. No entry is lost by that: 2^32 pages are 16 TiB.
func normalise(src *source, e *pagemap.PagemapEntry) error {
	unknown := e.ProtoReflect().GetUnknown()
	var kept []byte
	for len(unknown) > 0 {
		num, typ, n := protowire.ConsumeField(unknown)
		if n < 0 {
			return src.wrong("%w", protowire.ParseError(n))
		}
		if num == nrPagesField && typ == protowire.VarintType {
			_, _, tag := protowire.ConsumeTag(unknown)
			pages, _ := protowire.ConsumeVarint(unknown[tag:])
			if pages > math.MaxUint32 {
				return src.wrong("%d pages in one range", pages)
			}
			e.NrPages = proto.Uint32(uint32(pages))
		} else {
			kept = append(kept, unknown[:n]...)
		}
		unknown = unknown[n:]
	}
	e.ProtoReflect().SetUnknown(kept)
	switch {
	case e.GetInParent():
		e.Flags = proto.Uint32(e.GetFlags() | PageInParent)
	case e.Flags == nil:
		e.Flags = proto.Uint32(PagePresent)
	}
	e.InParent = nil
	return nil
}
