// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/restore"
)

// The types of this file are flag values (pflag.Value). String of a zero value
// is "", so that help shows no default where there is none.

// pidValue is a process number.
type pidValue int

// Set implements pflag.Value.
func (v *pidValue) Set(s string) error {
	n, err := parsePID(s)
	*v = pidValue(n)
	return err
}

// parsePID reads a process number.
func parsePID(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is not a process number", s)
	}
	return int(n), nil
}

// String implements pflag.Value.
func (v *pidValue) String() string {
	if *v == 0 {
		return ""
	}
	return strconv.Itoa(int(*v))
}

// Type implements pflag.Value.
func (*pidValue) Type() string { return "pid" }

// sizeValue is a number of bytes below 4 GiB. K, M and G count in powers of
// 1024, as CRIU's do.
type sizeValue uint32

// Set implements pflag.Value.
func (v *sizeValue) Set(s string) error {
	digits, shift := s, 0
	for i, suffix := range []string{"K", "M", "G"} {
		if number, ok := strings.CutSuffix(strings.ToUpper(s), suffix); ok {
			digits, shift = number, 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n<<shift > math.MaxUint32 {
		return errors.New("want a number of bytes below 4G, such as 65536 or 1M")
	}
	*v = sizeValue(n << shift)
	return nil
}

// String implements pflag.Value.
func (v *sizeValue) String() string {
	if *v == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(*v), 10)
}

// Type implements pflag.Value.
func (*sizeValue) Type() string { return "size" }

// timeoutValue is a positive time, plain numbers being seconds as CRIU has it.
type timeoutValue time.Duration

// Set implements pflag.Value.
func (v *timeoutValue) Set(s string) error {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		*v = timeoutValue(time.Duration(n) * time.Second)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return errors.New("want seconds, or a time such as 1m30s")
	}
	*v = timeoutValue(d)
	return nil
}

// String implements pflag.Value.
func (v *timeoutValue) String() string { return durationText(time.Duration(*v)) }

// Type implements pflag.Value.
func (*timeoutValue) Type() string { return "seconds" }

// leadValue is "auto" (0) or a positive time.
type leadValue time.Duration

// Set implements pflag.Value.
func (v *leadValue) Set(s string) error {
	lead, err := restore.ParseLead(s)
	if err != nil {
		return err
	}
	*v = leadValue(lead)
	return nil
}

// String implements pflag.Value.
func (v *leadValue) String() string {
	if *v == 0 {
		return "auto"
	}
	return durationText(time.Duration(*v))
}

// Type implements pflag.Value.
func (*leadValue) Type() string { return "duration" }

// durationText is a time, or "" for none.
func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// policyValue is a clockstate.Policy.
type policyValue clockstate.Policy

// Set implements pflag.Value.
func (v *policyValue) Set(s string) error { return (*clockstate.Policy)(v).UnmarshalText([]byte(s)) }

// String implements pflag.Value.
func (v *policyValue) String() string { return clockstate.Policy(*v).String() }

// Type implements pflag.Value.
func (*policyValue) Type() string { return "policy" }

// cgroupModes are the values of --manage-cgroups.
func cgroupModes() []string { return []string{"ignore", "none", "props", "soft", "full", "strict"} }

// cgroupValue is one of cgroupModes.
type cgroupValue string

// Set implements pflag.Value.
func (v *cgroupValue) Set(s string) error {
	if !slices.Contains(cgroupModes(), s) {
		return fmt.Errorf("want one of %s", strings.Join(cgroupModes(), ", "))
	}
	*v = cgroupValue(s)
	return nil
}

// String implements pflag.Value.
func (v *cgroupValue) String() string { return string(*v) }

// Type implements pflag.Value.
func (*cgroupValue) Type() string { return "mode" }

// oneMore is what -v without a number stands for.
const oneMore = "+1"

// loudest is the highest log level of CRIU.
const loudest = 4

// verbosityValue counts -v, or is set by -v4.
type verbosityValue int

// Set implements pflag.Value.
func (v *verbosityValue) Set(s string) error {
	if s == oneMore {
		*v = min(*v+1, loudest)
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > loudest {
		return fmt.Errorf("want a number from 0 to %d", loudest)
	}
	*v = verbosityValue(n)
	return nil
}

// String implements pflag.Value.
func (v *verbosityValue) String() string {
	if *v == 0 {
		return ""
	}
	return strconv.Itoa(int(*v))
}

// Type implements pflag.Value.
func (*verbosityValue) Type() string { return "count" }
