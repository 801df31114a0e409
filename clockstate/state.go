// SPDX-License-Identifier: Apache-2.0

package clockstate

import "fmt"

// Version numbers the format of a clock image. A reader refuses a newer Major
// and reads any Minor, without the fields that it does not know.
type Version struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
}

// CurrentFormat is the version that [Encode] writes.
func CurrentFormat() Version { return Version{Major: 1, Minor: 0} }

// Host identifies the machine and the boot on which a state was recorded.
type Host struct {
	BootID        string `json:"boot_id"`
	Hostname      string `json:"hostname"`
	KernelRelease string `json:"kernel_release"`
}

// FreezeSource says how the moment of the freeze is known.
type FreezeSource uint8

// The sources of a freeze reading. There is no default: a state says which.
const (
	// FreezeWatched: two agreeing scans saw every thread stopped while the
	// engine was still at work, and the clocks were read at once.
	FreezeWatched FreezeSource = iota + 1
	// FreezeConfirmed: the clocks were read only when the engine reported that
	// all was stopped. That is later than the freeze, by at most the state's
	// FreezeWindow, and MONOTONIC jumps forward by that much.
	FreezeConfirmed
	// FreezeImported: taken from the time image of a CRIU dump, which holds
	// MONOTONIC and BOOTTIME of the tree's own namespace only, read some time
	// after the freeze. The one namespace of the state has no offsets: the host's
	// clocks are not known, and those of the namespace stand for them. COARSE is
	// MONOTONIC, which it cannot have exceeded; RAW is 0, and not promised.
	// REALTIME is the date of the image file, which bounds nothing. The boot and
	// TAI are not known.
	FreezeImported
	// FreezeStopped: the engine stopped every thread itself, and the clocks were
	// read right after the last one.
	FreezeStopped
)

func freezeSourceNames() []string { return []string{"", "watched", "confirmed", "imported", "stopped"} }

// String returns a word such as "watched".
func (f FreezeSource) String() string {
	if f == 0 {
		return "FreezeSource(0)"
	}
	return nameOf("FreezeSource", freezeSourceNames(), int(f))
}

// MarshalText writes the name, "" for the zero value, and fails for any number
// that has none.
func (f FreezeSource) MarshalText() ([]byte, error) {
	return marshalName("freeze source", freezeSourceNames(), int(f))
}

// UnmarshalText reads what MarshalText wrote.
func (f *FreezeSource) UnmarshalText(text []byte) error {
	source, err := parseName[FreezeSource]("freeze source", freezeSourceNames(), string(text))
	if err != nil {
		return err
	}
	*f = source
	return nil
}

// CPUTime is what a process has used of a processor, all its threads together.
// No kernel interface can set it: it is recorded and reported, not promised.
type CPUTime struct {
	User   Nanos `json:"user_ns"`
	System Nanos `json:"system_ns"`
}

// PIDLimit is above the number of any process (the kernel's PID_MAX_LIMIT).
const PIDLimit = 1 << 22

// Process is one process of the tree as it was at the freeze.
type Process struct {
	// PID is the number that the process has for itself, in its innermost pid
	// namespace.
	PID int32 `json:"pid"`
	// OuterPID is its number as the dumping crtime saw it. It is unique in a
	// state. From [PIDLimit] on it is made up: nobody knows the number.
	OuterPID int32 `json:"outer_pid"`
	// ParentPID is its parent's OuterPID; the root's is outside the tree.
	ParentPID int32 `json:"parent_pid"`
	// Comm is the kernel's name of the process. It can hold any bytes.
	Comm string `json:"comm"`
	// StartTime is the start of the process after boot in clock ticks, as the
	// initial time namespace shows it.
	StartTime uint64 `json:"start_time_ticks"`
	// Namespace is the inode number of its time namespace.
	Namespace uint64 `json:"namespace"`
	// NamespaceForChildren is the one that its children are born into.
	NamespaceForChildren uint64 `json:"namespace_for_children"`
	// Readings is what the process read on its clocks at the freeze: the host's
	// shifted by its Namespace's offsets.
	Readings Readings `json:"readings"`
	CPU      CPUTime  `json:"cpu"`
	// Threads counts its threads, the first included.
	Threads int32 `json:"threads"`
}

// Namespace is a time namespace that some process of the tree lives in, or has
// chosen for its children. The initial one counts like any other.
type Namespace struct {
	// ID is the inode number. It identifies the namespace in this state only.
	ID uint64 `json:"id"`
	// Offsets are relative to the initial time namespace.
	Offsets Offsets `json:"offsets"`
}

// State is everything that a restore needs to know of a tree's clocks.
type State struct {
	// Format is the version of the image that the state was decoded from; zero
	// for one that was not.
	Format Version `json:"format"`
	// ToolVersion is the version of the crtime that recorded it.
	ToolVersion string `json:"tool_version"`
	Host        Host   `json:"host"`
	// Freeze is the host's clocks, read at or after the freeze instant.
	Freeze       HostReading  `json:"freeze"`
	FreezeSource FreezeSource `json:"freeze_source"`
	// FreezeWindow is how much later than the freeze instant the reading can
	// be; 0 is unknown.
	FreezeWindow Nanos `json:"freeze_window_ns"`
	// RootPID is the OuterPID of the tree's root.
	RootPID    int32       `json:"root_pid"`
	Namespaces []Namespace `json:"namespaces"`
	Processes  []Process   `json:"processes"`
	// Engine is who collected the tree, such as "criu".
	Engine string `json:"engine"`
}

// Root returns the record of the tree's root, or an ErrInvalid.
func (s *State) Root() (*Process, error) {
	for i := range s.Processes {
		if p := &s.Processes[i]; p.OuterPID == s.RootPID {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%w: the clock image does not know the tree's root %d", ErrInvalid, s.RootPID)
}

// Recorded reports whether the state says what clock c read at the freeze, or the
// most that it can have read. Nothing is promised for a clock that it does not know.
func (s *State) Recorded(c Clock) bool {
	switch c {
	case MonotonicRaw, TAI:
		return s.FreezeSource != FreezeImported
	case Realtime:
		return s.Freeze.Realtime != 0
	case Monotonic, MonotonicCoarse, Boottime, BoottimeAlarm:
		return true
	default:
		return false
	}
}

// MeasuredLater returns how long after the freeze CRIU measured what was left of timers,
// at the most: it read the root's MONOTONIC after that, as monotonic. Counted from there
// timers are late rather than early. 0: that reading is not of this dump.
func (s *State) MeasuredLater(monotonic Nanos) Nanos {
	const longest = 60 * nanosPerSecond
	root, err := s.Root()
	if err != nil {
		return 0
	}
	if later := satSub(monotonic, root.Readings.Monotonic); later > 0 && later <= longest {
		return later
	}
	return 0
}

// Unshared returns the namespaces that a process has made for its children and does
// not live in itself, each with that process's OuterPID. A namespace can be chosen
// for one's children only by making it (unshare), so there is one such process; in
// a state that says otherwise it is the first.
func (s *State) Unshared() map[uint64]int32 {
	makers := map[uint64]int32{}
	for _, p := range s.Processes {
		if _, known := makers[p.NamespaceForChildren]; !known && p.NamespaceForChildren != p.Namespace {
			makers[p.NamespaceForChildren] = p.OuterPID
		}
	}
	return makers
}
