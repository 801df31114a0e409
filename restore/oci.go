// SPDX-License-Identifier: Apache-2.0

package restore

import "github.com/crtime/crtime/clockstate"

// OCIConfig is the part of a container's config.json, as the OCI runtime specification
// has it since 1.1, that gives the container a time namespace of its own.
type OCIConfig struct {
	Linux OCILinux `json:"linux"`
}

// OCILinux is the part that is for Linux alone.
type OCILinux struct {
	Namespaces  []OCINamespace `json:"namespaces"`
	TimeOffsets OCITimeOffsets `json:"timeOffsets"`
}

// OCINamespace asks for a new namespace.
type OCINamespace struct {
	Type string `json:"type"`
}

// OCITimeOffsets are written to the /proc/PID/timens_offsets of the container's first
// process, and mean what the kernel means there: relative to the initial namespace,
// wherever the runtime itself lives.
type OCITimeOffsets struct {
	Monotonic OCITimeOffset `json:"monotonic"`
	Boottime  OCITimeOffset `json:"boottime"`
}

// OCITimeOffset is a time, exactly. Nanosecs is below 1e9 and counts upward, also from
// negative Secs: -1 ns is -1 s and 999999999 ns.
type OCITimeOffset struct {
	Secs     int64  `json:"secs"`
	Nanosecs uint32 `json:"nanosecs"`
}

// OCI says what a container has to be configured with to have the clocks of a plan. No
// clock of it reads less than the tree's did if it starts at the planned instant or
// later. One that was to stand still has then moved on by as much.
//
// The error is ErrSeveralNamespaces, or clockstate's ErrInvalid for a plan of a state
// that contradicts itself.
func OCI(p *clockstate.Plan) (OCIConfig, error) {
	ns, err := oneNamespace(p)
	if err != nil {
		return OCIConfig{}, err
	}
	return OCIConfig{Linux: OCILinux{
		Namespaces: []OCINamespace{{Type: "time"}},
		TimeOffsets: OCITimeOffsets{
			Monotonic: ociTimeOffset(ns.Offsets.Monotonic),
			Boottime:  ociTimeOffset(ns.Offsets.Boottime),
		},
	}}, nil
}

// ociTimeOffset splits an offset.
func ociTimeOffset(n clockstate.Nanos) OCITimeOffset {
	sec, nsec := n.Timespec()
	return OCITimeOffset{Secs: sec, Nanosecs: uint32(nsec)}
}
