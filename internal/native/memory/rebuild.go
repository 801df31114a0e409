// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
)

// Opener opens files of files.img.
type Opener interface {
	// Open returns a descriptor of crtime's own for a file, opened with the
	// given flags of open(2). It stays the opener's.
	Open(id, flags uint32) (int, error)
}

// Rebuild rebuilds the memory of the processes of one set of images. Its methods
// are called on the tracer's thread, for each process in this order:
//
//	Map     every mapping, writable where contents belong
//	Fill    the contents, by all cores; several processes at once if they like
//	        Now its children may be forked from it, then mapped and filled.
//	Finish  protections, advices, locks, guard pages, the vdso, what
//	        prctl(PR_SET_MM) sets. Not before all its children are forked.
//
// A child that is forked from its filled parent keeps what both have, so that
// pages which were shared copy-on-write are so again.
type Rebuild struct {
	opener  Opener
	images  *images
	spaces  map[int]*space
	built   map[int]*building
	objects []*object
	shared  map[uint64]*os.File // Objects of anonymous mappings, by number.
	host    *hostVDSO
}

// building is what has been made of a process so far.
type building struct {
	space  *space
	parent *space                   // Whose copy it began as; nil: nobody's.
	prot   map[*vma.VmaEntry]uint32 // What each area is mapped with.
	work   []stretch                // Contents that Fill has still to write.
	faults *faults                  // Means to put pages into fresh memory; nil: there is none.
	vdso   uint64                   // Where this kernel's is; 0: nowhere.
}

// NewRebuild reads what the images say about memory; dir is the image directory
// and stays the caller's. Nothing is made yet. The caller closes the result when
// every process is finished, or given up.
func NewRebuild(s *criuimg.Set, dir *os.File, o Opener) (*Rebuild, error) {
	spaces, err := spacesOf(s)
	if err != nil {
		return nil, err
	}
	objects, err := sharedOf(s, spaces)
	if err != nil {
		return nil, err
	}
	host, err := readHostVDSO()
	if err != nil {
		return nil, err
	}
	r := &Rebuild{
		opener:  o,
		images:  &images{dir: dir, open: make(map[uint32]*pagesImage)},
		spaces:  make(map[int]*space, len(spaces)),
		built:   make(map[int]*building, len(spaces)),
		objects: objects,
		shared:  make(map[uint64]*os.File),
		host:    host,
	}
	for _, sp := range spaces {
		r.spaces[sp.pid] = sp
	}
	return r, nil
}

// Close lets go of the images and of what is left of unfinished work. The
// processes keep their memory.
func (r *Rebuild) Close() error {
	var errs []error
	for _, b := range r.built {
		errs = append(errs, b.faults.close())
	}
	for _, f := range r.shared {
		errs = append(errs, f.Close())
	}
	errs = append(errs, r.images.close())
	return errors.Join(errs...)
}

// Map makes every mapping of a process, which consists of a stub. If the stub
// was forked from that of parent, parent has been filled and what both have
// alike is kept; otherwise parent is 0 and the stub has nothing mapped.
func (r *Rebuild) Map(pid int, stub *remote.Stub, parent int) error {
	return r.mapAll(pid, stub, parent)
}

func (r *Rebuild) mapAll(pid int, in runner, parent int) error {
	sp := r.spaces[pid]
	if sp == nil {
		return fmt.Errorf("map the memory of process %d: it has none in the images: %w", pid, ErrImages)
	}
	var up *building
	if parent != 0 {
		if up = r.built[parent]; up == nil || up.work != nil {
			return fmt.Errorf("map the memory of process %d: its parent %d has not been filled", pid, parent)
		}
	}
	p := planMap(sp, up)
	t := &table{batches: p.calls.batches}
	if err := r.addNew(t, p.fresh, p.prot); err != nil {
		return fmt.Errorf("map the memory of process %d: %w", pid, err)
	}
	// One page that is written must not become two megabytes, where the machine
	// makes huge pages without being asked. Finish sets what is recorded.
	t.add(remote.Call{Name: "prctl(PR_SET_THP_DISABLE)", Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_SET_THP_DISABLE, 1}})
	if err := t.run(in); err != nil {
		return fmt.Errorf("map the memory of process %d: %w", pid, err)
	}
	if err := p.deepen(pid); err != nil {
		return fmt.Errorf("map the memory of process %d: %w", pid, err)
	}
	b := &building{space: sp, prot: p.prot, work: p.work}
	if up != nil {
		b.parent = up.space
	}
	r.built[pid] = b
	if !p.fill(direct) {
		return nil
	}
	var err error
	if b.faults, err = openFaults(pid, in); err != nil {
		return fmt.Errorf("fill the memory of process %d: %w", pid, err)
	}
	return nil
}

// addNew adds the calls that map fresh areas: first all without a file, then
// file by file, so that each is taken over once.
func (r *Rebuild) addNew(t *table, fresh []*vma.VmaEntry, prot map[*vma.VmaEntry]uint32) error {
	var order []source
	files := make(map[source][]*vma.VmaEntry)
	for _, e := range fresh {
		if anonymous(e) {
			t.add(mapCall(e, prot[e], -1))
			continue
		}
		from := sourceOf(e)
		if files[from] == nil {
			order = append(order, from)
		}
		files[from] = append(files[from], e)
	}
	for _, from := range order {
		fd, err := r.open(from)
		if err != nil {
			return fmt.Errorf("mapping %s: %w", spanOf(files[from][0]), err)
		}
		addFile(t, files[from], prot, fd)
	}
	return nil
}

// addFile adds the mappings of one file, as few groups as tables allow.
func addFile(t *table, areas []*vma.VmaEntry, prot map[*vma.VmaEntry]uint32, fd int) {
	for len(areas) > 0 {
		n := min(len(areas), tableSize/2)
		group := fetch(os.Getpid(), fd, "a mapped file")
		for _, e := range areas[:n] {
			c := mapCall(e, prot[e], 0)
			c.From[4] = 2
			group = append(group, c)
		}
		t.add(append(group, release()...)...)
		areas = areas[n:]
	}
}
