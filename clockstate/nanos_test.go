// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
)

func TestFromTimespec(t *testing.T) {
	for _, tc := range []struct {
		name      string
		sec, nsec int64
		want      clockstate.Nanos
		err       error
	}{
		{name: "zero"},
		{name: "positive", sec: 5, nsec: 6, want: 5_000_000_006},
		{name: "nanoseconds count upward", sec: -2, nsec: 954_502_961, want: -1_045_497_039},
		{name: "just below zero", sec: -1, nsec: 999_999_999, want: -1},
		{name: "kernel's limit", sec: 4_611_686_018, want: clockstate.MaxReading},
		{name: "largest", sec: 9_223_372_036, nsec: 854_775_807, want: math.MaxInt64},
		{name: "above the largest", sec: 9_223_372_036, nsec: 854_775_808, err: clockstate.ErrOverflow},
		{name: "smallest", sec: -9_223_372_037, nsec: 145_224_192, want: math.MinInt64},
		{name: "below the smallest", sec: -9_223_372_037, nsec: 145_224_191, err: clockstate.ErrOverflow},
		{name: "smallest seconds", sec: math.MinInt64, err: clockstate.ErrOverflow},
		{name: "largest seconds", sec: math.MaxInt64, nsec: 999_999_999, err: clockstate.ErrOverflow},
		{name: "nanoseconds negative", nsec: -1, err: clockstate.ErrOutOfRange},
		{name: "nanoseconds too large", nsec: 1_000_000_000, err: clockstate.ErrOutOfRange},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := clockstate.FromTimespec(tc.sec, tc.nsec)
			if !errors.Is(err, tc.err) || got != tc.want {
				t.Fatalf("FromTimespec(%d, %d) = %d, %v, want %d, %v", tc.sec, tc.nsec, got, err, tc.want, tc.err)
			}
			if err != nil {
				return
			}
			if sec, nsec := got.Timespec(); sec != tc.sec || nsec != tc.nsec {
				t.Errorf("Timespec() = %d, %d, want %d, %d", sec, nsec, tc.sec, tc.nsec)
			}
			if got.Seconds() != tc.sec {
				t.Errorf("Seconds() = %d, want %d", got.Seconds(), tc.sec)
			}
		})
	}
}

func TestTimespecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := clockstate.Nanos(rapid.Int64().Draw(t, "n"))
		sec, nsec := n.Timespec()
		if nsec < 0 || nsec >= 1e9 {
			t.Fatalf("Timespec() of %d has %d nanoseconds", n, nsec)
		}
		if back, err := clockstate.FromTimespec(sec, nsec); err != nil || back != n {
			t.Fatalf("%d came back as %d, %v", n, back, err)
		}
	})
}

// TestCheckedArithmetic compares with arithmetic that has no limits.
func TestCheckedArithmetic(t *testing.T) {
	ops := []struct {
		name  string
		got   func(a, b clockstate.Nanos) (clockstate.Nanos, error)
		exact func(z, a, b *big.Int) *big.Int
	}{
		{"Add", clockstate.Add, (*big.Int).Add},
		{"Sub", clockstate.Sub, (*big.Int).Sub},
	}
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64().Draw(t, "a")
		b := rapid.Int64().Draw(t, "b")
		for _, op := range ops {
			want := op.exact(new(big.Int), big.NewInt(a), big.NewInt(b))
			got, err := op.got(clockstate.Nanos(a), clockstate.Nanos(b))
			switch {
			case !want.IsInt64() && !errors.Is(err, clockstate.ErrOverflow):
				t.Fatalf("%s(%d, %d) = %d, %v, want an overflow", op.name, a, b, got, err)
			case want.IsInt64() && (err != nil || int64(got) != want.Int64()):
				t.Fatalf("%s(%d, %d) = %d, %v, want %v", op.name, a, b, got, err, want)
			}
		}
	})
}

func TestNanosString(t *testing.T) {
	for n, want := range map[clockstate.Nanos]string{
		0:                     "0s",
		3_723_000_000_004:     "1h2m3.000000004s",
		-1_045_497_039:        "-1.045497039s",
		1:                     "1ns",
		clockstate.MaxReading: "1281023h53m38s",
		math.MinInt64:         "-2562047h47m16.854775808s",
	} {
		if got := n.String(); got != want {
			t.Errorf("String() of %d is %q, want %q", int64(n), got, want)
		}
	}
}
