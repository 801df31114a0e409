// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
)

// podman is one with all that it keeps in the test's folder.
type podman struct {
	*harness.Case
	path string   // Of the program.
	env  []string // Its environment.
	all  []string // The options of each of its commands.
	// parent is the control group of everything that it starts, in each hierarchy.
	parent string
	others []int // Processes that ran before.
}

// newPodman prepares podman, which is to find crtime where its runtime looks for criu.
func newPodman(c *harness.Case) *podman {
	c.Helper()
	path, err := c.Find("podman")
	c.Need(err)
	_, err = c.Find("runc")
	c.Need(err)
	config := c.Path("containers.conf")
	// Locks would be in a file of /dev/shm, and stay there.
	c.Check(os.WriteFile(config, []byte("[engine]\nlock_type = \"file\"\n"), 0o600))
	p := &podman{
		Case: c, path: path, parent: "/crtime-e2e-" + filepath.Base(c.Folder),
		env: append(os.Environ(), "PATH="+newAsCRIU(c).searchPath(), "CONTAINERS_CONF="+config),
		all: []string{
			// Of these podman takes no longer path than 50 bytes.
			"--root", c.Path("p"), "--runroot", c.Path("r"), "--tmpdir", c.Path("t"),
			"--storage-driver", "vfs", "--events-backend", "file", "--cgroup-manager", "cgroupfs",
			"--runtime", "runc", "--runtime-flag", "root=" + c.Path("runc"),
		},
	}
	p.others = harness.Descendants()
	p.hideCache()
	c.Cleanup(p.end)
	return p
}

// hideCache puts an empty folder over the only one that podman cannot be told to leave
// alone.
func (p *podman) hideCache() {
	p.Helper()
	const dir = "/var/lib/containers/cache"
	p.Check(os.MkdirAll(dir, 0o700))
	p.Check(harness.MountTmpfs(dir, ""))
	p.Cleanup(func() {
		p.Check(harness.Unmount(dir))
		// What has something in it was there before, and stays.
		_ = os.Remove(dir)
		_ = os.Remove(filepath.Dir(dir))
	})
}

// end removes the containers that are left, and the control groups.
func (p *podman) end() {
	if out, err := p.run("rm", "--all", "--force", "--time", "0"); err != nil {
		p.Errorf("podman rm: %v\n%s", err, out)
	}
	p.settle()
	groups, err := filepath.Glob(filepath.Join(cgroupDir, "*", p.parent))
	if err != nil {
		p.Error(err)
	}
	for _, group := range append(groups, filepath.Join(cgroupDir, p.parent)) {
		if err := p.removeGroup(group); err != nil {
			p.Error(err)
		}
	}
}

// settle waits until the monitors of containers and what they start to clean up have
// ended, which podman does not.
func (p *podman) settle() {
	// One that is being handed to its next parent is in no list.
	const quiet = 5
	for calm := 0; calm < quiet && p.Context.Err() == nil; calm++ {
		for _, pid := range harness.Descendants() {
			if !slices.Contains(p.others, pid) {
				// It is ours to wait for if its parent has ended.
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
				calm = 0
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// removeGroup removes a control group and all below, if it exists.
func (p *podman) removeGroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, p.removeGroup(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(dir))
}

// run runs podman.
func (p *podman) run(args ...string) (string, error) {
	cmd := exec.Command(p.path, append(p.all, args...)...)
	cmd.Env = p.env
	return outputOf(cmd)
}

// must runs podman, which must succeed.
func (p *podman) must(args ...string) {
	p.Helper()
	if out, err := p.run(args...); err != nil {
		p.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// image makes an image of the given name, with nothing from anywhere else.
func (p *podman) image(name string) {
	p.Helper()
	root, file := p.Path("rootfs"), p.Path("rootfs.tar")
	rootFS(p.Case, root)
	out, err := os.Create(file)
	p.Check(err)
	w := tar.NewWriter(out)
	p.Check(w.AddFS(os.DirFS(root)))
	p.Check(w.Close())
	p.Check(out.Close())
	p.must("import", file, name)
}

// TestPodman has podman export a checkpoint of a container, remove the container, and
// import the checkpoint.
func TestPodman(t *testing.T) {
	tests := []struct {
		name, network string
		unified       bool
	}{
		{"network of its own", "none", false},
		{"host network", "host", false},
		{"control groups of the second version", "host", true},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			c := newCase(t)
			if test.unified {
				unified(c)
			}
			p := newPodman(c)
			const image, name = "localhost/ticker:latest", "web"
			p.image(image)
			logs, archive := p.Path("log"), p.Path("web.tar.zst")
			p.Check(os.Mkdir(logs, 0o755))
			log := filepath.Join(logs, "clk")
			p.must("run", "--detach", "--name", name, "--network", test.network, "--cgroup-parent", p.parent,
				// podman's own limits are higher than a root without CAP_SYS_RESOURCE may
				// set, or need a controller that the first version may have taken.
				"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--pids-limit", "-1",
				"--log-driver", "k8s-file", "--volume", logs+":/log", image, "/bin/sh", "-c", "exec /bin/ticker >>/log/clk 2>&1")
			growing(p.Case, log, 30)
			p.must("container", "checkpoint", "--export", archive, name)
			p.must("rm", name)
			before := len(growing(p.Case, log, 0).Records)
			time.Sleep(time.Second)
			p.show(archive, name, image)
			p.must("container", "restore", "--import", archive)
			goneOn(p.Case, growing(p.Case, log, before+30))
			p.must("rm", "--force", "--time", "0", name)
		})
	}
}

// show checks what `crtime show` says of an exported checkpoint.
func (p *podman) show(archive, name, image string) {
	p.Helper()
	type container struct {
		Name                   string `json:"container_name"`
		Image, Runtime, Engine string
	}
	var shown struct {
		Archive struct {
			Checked   bool
			Container container
		}
		State struct {
			Engine    string
			Processes []struct{ Comm string }
		}
	}
	out, err := p.Crtime.Run(p.Context, "show", "--json", archive)
	p.Check(err)
	p.Check(json.Unmarshal(out, &shown))
	if !shown.Archive.Checked {
		p.Error("crtime finds no checksums of its own in the archive")
	}
	if want := (container{Name: name, Image: image, Runtime: "runc", Engine: "Podman"}); shown.Archive.Container != want {
		p.Errorf("the archive is of %+v, want %+v", shown.Archive.Container, want)
	}
	if s := shown.State; s.Engine != engineCRIU || len(s.Processes) != 1 || s.Processes[0].Comm != "ticker" {
		p.Errorf("the record in the archive is %+v, want one ticker, dumped with CRIU", s)
	}
	text, err := p.Crtime.Run(p.Context, "show", archive)
	p.Check(err)
	for _, want := range []string{"checkpoint archive", name, image, "seen as it happened"} {
		if !strings.Contains(string(text), want) {
			p.Errorf("crtime show does not say %q:\n%s", want, text)
		}
	}
}
