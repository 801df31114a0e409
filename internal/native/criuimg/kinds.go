// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	iofs "io/fs"
	"strconv"
	"strings"
	"sync"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
)

// parts is what the files hold before it is put together: files are read in any
// order, and which process a thread belongs to stands in pstree.img alone.
type parts struct {
	set     *Set
	files   iofs.FS // The directory; ghost files find their content there.
	core    table[uint32, *criu_core.CoreEntry]
	ids     table[uint32, *criu_core.TaskKobjIdsEntry]
	mm      table[uint32, *mm.MmEntry]
	fs      table[uint32, *fs.FsEntry]
	pagemap table[uint32, *Pagemap]
	fdinfo  table[uint32, []*fdinfo.FdinfoEntry]
	shmem   table[uint64, *Pagemap]
	ghost   table[uint32, *Ghost]
	timens  table[uint32, *timens.TimensEntry]
}

// newParts returns parts of an empty set.
func newParts(files iofs.FS) *parts { return &parts{set: NewSet(), files: files} }

// table is what the files of one kind hold, by their ids. They are read side by
// side.
type table[K comparable, V any] struct {
	lock sync.Mutex
	all  map[K]V
}

// put adds what a file held, unless reading it failed: the error is passed on.
func (t *table[K, V]) put(id K, v V, err error) error {
	if err != nil {
		return err
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.all == nil {
		t.all = make(map[K]V)
	}
	t.all[id] = v
	return nil
}

// kind is one sort of image file.
type kind struct {
	stem  string // File name without the id and ".img".
	base  int    // Base of the id that follows the stem; 0: there is none.
	bits  int    // Size of the id.
	magic uint32
	read  func(x *parts, id uint64, src *source) error // nil: never read here.
}

// suffix is the end of every image's name.
const suffix = ".img"

// name is the file name of an image; id counts only if the kind has one.
func (k *kind) name(id uint64) string {
	if k.base == 0 {
		return k.stem + suffix
	}
	return k.stem + strconv.FormatUint(id, k.base) + suffix
}

// match reports whether a file is of the kind, and its id. Names must be in the
// very form in which they are written: "core-07.img" is not one.
func (k *kind) match(file string) (id uint64, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(file, suffix), k.stem)
	if !ok {
		return 0, false
	}
	if k.base != 0 {
		var err error
		if id, err = strconv.ParseUint(rest, k.base, k.bits); err != nil {
			return 0, false
		}
	}
	return id, k.name(id) == file
}

// The kinds of image files. The names of the variables are those of the fields
// of Set and Process.
//
//nolint:gochecknoglobals // Constants of a type that cannot be one: nobody writes them.
var (
	kindInventory = kind{stem: "inventory", magic: inventoryMagic, read: readInventory}
	kindTree      = kind{stem: "pstree", magic: pstreeMagic, read: readTree}
	kindCore      = kind{stem: "core-", base: 10, bits: 32, magic: coreMagic, read: readCore}
	kindIDs       = kind{stem: "ids-", base: 10, bits: 32, magic: idsMagic, read: readIDs}
	kindMM        = kind{stem: "mm-", base: 10, bits: 32, magic: mmMagic, read: readMM}
	kindFS        = kind{stem: "fs-", base: 10, bits: 32, magic: fsMagic, read: readFS}
	kindPagemap   = kind{stem: "pagemap-", base: 10, bits: 32, magic: pagemapMagic, read: readPagemap}
	kindShmem     = kind{stem: "pagemap-shmem-", base: 10, bits: 64, magic: pagemapMagic, read: readShmem}
	kindFdinfo    = kind{stem: "fdinfo-", base: 10, bits: 32, magic: fdinfoMagic, read: readFdinfo}
	kindFiles     = kind{stem: "files", magic: filesMagic, read: readFiles}
	kindRemap     = kind{stem: "remap-fpath", magic: remapMagic, read: readRemap}
	kindGhost     = kind{stem: "ghost-file-", base: 16, bits: 32, magic: ghostFileMagic, read: readGhost}
	kindPipeData  = kind{stem: "pipes-data", magic: pipesDataMagic, read: readPipeData}
	kindFIFOData  = kind{stem: "fifo-data", magic: fifoDataMagic, read: readFIFOData}
	kindQueue     = kind{stem: "sk-queues", magic: skQueuesMagic, read: readQueue}
	kindMemfd     = kind{stem: "memfd", magic: memfdMagic, read: readMemfd}
	kindTTYInfo   = kind{stem: "tty-info", magic: ttyInfoMagic, read: readTTYInfo}
	kindTTYData   = kind{stem: "tty-data", magic: ttyDataMagic, read: readTTYData}
	kindFileLock  = kind{stem: "filelocks", magic: fileLocksMagic, read: readFileLock}
	kindSeccomp   = kind{stem: "seccomp", magic: seccompMagic, read: readSeccomp}
	kindCgroup    = kind{stem: "cgroup", magic: cgroupMagic, read: readCgroup}
	kindTimeNS    = kind{stem: "timens-", base: 10, bits: 32, magic: timensMagic, read: readTimeNS}

	// kindPages has no frame.
	kindPages = kind{stem: "pages-", base: 10, bits: 32}
)

// kinds are all of them.
func kinds() []*kind {
	return []*kind{
		&kindInventory, &kindTree, &kindCore, &kindIDs, &kindMM, &kindFS, &kindPagemap, &kindShmem, &kindFdinfo,
		&kindFiles, &kindRemap, &kindGhost, &kindPipeData, &kindFIFOData, &kindQueue, &kindMemfd, &kindTTYInfo,
		&kindTTYData, &kindFileLock, &kindSeccomp, &kindCgroup, &kindTimeNS, &kindPages,
	}
}
