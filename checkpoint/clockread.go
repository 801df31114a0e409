// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/proc"
)

// ErrClockRead says that a thread was stopped in the middle of reading a clock: dump
// again. Dump itself does so; [Notify] cannot.
//
// The kernel's vdso computes a clock in user space from two parts: what the host
// has, and the time namespace's offset. A thread that is stopped between the two
// holds one part of the old namespace, and adds the other of the new one after
// the restore: one reading that is wrong, and the next one steps back from it, by
// up to the outage. Observed: 55 to 904 ms, in one of some hundred restores of a
// program that does nothing but read clocks. An engine that drives the threads itself can
// step them out; CRIU cannot, so the tree is let go and stopped again.
var ErrClockRead = errors.New("a thread was stopped in the middle of reading a clock")

// How often a tree is stopped anew to find every thread outside the vdso, and for
// how long. A program that does nothing but read clocks is outside it in one of
// three stops; any other one nearly always.
const (
	mostStops   = 12
	longestTime = clockstate.Nanos(3 * time.Second)
)

// patience counts the stops of one tree. The zero value is that before the first.
type patience struct {
	stops int
	begin clockstate.Nanos // Of the first, on the host's MONOTONIC.
}

// spent counts one more stop and reports whether it is the last: a thread in the middle
// of reading a clock has to be accepted then.
func (p *patience) spent(now clockstate.Nanos) bool {
	if p.stops++; p.stops == 1 {
		p.begin = now
	}
	return p.stops >= mostStops || now-p.begin > longestTime
}

// clockReader returns a thread of a tree that was stopped while it stood in the
// vdso, 0 if there is none. images holds the registers with which the engine
// stopped each thread. Nothing else tells: while an engine is at work a thread's
// own registers may be the engine's.
//
// A thread whose signal handler interrupted the vdso is not seen.
func clockReader(s *proc.Snapshot, images string) (int, error) {
	var vdsos []span
	for _, task := range s.Tasks {
		if task.Zombie {
			continue
		}
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", task.PID))
		if err != nil {
			return 0, err
		}
		if vdso, ok := vdsoRange(maps); ok {
			vdsos = append(vdsos, vdso)
		}
	}
	cores, err := filepath.Glob(filepath.Join(images, "core-*.img"))
	if err != nil {
		return 0, err
	}
	for _, path := range cores {
		pc, err := programCounter(path)
		if err != nil {
			return 0, err
		}
		for _, vdso := range vdsos {
			if vdso.from <= pc && pc < vdso.to {
				// A thread of a tree with a pid namespace of its own is
				// named as it is called there.
				name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "core-"), ".img")
				return strconv.Atoi(name)
			}
		}
	}
	return 0, nil
}

// span is a range of addresses, to not included.
type span struct{ from, to uint64 }

// vdsoRange finds the vdso in the text of /proc/PID/maps.
func vdsoRange(maps []byte) (span, bool) {
	for line := range bytes.Lines(maps) {
		if !bytes.HasSuffix(bytes.TrimSpace(line), []byte("[vdso]")) {
			continue
		}
		addresses, _, _ := bytes.Cut(line, []byte(" "))
		low, high, found := bytes.Cut(addresses, []byte("-"))
		if !found {
			return span{}, false
		}
		from, errFrom := strconv.ParseUint(string(low), 16, 64)
		to, errTo := strconv.ParseUint(string(high), 16, 64)
		return span{from, to}, errFrom == nil && errTo == nil
	}
	return span{}, false
}

// programCounter reads a thread's program counter from its core image; 0 for a
// zombie, which has none.
func programCounter(path string) (uint64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	message, err := coreMessage(data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	var core criucore.CoreEntry
	if err := proto.Unmarshal(message, &core); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return core.GetThreadInfo().GetGpregs().GetIp() + core.GetTiAarch64().GetGpregs().GetPc(), nil
}

// The frame of a core image: two magic numbers and the size of the message that
// follows. go-criu's crit would read it too, and link the types of all images that
// CRIU knows, which each start of crtime would pay for with a millisecond.
const (
	commonMagic = 0x54564319
	coreMagic   = 0x55053847
	frameSize   = 12
)

// coreMessage takes the one message out of a core image.
func coreMessage(image []byte) ([]byte, error) {
	if len(image) < frameSize || binary.LittleEndian.Uint32(image) != commonMagic || binary.LittleEndian.Uint32(image[4:]) != coreMagic {
		return nil, errors.New("it is no core image")
	}
	size, message := binary.LittleEndian.Uint32(image[8:]), image[frameSize:]
	if uint64(size) > uint64(len(message)) {
		return nil, fmt.Errorf("its message of %d bytes is cut after %d", size, len(message))
	}
	return message[:size], nil
}
