// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// container is one of runc's, in which a ticker keeps a log. Its runtime finds crtime
// where it looks for criu.
type container struct {
	*harness.Case
	runc, id string
	bundle   string
	images   string
	path     string // PATH of the runtime.
}

// newContainer makes a bundle with a busybox for a root file system. edit changes its
// configuration.
func newContainer(c *harness.Case, edit func(config map[string]any)) *container {
	c.Helper()
	runc, err := c.Find("runc")
	c.Need(err)
	return newContainerOf(c, runc, edit)
}

// newContainerOf makes one of another runtime's, which takes runc's command line.
func newContainerOf(c *harness.Case, runc string, edit func(config map[string]any)) *container {
	c.Helper()
	criu := newAsCRIU(c)
	k := &container{
		Case: c, runc: runc, id: "crtime-e2e-" + filepath.Base(c.Folder), bundle: c.Path("bundle"), images: c.Path("images"),
		path: criu.searchPath(),
	}
	rootFS(c, filepath.Join(k.bundle, "rootfs"))
	// Of a container with a user namespace CRIU opens images as a user of that.
	c.Check(os.Mkdir(k.images, 0o755))
	k.configure(edit)
	c.Path("runc") // Its folder.
	c.Cleanup(func() { _, _ = k.run("delete", "-f", k.id) })
	return k
}

// searchPath is a PATH with crtime as criu, and the real one behind it.
func (a *asCRIU) searchPath() string {
	return filepath.Dir(a.path) + ":" + filepath.Dir(a.CRIU.Path) + ":" + os.Getenv("PATH")
}

// rootFS makes a root file system with a busybox and the ticker.
func rootFS(c *harness.Case, dir string) {
	c.Helper()
	busybox, err := c.Find("busybox")
	c.Need(err)
	ticker, err := c.StaticTicker(c.Context)
	c.Check(err)
	for _, name := range []string{"bin", "dev", "proc", "sys", "tmp", "log"} {
		c.Check(os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	for name, file := range map[string]string{"sh": busybox, "ticker": ticker} {
		program, err := os.ReadFile(file)
		c.Check(err)
		c.Check(os.WriteFile(filepath.Join(dir, "bin", name), program, 0o755))
	}
	for _, applet := range []string{"nc", "sleep", "tee"} {
		c.Check(os.Symlink("sh", filepath.Join(dir, "bin", applet)))
	}
}

// configure writes the bundle's config.json: what runc itself proposes, edited.
func (k *container) configure(edit func(config map[string]any)) {
	k.Helper()
	cmd := exec.CommandContext(k.Context, k.runc, "spec")
	cmd.Dir = k.bundle
	k.Check(cmd.Run())
	path := filepath.Join(k.bundle, "config.json")
	data, err := os.ReadFile(path)
	k.Check(err)
	var config map[string]any
	k.Check(json.Unmarshal(data, &config))
	process, root, linux := section(config, "process"), section(config, "root"), section(config, "linux")
	process["terminal"] = false
	process["args"] = []string{"/bin/sh", "-c", "exec /bin/ticker >>/log/clk 2>&1"}
	root["readonly"] = false
	linux["cgroupsPath"] = "/" + k.id
	if edit != nil {
		edit(config)
	}
	data, err = json.Marshal(config)
	k.Check(err)
	k.Check(os.WriteFile(path, data, 0o600))
}

// section is an object within another.
func section(in map[string]any, name string) map[string]any {
	inner, ok := in[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		in[name] = inner
	}
	return inner
}

// hostNetwork takes the network namespace out of a configuration.
func hostNetwork(config map[string]any) {
	linux := section(config, "linux")
	var kept []any
	all, _ := linux["namespaces"].([]any)
	for _, n := range all {
		if ns, ok := n.(map[string]any); ok && ns["type"] != "network" {
			kept = append(kept, ns)
		}
	}
	linux["namespaces"] = kept
}

// run runs runc.
func (k *container) run(args ...string) (string, error) {
	cmd := exec.Command(k.runc, append([]string{"--root", filepath.Join(k.Folder, "runc")}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+k.path)
	return outputOf(cmd)
}

// outputOf runs a command. What it starts may keep its output open: no pipes.
func outputOf(cmd *exec.Cmd) (string, error) {
	out, err := os.CreateTemp("", "output-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	runErr := cmd.Run()
	text, err := os.ReadFile(out.Name())
	if err != nil {
		return "", err
	}
	return string(text), runErr
}

// must runs runc, which must succeed.
func (k *container) must(args ...string) string {
	k.Helper()
	out, err := k.run(args...)
	if err != nil {
		var logs strings.Builder
		for _, name := range []string{"dump.log", "restore.log"} {
			if text, err := os.ReadFile(filepath.Join(k.images, name)); err == nil {
				fmt.Fprintf(&logs, "%s:\n%s\n", name, lastLines(string(text)))
			}
		}
		k.Fatalf("%s %s: %v\n%s\n%s", filepath.Base(k.runc), strings.Join(args, " "), err, out, logs.String())
	}
	return out
}

// lastLines is the end of a long log.
func lastLines(text string) string {
	const most = 4 << 10
	return text[max(0, len(text)-most):]
}

// log reads what the ticker has logged, once it is n records long.
func (k *container) log(n int) clocklog.Log {
	k.Helper()
	return growing(k.Case, filepath.Join(k.bundle, "rootfs", "log", "clk"), n)
}

// growing reads a log that is being written, once it is n records long.
func growing(c *harness.Case, path string, n int) clocklog.Log {
	c.Helper()
	for {
		data, err := os.ReadFile(path)
		if err == nil {
			// The last line may be half written.
			log, err := clocklog.ParseBytes(data[:1+strings.LastIndexByte(string(data), '\n')])
			c.Check(err)
			if len(log.Records) >= n {
				return log
			}
		}
		c.Check(c.Context.Err())
		time.Sleep(10 * time.Millisecond)
	}
}

// pid is the number of the container's first process.
func (k *container) pid() int {
	k.Helper()
	var state struct{ PID int }
	k.Check(json.Unmarshal([]byte(k.must("state", k.id)), &state))
	return state.PID
}

// TestContainers has runc run a container, checkpoint it and restore it.
func TestContainers(t *testing.T) {
	tests := []struct {
		name  string
		edit  func(config map[string]any)
		flags []string
	}{
		{"host network", hostNetwork, nil},
		{"network of its own, with a connection", func(config map[string]any) {
			section(config, "process")["args"] = []string{"/bin/sh", "-c", "exec >/dev/null 2>&1; sleep 1000 | nc -l -p 9 >/log/in & sleep 0.3; /bin/ticker | tee /log/clk | nc 127.0.0.1 9"}
			section(config, "hooks")["createRuntime"] = []any{map[string]any{
				"path": "/bin/sh", "args": []string{"sh", "-c", `exec nsenter -t $(sed 's/.*"pid":\([0-9]*\).*/\1/') -n ip link set lo up`},
				"env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
			}}
		}, []string{"--tcp-established"}},
		{"read-only, with limits", func(config map[string]any) {
			hostNetwork(config)
			section(config, "root")["readonly"] = true
			mounts, _ := config["mounts"].([]any)
			config["mounts"] = append(mounts, map[string]any{
				"destination": "/log", "type": "bind", "source": "rootfs/log", "options": []string{"rbind", "rw"},
			})
			section(config, "linux")["resources"] = map[string]any{"pids": map[string]any{"limit": 32}, "memory": map[string]any{"limit": 64 << 20}}
		}, nil},
		{"user namespace", func(config map[string]any) {
			linux := section(config, "linux")
			namespaces, _ := linux["namespaces"].([]any)
			linux["namespaces"] = append(namespaces, map[string]any{"type": "user"})
			ids := []any{map[string]any{"containerID": 0, "hostID": 100000, "size": 65536}}
			linux["uidMappings"], linux["gidMappings"] = ids, ids
		}, nil},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			k := newContainer(newCase(t), test.edit)
			if test.name == "user namespace" {
				k.giveTo(100000)
			}
			k.must("run", "-d", "-b", k.bundle, k.id)
			k.log(30)
			if test.name == "host network" {
				k.enter("/bin/sleep", "1000")
			}
			k.outage(test.flags...)
			for _, name := range []string{"dump.log", "restore.log"} {
				text, err := os.ReadFile(filepath.Join(k.images, name))
				k.Check(err)
				if lost := strings.Contains(string(text), "not saved: processes"); lost != (test.name == "host network" && name == "dump.log") {
					k.Errorf("%s tells of processes that are not saved: %v", name, lost)
				}
			}
			k.clocksInside()
			k.must("kill", k.id, "KILL")
		})
	}
}

// outage checkpoints the container and restores it two seconds later. No clock may have
// gone back in what the ticker has logged, and CLOCK_BOOTTIME has gone on.
func (k *container) outage(flags ...string) {
	k.Helper()
	k.must(append([]string{"checkpoint", "--image-path", k.images, "--work-path", k.images}, append(flags, k.id)...)...)
	time.Sleep(2 * time.Second)
	k.must(append([]string{"restore", "-d", "-b", k.bundle, "--image-path", k.images, "--work-path", k.images}, append(flags, k.id)...)...)
	before := len(k.log(0).Records)
	goneOn(k.Case, k.log(before+30))
	for _, name := range []string{"dump.log", "restore.log"} {
		text, err := os.ReadFile(filepath.Join(k.images, name))
		k.Check(err)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		k.Log(lines[len(lines)-1]) // What crtime adds to CRIU's.
	}
}

// goneOn fails the test unless in a log with one outage no clock went back, and
// CLOCK_BOOTTIME followed the wall clock.
func goneOn(c *harness.Case, log clocklog.Log) {
	c.Helper()
	for _, b := range log.Backward() {
		c.Error(b)
	}
	steps, err := log.Outages(1)
	c.Check(err)
	if off := steps[0].BoottimeError(); off.Abs() > 5*time.Millisecond {
		c.Errorf("CLOCK_BOOTTIME is off by %v", off)
	}
	c.Logf("CLOCK_MONOTONIC jumped by %v, CLOCK_BOOTTIME is off by %v after %v",
		steps[0].Advance(clocklog.Monotonic), steps[0].BoottimeError(), steps[0].Wall())
}

// enter starts a program in the container from outside. It becomes this process's child,
// which takes notice of its end: the container cannot end before.
func (k *container) enter(argv ...string) {
	k.Helper()
	pidFile := k.Path("entered")
	k.must(append([]string{"exec", "-d", "--pid-file", pidFile, k.id}, argv...)...)
	text, err := os.ReadFile(pidFile)
	k.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	k.Check(err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	k.Cleanup(func() { <-ended })
}

// giveTo makes a user the owner of the root file system.
func (k *container) giveTo(uid int) {
	k.Helper()
	k.Check(filepath.WalkDir(filepath.Join(k.bundle, "rootfs"), func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	}))
}

// clocksInside starts another program by `crtime exec`, which must live in the restored
// time namespace.
func (k *container) clocksInside() {
	k.Helper()
	pid := k.pid()
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", pid))
	k.Check(err)
	here, err := os.Readlink("/proc/self/ns/time")
	k.Check(err)
	out, err := k.Crtime.Run(k.Context, "exec", "-t", fmt.Sprint(pid), "--", "readlink", "/proc/self/ns/time")
	k.Check(err)
	if got := strings.TrimSpace(string(out)); got != own || own == here {
		k.Errorf("crtime exec starts programs in %s; the container is in %s, this test in %s", got, own, here)
	}
}
