// SPDX-License-Identifier: Apache-2.0

package clockstate

import crtimev1 "github.com/crtime/crtime/proto/crtime/v1"

// This file turns a state into its message and back, field by field. It checks
// nothing: Encode validates before and Decode after. A message that was left
// out reads as one of zeros, as protobuf's accessors have it.

func toWire(s *State) *crtimev1.ClockState {
	current := CurrentFormat()
	out := &crtimev1.ClockState{
		Format:      &crtimev1.Format{Major: current.Major, Minor: current.Minor},
		ToolVersion: s.ToolVersion,
		Host: &crtimev1.Host{
			BootId:        s.Host.BootID,
			Hostname:      []byte(s.Host.Hostname),
			KernelRelease: s.Host.KernelRelease,
		},
		Freeze:         hostReadingToWire(s.Freeze),
		FreezeSource:   crtimev1.FreezeSource(s.FreezeSource),
		FreezeWindowNs: int64(s.FreezeWindow),
		RootPid:        s.RootPID,
		Engine:         s.Engine,
	}
	for _, ns := range s.Namespaces {
		out.Namespaces = append(out.Namespaces, &crtimev1.Namespace{
			Id:                ns.ID,
			MonotonicOffsetNs: int64(ns.Offsets.Monotonic),
			BoottimeOffsetNs:  int64(ns.Offsets.Boottime),
		})
	}
	for i := range s.Processes {
		out.Processes = append(out.Processes, processToWire(&s.Processes[i]))
	}
	return out
}

func fromWire(w *crtimev1.ClockState) *State {
	out := &State{
		Format:      Version{Major: w.GetFormat().GetMajor(), Minor: w.GetFormat().GetMinor()},
		ToolVersion: w.GetToolVersion(),
		Host: Host{
			BootID:        w.GetHost().GetBootId(),
			Hostname:      string(w.GetHost().GetHostname()),
			KernelRelease: w.GetHost().GetKernelRelease(),
		},
		Freeze:       hostReadingFromWire(w.GetFreeze()),
		FreezeSource: freezeSourceFromWire(w.GetFreezeSource()),
		FreezeWindow: Nanos(w.GetFreezeWindowNs()),
		RootPID:      w.GetRootPid(),
		Engine:       w.GetEngine(),
	}
	// The image holds the boot id once.
	out.Freeze.BootID = out.Host.BootID
	for _, ns := range w.GetNamespaces() {
		out.Namespaces = append(out.Namespaces, Namespace{
			ID: ns.GetId(),
			Offsets: Offsets{
				Monotonic: Nanos(ns.GetMonotonicOffsetNs()),
				Boottime:  Nanos(ns.GetBoottimeOffsetNs()),
			},
		})
	}
	for _, p := range w.GetProcesses() {
		out.Processes = append(out.Processes, processFromWire(p))
	}
	return out
}

// freezeSourceFromWire maps numbers that this version does not know to 0, which
// is not valid, rather than to whatever their low bits happen to mean.
func freezeSourceFromWire(f crtimev1.FreezeSource) FreezeSource {
	if f < 0 || f > crtimev1.FreezeSource(FreezeStopped) {
		return 0
	}
	return FreezeSource(f)
}

func processToWire(p *Process) *crtimev1.Process {
	return &crtimev1.Process{
		Pid:                  p.PID,
		OuterPid:             p.OuterPID,
		ParentPid:            p.ParentPID,
		Comm:                 []byte(p.Comm),
		StartTimeTicks:       p.StartTime,
		Namespace:            p.Namespace,
		NamespaceForChildren: p.NamespaceForChildren,
		Readings:             readingsToWire(p.Readings),
		CpuUserNs:            int64(p.CPU.User),
		CpuSystemNs:          int64(p.CPU.System),
		Threads:              p.Threads,
	}
}

func processFromWire(w *crtimev1.Process) Process {
	return Process{
		PID:                  w.GetPid(),
		OuterPID:             w.GetOuterPid(),
		ParentPID:            w.GetParentPid(),
		Comm:                 string(w.GetComm()),
		StartTime:            w.GetStartTimeTicks(),
		Namespace:            w.GetNamespace(),
		NamespaceForChildren: w.GetNamespaceForChildren(),
		Readings:             readingsFromWire(w.GetReadings()),
		CPU:                  CPUTime{User: Nanos(w.GetCpuUserNs()), System: Nanos(w.GetCpuSystemNs())},
		Threads:              w.GetThreads(),
	}
}

func readingsToWire(r Readings) *crtimev1.Readings {
	return &crtimev1.Readings{
		MonotonicNs:       int64(r.Monotonic),
		MonotonicRawNs:    int64(r.MonotonicRaw),
		MonotonicCoarseNs: int64(r.MonotonicCoarse),
		BoottimeNs:        int64(r.Boottime),
	}
}

func readingsFromWire(w *crtimev1.Readings) Readings {
	return Readings{
		Monotonic:       Nanos(w.GetMonotonicNs()),
		MonotonicRaw:    Nanos(w.GetMonotonicRawNs()),
		MonotonicCoarse: Nanos(w.GetMonotonicCoarseNs()),
		Boottime:        Nanos(w.GetBoottimeNs()),
	}
}

func hostReadingToWire(h HostReading) *crtimev1.HostReading {
	return &crtimev1.HostReading{
		Readings:   readingsToWire(h.Readings),
		RealtimeNs: int64(h.Realtime),
		TaiNs:      int64(h.TAI),
		WidthNs:    int64(h.Width),
		WallClock: &crtimev1.WallClock{
			Known:        h.WallClock.Known,
			Synchronised: h.WallClock.Synchronised,
			MaxErrorNs:   int64(h.WallClock.MaxError),
			EstErrorNs:   int64(h.WallClock.EstError),
			TaiOffsetS:   h.WallClock.TAIOffset,
		},
		Tick: &crtimev1.Tick{
			EdgeNs:   int64(h.Tick.Edge),
			PeriodNs: int64(h.Tick.Period),
			LagNs:    int64(h.Tick.Lag),
		},
	}
}

func hostReadingFromWire(w *crtimev1.HostReading) HostReading {
	return HostReading{
		Readings: readingsFromWire(w.GetReadings()),
		Realtime: Nanos(w.GetRealtimeNs()),
		TAI:      Nanos(w.GetTaiNs()),
		Width:    Nanos(w.GetWidthNs()),
		WallClock: WallClock{
			Known:        w.GetWallClock().GetKnown(),
			Synchronised: w.GetWallClock().GetSynchronised(),
			MaxError:     Nanos(w.GetWallClock().GetMaxErrorNs()),
			EstError:     Nanos(w.GetWallClock().GetEstErrorNs()),
			TAIOffset:    w.GetWallClock().GetTaiOffsetS(),
		},
		Tick: Tick{
			Edge:   Nanos(w.GetTick().GetEdgeNs()),
			Period: Nanos(w.GetTick().GetPeriodNs()),
			Lag:    Nanos(w.GetTick().GetLagNs()),
		},
	}
}
