// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/restore"
)

// showOptions are the flags of show.
type showOptions struct {
	restore.PlanOptions
	path  string
	svg   string
	ascii bool
}

// newShowCommand makes `crtime show`.
func newShowCommand(env *environment) *cobra.Command {
	o := &showOptions{}
	cmd := &cobra.Command{
		Use:   "show DIR|ARCHIVE",
		Short: "Show the clocks that a dump recorded, and draw the outage",
		Long: `Show what the clocks of every process and time namespace read when the tree in DIR
was frozen, and draw the time from then until a restore here and now. The images
are checked first; nothing is changed.

ARCHIVE is what 'podman container checkpoint --export' has written, compressed with
zstd or gzip or not at all, or such an archive of CRI-O's or containerd's. It is read once
and not unpacked, every image in it is checked, and the container is shown too.`,
		Example: `  # In the terminal.
  crtime show images

  # As a picture.
  crtime show images --svg outage.svg

  # A container's checkpoint.
  podman container checkpoint --export=web.tar.zst web
  crtime show web.tar.zst`,
		Args:              exactArgs("the image directory or checkpoint archive"),
		ValidArgsFunction: completeRecording,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.path = args[0]
			return runShow(cmd.Context(), env, o)
		},
	}
	policyFlag(cmd, &o.Policy)
	f := cmd.Flags()
	f.StringVar(&o.svg, "svg", "", "write the drawing to this `file` as an SVG picture")
	f.BoolVar(&o.ascii, "ascii", false, "draw with plain ASCII characters")
	return cmd
}

// runShow opens the images and shows what they hold.
func runShow(ctx context.Context, env *environment, o *showOptions) error {
	found, err := openRecording(ctx, o.path)
	if err != nil {
		return err
	}
	// Images can be looked at where they could not be restored: then there is
	// no drawing, and the reason why.
	plan, planErr := restore.PlanState(found.state, o.PlanOptions)
	if planErr != nil && o.svg != "" {
		return fmt.Errorf("draw the outage of %s: %w", o.path, planErr)
	}
	if o.svg != "" {
		if err := writeFileWhole(o.svg, svgOf(newTimeline(plan))); err != nil {
			return err
		}
	}
	return env.result(newShowResult(found, plan, planErr), func() string {
		text := recordingText(found)
		if planErr != nil {
			return text + fmt.Sprintf("\nNo drawing: a restore is not possible here and now: %v.\n", planErr)
		}
		return text + "\n" + newTimeline(plan).draw(env.streams.OutWidth, drawingSet(env.streams.Unicode && !o.ascii))
	})
}

// showResult is what show prints with --json.
type showResult struct {
	Images  string            `json:"images"`
	Bytes   int64             `json:"bytes"`
	Archive *archiveResult    `json:"archive,omitempty"` // Absent for a directory.
	State   *clockstate.State `json:"state"`
	Plan    *planResult       `json:"plan,omitempty"`       // Absent if it failed.
	PlanErr string            `json:"plan_error,omitempty"` // Why.
}

// newShowResult picks what showResult holds.
func newShowResult(from *recording, plan *clockstate.Plan, planErr error) showResult {
	r := showResult{Images: from.path, Bytes: from.bytes, Archive: newArchiveResult(from.archive), State: from.state}
	if planErr != nil {
		r.PlanErr = planErr.Error()
		return r
	}
	p := newPlanResult(from.path, plan)
	r.Plan = &p
	return r
}

// recordingText shows a recording to people.
func recordingText(from *recording) string {
	if from.archive == nil {
		return stateText(from)
	}
	return archiveText(from.path, from.archive) + stateText(from)
}

// stateText shows recorded clocks to people.
func stateText(from *recording) string {
	s := from.state
	var b strings.Builder
	if s.FreezeSource == clockstate.FreezeImported {
		fmt.Fprintf(&b, "%s: %s, dumped by CRIU alone: there are no checksums, and the host is not known\n", from.images, bytesText(from.bytes))
		fmt.Fprintf(&b, "Frozen by %s (%s), by the date of its image\n", wallText(s.Freeze.Realtime), freezeText(s))
	} else {
		fmt.Fprintf(&b, "%s: %s, dumped by crtime %s with engine %s\n", from.images, bytesText(from.bytes), s.ToolVersion, s.Engine)
		fmt.Fprintf(&b, "Host %s, Linux %s, boot %s\n", s.Host.Hostname, s.Host.KernelRelease, s.Host.BootID)
		fmt.Fprintf(&b, "Frozen at %s (%s), wall clock %s\n", wallText(s.Freeze.Realtime), freezeText(s), wallClockText(s.Freeze.WallClock))
	}
	for _, ns := range s.Namespaces {
		fmt.Fprintf(&b, "\nTime namespace %d, offsets: CLOCK_MONOTONIC %s, CLOCK_BOOTTIME %s\n",
			ns.ID, signed(ns.Offsets.Monotonic), signed(ns.Offsets.Boottime))
		if rows := processRows(s, ns.ID); len(rows) > 1 {
			b.WriteString(table(rows))
		} else {
			b.WriteString("No process lives in it; it was made for future children.\n")
		}
	}
	return b.String()
}

// processRows are the lines of the table of one namespace.
func processRows(s *clockstate.State, id uint64) [][]string {
	rows := [][]string{{"PID", "NAME", "THREADS", "MONOTONIC", "RAW", "COARSE", "BOOTTIME", "CPU"}}
	for _, p := range s.Processes {
		if p.Namespace != id {
			continue
		}
		raw, coarse := difference(p.Readings.MonotonicRaw-p.Readings.Monotonic), difference(p.Readings.MonotonicCoarse-p.Readings.Monotonic)
		cpu := roundTime(p.CPU.User + p.CPU.System)
		if s.FreezeSource == clockstate.FreezeImported {
			raw, coarse, cpu = notRecorded, "at most the same", notRecorded
		}
		rows = append(rows, []string{
			pidText(p), commText(p.Comm), strconv.Itoa(int(p.Threads)),
			daysText(p.Readings.Monotonic), raw, coarse, daysText(p.Readings.Boottime), cpu,
		})
	}
	return rows
}

// difference is how far a clock is from CLOCK_MONOTONIC, for people.
func difference(n clockstate.Nanos) string {
	if n == 0 {
		return "the same"
	}
	return signed(n)
}

// pidText is a process's number, and the one that it has for itself if that
// differs.
func pidText(p clockstate.Process) string {
	if p.PID == p.OuterPID {
		return strconv.Itoa(int(p.PID))
	}
	if p.OuterPID >= clockstate.PIDLimit {
		return fmt.Sprintf("%d inside", p.PID)
	}
	return fmt.Sprintf("%d (%d inside)", p.OuterPID, p.PID)
}

// freezeText says how the moment of the freeze is known.
func freezeText(s *clockstate.State) string {
	switch s.FreezeSource {
	case clockstate.FreezeWatched:
		if s.FreezeWindow > 0 {
			return "seen as it happened, to within " + roundTime(s.FreezeWindow)
		}
		return "seen as it happened"
	case clockstate.FreezeConfirmed:
		return "read when the dump was complete: later than the freeze"
	case clockstate.FreezeImported:
		if s.FreezeWindow > 0 {
			return "as CRIU recorded it, up to " + roundTime(s.FreezeWindow) + " after the freeze"
		}
		return "as CRIU recorded it, some time after the freeze"
	default:
		return s.FreezeSource.String()
	}
}

// wallClockText says how far a wall clock can be trusted.
func wallClockText(w clockstate.WallClock) string {
	switch {
	case !w.Known:
		return "of unknown quality"
	case !w.Synchronised:
		return "not synchronised"
	default:
		return "synchronised to within " + roundTime(w.MaxError)
	}
}

// writeFileWhole writes a file so that it never appears half.
func writeFileWhole(path, text string) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = temp.WriteString(text)
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(temp.Name())))
	}
	return nil
}
