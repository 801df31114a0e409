// SPDX-License-Identifier: Apache-2.0

package clockstate

import "fmt"

// Codes of warnings. They are stable; the texts are not.
const (
	// WarnOutageNegative: the wall clocks say that less than no time passed.
	WarnOutageNegative = "outage-negative"
	// WarnOutageUnknown: the outage could not be measured, and the policy does
	// without it.
	WarnOutageUnknown = "outage-unknown"
	// WarnUnsynchronised: nobody vouches for a wall clock that was used.
	WarnUnsynchronised = "wallclock-unsynchronised"
	// WarnFreezeLate: the clocks were read later than the freeze.
	WarnFreezeLate = "freeze-late"
	// WarnNotRecorded: the image holds no RAW, which is therefore not promised.
	WarnNotRecorded = "clocks-not-recorded"
	// WarnCoarseUnknown: the host's tick is unknown, and the worst is assumed.
	WarnCoarseUnknown = "coarse-unknown"
	// WarnCorrection: a correction moves MONOTONIC or BOOTTIME forward by a
	// millisecond or more. For RAW and COARSE there is a code each.
	WarnCorrection       = "correction"
	WarnRawCorrection    = "raw-correction"
	WarnCoarseCorrection = "coarse-correction"
)

// notableCorrection is where a correction becomes a warning: below it a program
// cannot tell it from a late wake-up.
const notableCorrection Nanos = 1_000_000

// Warning is something that does not prevent a restore and that its user
// should know.
type Warning struct {
	// Code is one of the Warn constants.
	Code string `json:"code"`
	// Text is a sentence for people.
	Text string `json:"text"`
}

func (p *Plan) addWarning(code, format string, args ...any) {
	p.Warnings = append(p.Warnings, Warning{Code: code, Text: fmt.Sprintf(format, args...)})
}

// warn collects what is to be said about the inputs of the plan.
func (p *Plan) warn() {
	out := p.Outage
	switch {
	case out.Source == OutageUnknown:
		p.addWarning(WarnOutageUnknown, "The outage is not known: %s.", out.Note)
	case out.Measured < 0 && out.Source != SameBoot:
		p.addWarning(WarnOutageNegative, "The %s measurement puts the resume %v before the freeze, %s: the outage counts as 0.",
			out.Source, satSub(0, out.Measured), errorText(out))
	}
	if out.Source == WallClockSource && !out.Bounded {
		p.addWarning(WarnUnsynchronised, "The outage is measured by wall clocks and %s.", out.Note)
	}
	switch p.State.FreezeSource {
	case FreezeWatched, FreezeStopped:
		// As it should be.
	case FreezeConfirmed:
		p.addWarning(WarnFreezeLate, "The clocks were read when the dump was complete, %s: CLOCK_MONOTONIC jumps forward by that much.",
			windowText(p.State.FreezeWindow))
	case FreezeImported:
		p.addWarning(WarnNotRecorded, "The clocks come from an image of CRIU's, which does not hold CLOCK_MONOTONIC_RAW: that can go backward.")
		p.addWarning(WarnFreezeLate, "CRIU read the clocks %s: CLOCK_MONOTONIC jumps forward by that much.", windowText(p.State.FreezeWindow))
	}
	if !p.OnTick {
		p.addWarning(WarnCoarseUnknown, "This host's tick is not known: CLOCK_MONOTONIC_COARSE is taken to lag by up to %v.",
			worstCoarseLag(p.Dest))
	}
}

func errorText(o Outage) string {
	if !o.Bounded {
		return "and can be wrong by any amount"
	}
	return fmt.Sprintf("and is wrong by at most %v", o.Error)
}

func windowText(window Nanos) string {
	if window == 0 {
		return "an unknown time after the freeze"
	}
	return fmt.Sprintf("up to %v after the freeze", window)
}

// warnCorrections turns the corrections that a program can notice into
// warnings.
func (p *Plan) warnCorrections() {
	for _, ns := range p.Namespaces {
		for _, c := range ns.Corrections {
			if c.Forward < notableCorrection {
				continue
			}
			p.addWarning(correctionCode(c.Clock), "Time namespace %d moves forward by %v: %s.", ns.ID, c.Forward, c.Why)
		}
	}
}

func correctionCode(c Clock) string {
	switch c {
	case MonotonicRaw:
		return WarnRawCorrection
	case MonotonicCoarse:
		return WarnCoarseCorrection
	default:
		return WarnCorrection
	}
}
