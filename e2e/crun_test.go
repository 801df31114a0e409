// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
)

// newCrunContainer makes a container that is crun's, with control groups of the second
// version: crun takes no others when these have a controller.
func newCrunContainer(c *harness.Case, edit func(config map[string]any)) *container {
	c.Helper()
	crun := os.Getenv("CRTIME_CRUN")
	if crun == "" {
		c.Need(fmt.Errorf("a crun that can checkpoint, which 'make crun' gets and CRTIME_CRUN names: %w", harness.ErrMissing))
	}
	unified(c)
	return newContainerOf(c, crun, func(config map[string]any) {
		maskNoFolders(config)
		edit(config)
	})
}

// maskNoFolders leaves only files masked. A crun that has been told where to keep its
// containers does not find again what it had masked folders with, with or without crtime:
// https://github.com/containers/crun/pull/2239
func maskNoFolders(config map[string]any) {
	linux := section(config, "linux")
	masked, _ := linux["maskedPaths"].([]any)
	linux["maskedPaths"] = slices.DeleteFunc(masked, func(path any) bool {
		info, err := os.Stat(fmt.Sprint(path))
		return err == nil && info.IsDir()
	})
}

// groupFlags has CRIU leave control groups alone where there are some of the first
// version, too. crun has it restore the container's group in each hierarchy, and would
// remove only that of the second version.
func groupFlags(c *harness.Case) []string {
	c.Helper()
	groups, err := os.ReadFile("/proc/self/cgroup")
	c.Check(err)
	if strings.HasPrefix(string(groups), "0::") {
		return nil
	}
	return []string{"--manage-cgroups-mode", "ignore"}
}

// TestCrun has crun, which speaks through libcriu, do what TestContainers does with runc.
func TestCrun(t *testing.T) {
	tests := []struct {
		name  string
		edit  func(c *harness.Case, config map[string]any)
		flags []string
	}{
		{"host network", func(_ *harness.Case, config map[string]any) { hostNetwork(config) }, nil},
		{"network of its own, with a connection", func(_ *harness.Case, config map[string]any) {
			section(config, "process")["args"] = []string{"/bin/sh", "-c", "exec >/dev/null 2>&1; sleep 1000 | nc -l -p 9 >/log/in & sleep 0.3; /bin/ticker | tee /log/clk | nc 127.0.0.1 9"}
			section(config, "hooks")["createRuntime"] = []any{map[string]any{
				"path": "/bin/sh", "args": []string{"sh", "-c", `exec nsenter -t $(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p') -n ip link set lo up`},
				"env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
			}}
		}, []string{"--tcp-established"}},
		{"user namespace, with a config file", userNamespace, nil},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			c := newCase(t)
			k := newCrunContainer(c, func(config map[string]any) { test.edit(c, config) })
			policy := "suspend"
			if strings.HasPrefix(test.name, "user namespace") {
				k.giveTo(100000)
				policy = "elapsed"
			}
			k.must("run", "-d", "-b", k.bundle, k.id)
			k.log(30)
			k.outage(append(groupFlags(c), test.flags...)...)
			text, err := os.ReadFile(filepath.Join(k.images, "restore.log"))
			k.Check(err)
			if !strings.Contains(string(text), fmt.Sprintf(`"policy": %q`, policy)) {
				k.Errorf("the log of the restore does not name the policy %s", policy)
			}
			k.clocksInside()
			k.must("kill", k.id, "KILL")
		})
	}
}

// userNamespace gives a container a user namespace, and a config file of CRIU's. There,
// crun mounts the host's devices, and does not tell CRIU of them; the file does.
func userNamespace(c *harness.Case, config map[string]any) {
	c.Helper()
	linux := section(config, "linux")
	namespaces, _ := linux["namespaces"].([]any)
	linux["namespaces"] = append(namespaces, map[string]any{"type": "user"})
	ids := []any{map[string]any{"containerID": 0, "hostID": 100000, "size": 65536}}
	linux["uidMappings"], linux["gidMappings"] = ids, ids
	lines := "# crtime: policy elapsed\n"
	for _, name := range []string{"null", "zero", "full", "tty", "random", "urandom"} {
		// The first is for the dump, the other for the restore.
		lines += fmt.Sprintf("external mnt[/dev/%[1]s]:dev-%[1]s\nexternal mnt[dev-%[1]s]:/dev/%[1]s\n", name)
	}
	path := c.Path("criu.conf")
	c.Check(os.WriteFile(path, []byte(lines), 0o600))
	section(config, "annotations")["org.criu.config"] = path
}

// TestCrunTerminal restores a container with a terminal, whose other end CRIU makes and
// hands through crtime to crun, and crun to whom it belongs.
func TestCrunTerminal(t *testing.T) {
	c := newCase(t)
	k := newCrunContainer(c, func(config map[string]any) {
		hostNetwork(config)
		process := section(config, "process")
		process["terminal"] = true
		process["args"] = []string{"/bin/sh", "-c", "/bin/ticker >>/log/clk 2>&1 & exec tee /log/typed"}
	})
	console := newConsole(c)
	typed := func(line, want string) {
		t.Helper()
		_, err := console.terminal().WriteString(line)
		c.Check(err)
		var text []byte
		for string(text) != want {
			time.Sleep(10 * time.Millisecond)
			text, err = os.ReadFile(filepath.Join(k.bundle, "rootfs", "log", "typed"))
			if err = errors.Join(err, c.Context.Err()); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("the container has read %q, not yet %q: %v", text, want, err)
			}
		}
	}
	k.must("run", "-d", "--console-socket", console.path, "-b", k.bundle, k.id)
	typed("one\n", "one\n")
	k.log(30)
	flags := append(groupFlags(c), "--shell-job", "--image-path", k.images, "--work-path", k.images, k.id)
	k.must(append([]string{"checkpoint"}, flags...)...)
	time.Sleep(time.Second)
	k.must(append([]string{"restore", "-d", "--console-socket", console.path, "-b", k.bundle}, flags...)...)
	goneOn(c, k.log(len(k.log(0).Records)+30))
	typed("two\n", "one\ntwo\n")
	k.must("kill", k.id, "KILL")
}

// console is a socket to which a runtime hands a container's terminal.
type console struct {
	*harness.Case
	path   string
	socket *net.UnixListener
}

func newConsole(c *harness.Case) *console {
	c.Helper()
	path := c.Path("console")
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	c.Check(err)
	c.Cleanup(func() { c.Check(socket.Close()) })
	return &console{c, path, socket}
}

// terminal is the master's end of the terminal that came, or comes, to the socket next.
func (c *console) terminal() *os.File {
	c.Helper()
	const patience = 10 * time.Second
	c.Check(c.socket.SetDeadline(time.Now().Add(patience)))
	conn, err := c.socket.AcceptUnix()
	c.Check(err)
	defer conn.Close()
	// A path comes along, which nobody needs.
	data, control := make([]byte, unix.PathMax), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(data, control)
	c.Check(err)
	messages, err := unix.ParseSocketControlMessage(control[:n])
	c.Check(err)
	if len(messages) != 1 {
		c.Fatalf("%d control messages came with a terminal, want 1", len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	c.Check(err)
	file := os.NewFile(uintptr(fds[0]), "terminal")
	c.Cleanup(func() { c.Check(file.Close()) })
	return file
}
