// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"os"
	"testing"

	"github.com/crtime/crtime/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }
