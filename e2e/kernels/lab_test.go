// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/kernels/vm"
	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// theLab is made once, before the first test; it stays nil if no kernel is named.
var theLab *lab

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	kernels, err := namedKernels(os.Getenv("CRTIME_KERNELS"))
	if err == nil && len(kernels) > 0 {
		theLab, err = newLab(kernels)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		return 1
	}
	status := m.Run()
	if err := theLab.close(); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		return 1
	}
	return status
}

// namedKernels reads CRTIME_KERNELS.
func namedKernels(text string) ([]vm.Kernel, error) {
	var kernels []vm.Kernel
	for word := range strings.FieldsSeq(text) {
		name, dir, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fmt.Errorf("CRTIME_KERNELS holds %q, which is not NAME=DIR", word)
		}
		kernels = append(kernels, vm.Kernel{Name: name, Dir: dir})
	}
	return kernels, nil
}

// Where things are in a guest.
const (
	crtime  = "/bin/crtime"
	criuDir = "/opt/criu"
)

// lab is what all tests share: what was built, and the machines.
type lab struct {
	root    string // The source tree.
	dir     string // Of the lab's own files.
	kernels []vm.Kernel
	host    vm.Host
	image   vm.Image
	criu    string // Of the guest; "" if there is none.

	mu       sync.Mutex // Guards machines.
	machines map[string]*machine
}

// machine is one that was booted, or why it was not.
type machine struct {
	*vm.Machine
	err error
}

func newLab(kernels []vm.Kernel) (*lab, error) {
	if _, err := exec.LookPath(vm.Program); err != nil {
		return nil, fmt.Errorf("QEMU is missing ('make test-kernels' installs it): %w", err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, fmt.Errorf("finding the source tree: %w", err)
	}
	dir, err := os.MkdirTemp("", "crtime-kernels-*")
	if err != nil {
		return nil, fmt.Errorf("folder of the lab: %w", err)
	}
	l := &lab{root: root, dir: dir, kernels: kernels, machines: map[string]*machine{}}
	if err := l.build(context.Background()); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// build makes what the guests find in their file system.
func (l *lab) build(ctx context.Context) error {
	programs := filepath.Join("e2e", "programs")
	builds := []struct {
		guest string
		argv  []string
	}{
		{"/init", []string{"go", "build", "-o", "", "./e2e/kernels/vm/agent"}},
		{crtime, []string{"go", "build", "-o", "", "./cmd/crtime"}},
		{"/bin/goticker", []string{"go", "build", "-o", "", "./" + filepath.Join(programs, "goticker")}},
		{"/bin/ticker", []string{"cc", "-O2", "-pthread", "-o", "", filepath.Join(programs, "ticker", "ticker.c")}},
		{"/bin/static-ticker", []string{"cc", "-O2", "-pthread", "-static", "-o", "", filepath.Join(programs, "ticker", "ticker.c")}},
	}
	for _, b := range builds {
		host := filepath.Join(l.dir, path.Base(b.guest))
		if err := l.compile(ctx, b.argv, host); err != nil {
			return err
		}
		if err := l.image.AddProgram(ctx, b.guest, host); err != nil {
			return err
		}
	}
	for _, name := range []string{"cc", "go"} {
		l.image.Link("/bin/"+name, "/init")
	}
	for _, name := range []string{"sh", "true", "sleep", "cat", "readlink", "mkdir", "mv", "unshare"} {
		if err := l.image.AddProgram(ctx, "/bin/"+name, name); err != nil {
			return err
		}
	}
	for _, name := range []string{"/etc/passwd", "/etc/group"} {
		l.image.Add(name, name, 0o644)
	}
	return l.addCRIU(ctx)
}

// compile runs a compiler in the source tree. The empty word of argv is where the
// output's name goes.
func (l *lab) compile(ctx context.Context, argv []string, output string) error {
	for i, word := range argv {
		if word == "" {
			argv[i] = output
		}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = l.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, text)
	}
	return nil
}

// addCRIU puts the CRIU of CRTIME_CRIU into the guests: a program, or a folder of
// get-criu.sh, which has the libraries too.
func (l *lab) addCRIU(ctx context.Context) error {
	given := os.Getenv("CRTIME_CRIU")
	if given == "" {
		return nil
	}
	l.criu = criuDir + "/criu"
	real, err := filepath.EvalSymlinks(given)
	if err != nil {
		return fmt.Errorf("CRTIME_CRIU: %w", err)
	}
	dir := filepath.Dir(real)
	if _, err := os.Stat(filepath.Join(dir, "root")); err == nil {
		return l.image.AddTree(criuDir, dir)
	}
	return l.image.AddProgram(ctx, l.criu, real)
}

// close ends the machines. A nil lab has none.
func (l *lab) close() error {
	if l == nil {
		return nil
	}
	var err error
	for _, m := range l.machines {
		if m.Machine != nil {
			err = errors.Join(err, m.Close())
		}
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// boot returns the machine of a kernel, which all tests share, and boots it at
// its first use.
func (l *lab) boot(t *testing.T, k vm.Kernel) *vm.Machine {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.machines[k.Name]
	if !ok {
		m = l.newMachine(t, k)
		l.machines[k.Name] = m
	}
	if m.err != nil {
		t.Fatal(m.err)
	}
	return m.Machine
}

func (l *lab) newMachine(t *testing.T, k vm.Kernel) *machine {
	dir := filepath.Join(l.dir, "machine-"+k.Name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return &machine{err: err}
	}
	m, err := l.host.Boot(context.Background(), k, &l.image, dir)
	if err != nil {
		return &machine{err: err}
	}
	for _, failed := range m.Failed {
		t.Log(failed)
	}
	t.Logf("%s: Linux %s booted by %s in %v, clock source %s", k.Name, m.Greeting.Release, m.Accel,
		m.BootTook.Round(10*time.Millisecond), m.Greeting.ClockSource)
	m.CompileFrom(l.root)
	// No process of one machine has the number of one of another, so that each
	// can be moved.
	numbers := fmt.Sprintf("echo 4000000 >/proc/sys/kernel/pid_max; echo %d >/proc/sys/kernel/ns_last_pid",
		100000*(len(l.machines)+1))
	o, err := m.Run(wire.Command{Argv: []string{"sh", "-c", numbers}, Timeout: time.Minute})
	if err == nil && o.Status != 0 {
		err = fmt.Errorf("setting the next process number: %s: %s", o.Words, o.Errors)
	}
	return &machine{m, err}
}

// forEachKernel runs a test on each kernel, or skips it if there is none.
func forEachKernel(t *testing.T, test func(t *testing.T, m *vm.Machine)) {
	t.Helper()
	needLab(t)
	for _, k := range theLab.kernels {
		t.Run(k.Name, func(t *testing.T) { test(t, theLab.boot(t, k)) })
	}
}

func needLab(t *testing.T) {
	t.Helper()
	if theLab == nil {
		t.Skip("no kernel is named: 'make test-kernels' boots Debian's 6.1, 6.12 and newest in virtual machines")
	}
}
