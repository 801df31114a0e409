// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/harness"
	"github.com/crtime/crtime/internal/image"
)

// TestCorruption spoils one file of a dump at random: a byte is changed, the file is
// cut, or it is another dump's. Each is restored inside pid and mount namespaces of its
// own. As it is, it must be refused, for what it is, before any process is made. With
// checksums that are right again, as somebody could write who means it, what is
// restored is his business; but crtime must end, in order, and an error leave nothing.
func TestCorruption(t *testing.T) {
	c := newCase(t)
	random := newRand(t)
	program, err := c.Checker(c.Context)
	c.Check(err)
	program.Argv = program.Argv[:1] // Without the Go program, whose memory is large.
	tree := c.Start(program)
	here, there := c.Path("here"), c.Path("there")
	_, err = c.Crtime.Dump(c.Context, tree.PID, there, "--leave-running")
	c.Check(err)
	c.WaitRecords(tree, 30)
	c.Dump(tree, here)
	dumped := readDump(c, here)
	other := readDump(c, there)
	var refused, restored int
	// 'make corruptions' sets it.
	for range (repeats{"CRTIME_E2E_CORRUPTIONS", 20, 60, time.Second}).times(c) {
		d := damageAtRandom(random, dumped, other)
		for _, sealed := range []bool{false, true} {
			images := c.Path("images")
			d.write(c, images, dumped, sealed)
			end := restoreAlone(c, images)
			switch {
			case end.hung || strings.Contains(end.said, "goroutine ") || end.status < 0:
				c.Fatalf("%s, checksums right: %v: status %d, hung: %v: %s", d, sealed, end.status, end.hung, end.said)
			case !sealed && end.status != exitImages:
				c.Fatalf("%s: status %d, want %d: %s", d, end.status, exitImages, end.said)
			case end.status != 0 && (end.left != 0 || end.said == ""):
				c.Fatalf("%s: status %d, %d processes are left: %s", d, end.status, end.left, end.said)
			case end.status != 0:
				refused++
			default:
				restored++
			}
			c.Check(os.RemoveAll(images))
		}
	}
	c.Logf("%d restores were refused, %d with checksums that were made right went through", refused, restored)
	c.Check(os.Truncate(tree.Output, 0)) // What was restored wrong has written there too.
	c.Restore(tree, here)
	c.WaitRecords(tree, 30)
	truncate(c, tree)
}

// readDump reads the files of a dump that a restore looks at.
func readDump(c *harness.Case, dir string) map[string][]byte {
	c.Helper()
	all := map[string][]byte{}
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	c.Check(err)
	for _, path := range paths {
		all[filepath.Base(path)], err = os.ReadFile(path)
		c.Check(err)
	}
	return all
}

// damage is what is done to one file.
type damage struct {
	name, what string
	data       []byte
}

func (d damage) String() string { return d.name + ": " + d.what }

// damageAtRandom chooses a file and what becomes of it.
func damageAtRandom(random *rand.Rand, dump, other map[string][]byte) damage {
	names := slices.Sorted(maps.Keys(dump)) // So that the seed alone decides.
	for {
		d := damage{name: names[random.IntN(len(names))]}
		whole := dump[d.name]
		if len(whole) == 0 {
			continue
		}
		at := random.IntN(len(whole))
		switch random.IntN(3) {
		case 0:
			bit := byte(1 + random.IntN(255))
			d.what, d.data = fmt.Sprintf("byte %d changed by %#x", at, bit), append([]byte(nil), whole...)
			d.data[at] ^= bit
		case 1:
			d.what, d.data = fmt.Sprintf("cut to %d of %d bytes", at, len(whole)), whole[:at]
		default:
			d.what, d.data = "another dump's", other[d.name]
		}
		if string(d.data) != string(whole) {
			return d
		}
	}
}

// write writes the images with the damage, and with checksums that fit if they are to
// be sealed again.
func (d damage) write(c *harness.Case, dir string, dump map[string][]byte, sealed bool) {
	c.Helper()
	c.Check(os.Mkdir(dir, 0o700))
	var names []string
	for name, data := range dump {
		if name == d.name {
			data = d.data
		}
		c.Check(os.WriteFile(filepath.Join(dir, name), data, 0o600))
		if name != image.FileManifest {
			names = append(names, name)
		}
	}
	if sealed && d.name != image.FileManifest {
		slices.Sort(names)
		m, err := image.Checksums(dir, names)
		c.Check(err)
		c.Check(os.WriteFile(filepath.Join(dir, image.FileManifest), m.Encode(), 0o600))
	}
}

// ending is how a restore has ended.
type ending struct {
	status int
	left   int // Processes.
	said   string
	hung   bool
}

// restoreAlone restores inside pid and mount namespaces of its own, which take all with
// them that they hold.
func restoreAlone(c *harness.Case, images string) ending {
	c.Helper()
	const script = `"$0" restore --engine native -d -D "$1" >/dev/null; status=$?; set -- /proc/[0-9]*; echo $status $#`
	ctx, cancel := context.WithTimeout(c.Context, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", script, c.Crtime.Path, images)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	end := ending{status: -1, said: said.String(), hung: ctx.Err() != nil}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.Fatal(err)
	}
	if _, err := fmt.Sscan(string(out), &end.status, &end.left); err != nil {
		end.status = -1
	}
	end.left-- // The shell.
	return end
}
