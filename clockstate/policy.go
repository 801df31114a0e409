// SPDX-License-Identifier: Apache-2.0

package clockstate

// Policy says how the clocks of a restored tree relate to the time it missed.
// The zero value, [Suspend], is the default.
type Policy uint8

// The policies. S is a clock's recorded value, D the outage, H the host's clock
// at the resume instant.
const (
	// Suspend continues as after a suspend of the machine: MONOTONIC at S,
	// BOOTTIME at S + D.
	Suspend Policy = iota
	// Freeze continues as if no time had passed: both at S.
	Freeze
	// Elapsed shows the time that passed on both: S + D.
	Elapsed
	// FollowHost shifts as little as the promise allows: the larger of S and H,
	// with BOOTTIME - MONOTONIC not shrinking. Its name is "host".
	FollowHost
)

func policyNames() []string { return []string{"suspend", "freeze", "elapsed", "host"} }

// Policies returns all policies, the default first.
func Policies() []Policy { return []Policy{Suspend, Freeze, Elapsed, FollowHost} }

// ParsePolicy returns the policy of that name. Any other name is an error that
// wraps [ErrInvalid] and lists the four.
func ParsePolicy(name string) (Policy, error) {
	return parseName[Policy]("policy", policyNames(), name)
}

// String returns the policy's name, such as "suspend".
func (p Policy) String() string { return nameOf("Policy", policyNames(), int(p)) }

// MarshalText is String for a known policy and an error for any other.
func (p Policy) MarshalText() ([]byte, error) { return marshalName("policy", policyNames(), int(p)) }

// UnmarshalText is [ParsePolicy]; it leaves p alone if that fails.
func (p *Policy) UnmarshalText(text []byte) error {
	parsed, err := ParsePolicy(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}

// Describe returns one sentence for people who have to choose a policy.
func (p Policy) Describe() string {
	switch p {
	case Suspend:
		return "As if the machine had been suspended: CLOCK_MONOTONIC stands still, CLOCK_BOOTTIME counts the outage."
	case Freeze:
		return "As if no time had passed: CLOCK_MONOTONIC and CLOCK_BOOTTIME both stand still."
	case Elapsed:
		return "As if the program had merely been slow: CLOCK_MONOTONIC and CLOCK_BOOTTIME both count the outage."
	case FollowHost:
		return "As close to this host's own clocks as is possible without any clock going backward."
	default:
		return "Not a policy: " + p.String() + "."
	}
}

// usesOutage reports whether the policy's wanted values depend on D.
func (p Policy) usesOutage() bool { return p == Suspend || p == Elapsed }
