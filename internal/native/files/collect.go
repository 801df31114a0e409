// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fs"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
)

// ErrObstacle says that something is open that cannot be saved. Survey names it
// beforehand, unless it was opened in the meantime.
var ErrObstacle = errors.New("open file cannot be saved")

// Target is a process whose threads are all stopped.
type Target struct {
	PID    int
	Remote *remote.Runner
}

// Collection is the open files of a stopped tree. It holds duplicates of them
// until Close, which must come after criuimg.Set.Write: deleted files are
// written from them.
type Collection struct {
	set    *criuimg.Set
	tree   *tree
	notes  notebook
	remote map[int]*remote.Runner // By pid.
	dups   duplicates
	same   descriptions
	lastID uint32

	interned map[regularKey]uint32 // Entries that stand for no descriptor.
	ghosts   ghostTable
	locks    lockTable
}

// Collect saves what the stopped processes have open into the set: files.img,
// the descriptors and directories of each process that the set has, and what
// belongs to these. On an error the set is of no use.
func Collect(targets []Target, s *criuimg.Set, l Limits) (*Collection, error) {
	pids := make([]int, len(targets))
	c := &Collection{
		set:      s,
		notes:    notebook{},
		remote:   make(map[int]*remote.Runner, len(targets)),
		same:     descriptions{},
		interned: map[regularKey]uint32{},
	}
	for i, target := range targets {
		pids[i] = target.PID
		c.remote[target.PID] = target.Remote
	}
	c.tree = newTree(pids, l)
	if err := c.all(); err != nil {
		return nil, errors.Join(err, c.Abandon())
	}
	return c, nil
}

// Close gives the duplicates back.
func (c *Collection) Close() error {
	for _, f := range c.ghosts.opened {
		f.Close()
	}
	c.ghosts.opened = nil
	noteOf[memfds](c.notes).close()
	return c.dups.Close()
}

// all collects every process, in the steps that the kinds expect.
func (c *Collection) all() error {
	if err := c.describe(); err != nil {
		return err
	}
	own := map[kind][]*descriptor{}
	for _, pid := range c.tree.pids {
		for _, d := range c.tree.described[pid] {
			if d.fd >= 0 {
				own[kindOf(d)] = append(own[kindOf(d)], d)
			}
		}
	}
	for _, k := range kinds {
		if p, ok := k.(preparer); ok && len(own[k]) > 0 {
			p.prepare(c, own[k])
		}
	}
	for _, pid := range c.tree.pids {
		if err := c.process(pid, c.tree.described[pid]); err != nil {
			return err
		}
	}
	for _, k := range kinds {
		if f, ok := k.(finisher); ok {
			if err := f.finish(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe looks at the processes and refuses what cannot be saved.
func (c *Collection) describe() error {
	for i, err := range c.tree.describe() {
		if err != nil {
			return err
		}
		pid := c.tree.pids[i]
		for _, d := range c.tree.described[pid] {
			if why := d.obstacle(); why != "" {
				return fmt.Errorf("process %d (%s): %s: %w: %s", pid, comm(pid), d.what(), ErrObstacle, why)
			}
		}
		shared, err := c.tree.sharing(pid)
		if err != nil {
			return err
		}
		shared = append(shared, c.tree.lostTerminal(pid)...)
		if len(shared) > 0 {
			return fmt.Errorf("%s: %w", shared[0], ErrObstacle)
		}
	}
	return nil
}

// process collects the descriptors and directories of one process.
func (c *Collection) process(pid int, ds []*descriptor) error {
	p := c.set.Process[uint32(pid)]
	if p == nil {
		return fmt.Errorf("collect the files of process %d: the images have no such process", pid)
	}
	for _, d := range ds {
		if d.fd < 0 {
			continue
		}
		e, err := c.descriptor(d)
		if err != nil {
			return err
		}
		p.Fdinfo = append(p.Fdinfo, e)
	}
	return c.directories(pid, ds, p)
}

// directories saves a process's working and root directory. The umask is not
// touched: it belongs to the rest of the process's state.
func (c *Collection) directories(pid int, ds []*descriptor, p *criuimg.Process) error {
	if p.FS == nil {
		p.FS = &fs.FsEntry{}
	}
	for _, d := range ds {
		var into **uint32
		switch {
		case d.fd >= 0:
			continue
		case strings.HasSuffix(d.path, "/cwd"):
			into = &p.FS.CwdId
		case strings.HasSuffix(d.path, "/root"):
			into = &p.FS.RootId
		default:
			continue // The program, which belongs to the memory.
		}
		id, err := c.intern(d, directoryFlags)
		if err != nil {
			return err
		}
		*into = &id
	}
	if p.FS.CwdId == nil || p.FS.RootId == nil {
		return fmt.Errorf("the directories of process %d cannot be looked at: %w", pid, unix.ESRCH)
	}
	return nil
}

// descriptor saves one descriptor, and the file behind it unless an earlier one
// has it already.
func (c *Collection) descriptor(d *descriptor) (*fdinfo.FdinfoEntry, error) {
	k := kindOf(d)
	known, place, err := c.same.find(d)
	if err != nil {
		return nil, err
	}
	if known == nil {
		id := c.newID()
		e, err := k.collect(c, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d, err)
		}
		c.add(e, id)
		known = &description{id: id, kind: e.GetType(), pid: d.pid, fd: d.fd}
		c.same.insert(place, known)
	}
	if err := c.locks.note(c, d, known.id); err != nil {
		return nil, err
	}
	var flags uint32
	if d.info.cloexec() {
		flags = fdCloexec
	}
	return &fdinfo.FdinfoEntry{
		Id: proto.Uint32(known.id), Type: known.kind.Enum(),
		Fd: proto.Uint32(uint32(d.fd)), Flags: proto.Uint32(flags),
	}, nil
}

// fdCloexec is FD_CLOEXEC.
const fdCloexec = 1

// newID hands out the next file id. 0 stands for none.
func (c *Collection) newID() uint32 {
	c.lastID++
	return c.lastID
}

// add puts an entry into files.img under an id that newID gave.
func (c *Collection) add(e *fdinfo.FileEntry, id uint32) {
	setID(e, id)
	c.set.Files = append(c.set.Files, e)
}

// file returns crtime's own duplicate of an open file: the same description,
// with its position and locks. It stays open until Collection.Close; the caller
// does not close it.
func (c *Collection) file(d *descriptor) (int, error) { return c.dups.get(d.pid, d.fd) }
