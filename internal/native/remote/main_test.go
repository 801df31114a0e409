// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/testkit"
)

// tracerVariable makes the test binary a tracer of the process that it names,
// makerVariable one that makes stubs from that number on.
const (
	tracerVariable = "CRTIME_TEST_TRACER"
	makerVariable  = "CRTIME_TEST_MAKER"
)

func TestMain(m *testing.M) {
	if pid, err := strconv.Atoi(os.Getenv(tracerVariable)); err == nil {
		fmt.Println(ptrace.Run(func(tr *ptrace.Tracer) error { return traceForEver(tr, pid) }))
		os.Exit(1)
	}
	if pid, err := strconv.Atoi(os.Getenv(makerVariable)); err == nil {
		fmt.Println(ptrace.Run(func(tr *ptrace.Tracer) error { return makeForEver(tr, pid) }))
		os.Exit(1)
	}
	os.Exit(testkit.Main(m))
}
