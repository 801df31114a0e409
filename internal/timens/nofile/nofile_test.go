// SPDX-License-Identifier: Apache-2.0

// The test is a package of its own: what it imports must not delay nofile's
// initialisation.
package nofile_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/crtime/crtime/internal/timens/nofile"
)

const helperVariable = "CRTIME_NOFILE_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		fmt.Println(nofile.Original())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The limit must be the one set before the program started, not the one that the
// syscall package made of it.
func TestOriginal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 321 && ulimit -Hn 654 && exec "$0"`, self)
	cmd.Env = append(os.Environ(), helperVariable+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := strings.TrimSpace(string(out)); got != "321 654 true" {
		t.Errorf("got %q, want 321 654 true", got)
	}
}
