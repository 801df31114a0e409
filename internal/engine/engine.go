// SPDX-License-Identifier: Apache-2.0

// Package engine is the seam between the order of things and whoever does them.
//
// Packages checkpoint and restore own the order: freeze, record, collect,
// write; read, plan, build, gate, release. An engine stops a tree, collects its
// state and rebuilds it. The two sides meet in this package alone: an engine
// implements Dumper and Restorer, and calls back through the hooks at the
// moments on which the clocks depend. That is why a hook is named after the
// moment, not after what is done in it.
package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/timens"
)

// ErrUnsupported says that an engine cannot represent what a tree consists of.
// Nothing has been touched.
var ErrUnsupported = errors.New("the engine cannot do this")

// ErrUnsavable is an ErrUnsupported that no other engine can do either: CRIU would
// report success, and lose it.
var ErrUnsavable = fmt.Errorf("%w, nor can CRIU, which would lose it without a word (--engine criu lets it)", ErrUnsupported)

// CRIU is the name of the engine that is CRIU, as users give it and as the clock image
// has it, also for dumps that somebody else has asked CRIU for.
const CRIU = "criu"

// Options are what a user may ask of a dump and a restore of the same tree.
// Names follow CRIU's command line. The zero value is the plainest case.
type Options struct {
	TCPEstablished bool          // Save and rebuild established TCP connections.
	TCPClose       bool          // Restore established TCP connections as closed.
	ShellJob       bool          // The tree has a terminal of the session outside it.
	ExtUnixSk      bool          // Allow UNIX sockets whose peer is outside the tree.
	FileLocks      bool          // Save and rebuild file locks.
	LinkRemap      bool          // Allow links to be made for deleted files.
	GhostLimit     uint32        // Largest deleted file that is saved, in bytes; 0: the engine's default.
	ManageCgroups  string        // "", "ignore", "none", "props", "soft", "full" or "strict".
	External       []string      // Objects that live outside the tree, in CRIU's notation.
	Root           string        // Root file system of the tree, for a tree with a mount namespace.
	Timeout        time.Duration // Longest time to freeze the tree; 0: the engine's default. Rounded up to seconds.
	WorkDir        string        // Where the engine's log goes; "": beside the images.
	LogFile        string        // Name of the log file; "": the engine's own.
	Verbosity      int           // The engine's log level, 0 to 4; 0: 2.
	// TrustImages restores images that somebody other than root and the caller
	// can write, or that are below a folder which such a one can write, and lets
	// processes become more than the owner of the images is: whoever makes images
	// decides what the processes are and may do.
	TrustImages bool
	// Notify is told of the moments of a dump or restore under the names that CRIU has
	// for them, such as "pre-dump" and "post-restore"; pid is the root's where CRIU tells
	// it, or 0. The tree waits meanwhile. An error ends the dump or restore, which is
	// undone, but for the last two moments of a restore, when it is too late. Nil:
	// nobody is told.
	Notify func(script string, pid int) error
}

// Tell calls Notify if there is one.
func (o *Options) Tell(script string, pid int) error {
	if o.Notify == nil {
		return nil
	}
	if err := o.Notify(script, pid); err != nil {
		return fmt.Errorf("tell of %s: %w", script, err)
	}
	return nil
}

// DumpRequest says what to dump and where to.
type DumpRequest struct {
	Options

	PID          int            // Root of the tree, in the caller's pid namespace.
	Images       *image.Staging // Directory to write into. Stays the caller's.
	LeaveRunning bool           // Let the tree run on afterwards.
	TrackMem     bool           // Start (or go on) tracking which memory changes.
	Parent       string         // Earlier dump's directory, relative to Images; "": none.
}

// DumpHooks are the moments of a dump. An error from any of them ends the dump,
// and the engine lets the tree run on as it was.
type DumpHooks struct {
	// Freezing is called when an engine that cannot call Frozen is about to
	// stop the tree, and has told of "pre-dump".
	Freezing func() error
	// ReadClocks reads the host's clocks at once. It is for an engine that stops the
	// tree itself: the last reading after the last thread has stopped counts.
	ReadClocks func() (clockstate.HostReading, error)
	// Frozen is called by such an engine with that reading, when it has seen to it that
	// no thread stands in the middle of reading a clock. From the reading until Collected
	// has returned no thread runs.
	Frozen func(clockstate.HostReading) error
	// Collected is called when everything has been written and every thread is
	// still stopped. When it returns nil the tree is killed, or let go.
	Collected func() error
}

// Dumper saves process trees.
type Dumper interface {
	// Name is the engine's name as users give it to --engine.
	Name() string
	// Dump saves a tree. On an error the tree runs on as it was.
	Dump(ctx context.Context, req DumpRequest, hooks DumpHooks) error
	// PreDump saves memory alone and lets the tree run on.
	PreDump(ctx context.Context, req DumpRequest) error
}

// RestoreRequest says what to restore and into which time namespaces.
type RestoreRequest struct {
	Options

	// Images are checked, but for those of a plain CRIU, which have no manifest. The
	// directory is never changed.
	Images *image.Images
	State  *clockstate.State // The clocks that were recorded with them.
	// Namespaces are the tree's new time namespaces, by the IDs of those that they
	// stand for in State. Those in State.Unshared are missing: the process that had
	// made one makes it again.
	Namespaces map[uint64]*timens.Holder
	// RootPID is the number that the tree's root will have in the caller's pid
	// namespace; 0: not known, because it comes back in one of its own.
	RootPID int
	// Sibling makes the root a child of the calling process's parent.
	Sibling bool
}

// RestoreHooks are the moments of a restore. An error from any of them ends the
// restore, and the engine removes what it has built.
type RestoreHooks struct {
	// FixClocks is called once, at the last moment at which the namespaces'
	// offsets can still be written. lead is how long the engine expects to need
	// from now until it can release the tree. The plan says which offsets were
	// written, and which ones those of State.Unshared are to get.
	FixClocks func(lead clockstate.Nanos) (*clockstate.Plan, error)
	// Built is called when the tree is complete and stopped. tail is how long
	// the engine expects to need from the hook's return until Release.
	Built func(pid int, tail clockstate.Nanos) error
	// Release is called when nothing is left to do but to let every thread go.
	// It cannot refuse any more. The tree runs from its return on.
	Release func()
}

// Restored says what came back.
type Restored struct {
	PID int // Root of the tree, in the caller's pid namespace.
}

// Restorer rebuilds process trees.
type Restorer interface {
	// Name is the engine's name as users give it to --engine.
	Name() string
	// Restore rebuilds a tree. On an error nothing of it is left. The root
	// becomes a child of the calling process, or else a sibling.
	Restore(ctx context.Context, req RestoreRequest, hooks RestoreHooks) (Restored, error)
}

// Obstacle is something in a running tree that an engine cannot represent.
type Obstacle struct {
	PID  int    // Process that holds it.
	Comm string // Its name.
	What string // The object, such as "TCP socket (descriptor 3)".
	Why  string // Why not, and what the user can do.
}

// String says it in one sentence.
func (o Obstacle) String() string {
	return fmt.Sprintf("process %d (%s) has a %s: %s", o.PID, o.Comm, o.What, o.Why)
}
