// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Image is what a machine finds in its file system when it starts. The zero
// value is empty and ready to use.
type Image struct {
	files map[string]source
	links map[string]string
	dirs  []string // Beside those that files and links are in.
}

// source is a file of the host.
type source struct {
	path string
	mode os.FileMode
}

// Add puts a file of the host at a path of the guest.
func (i *Image) Add(guest, host string, mode os.FileMode) {
	if i.files == nil {
		i.files = map[string]source{}
	}
	i.files[path.Clean(guest)] = source{host, mode}
}

// Link puts a symbolic link at a path of the guest.
func (i *Image) Link(guest, target string) {
	if i.links == nil {
		i.links = map[string]string{}
	}
	i.links[path.Clean(guest)] = target
}

// AddProgram puts a program of the host at a path of the guest, with the
// libraries that it is linked with at their own paths. Beside them go the one for
// mathematics, for what is compiled later, and the one that glibc loads when a
// thread ends itself, without which it aborts.
func (i *Image) AddProgram(ctx context.Context, guest, host string) error {
	host, err := exec.LookPath(host)
	if err != nil {
		return fmt.Errorf("program for the guest: %w", err)
	}
	i.Add(guest, host, 0o755)
	libraries, err := Libraries(ctx, host)
	if err != nil {
		return err
	}
	for _, l := range libraries {
		i.Add(l, l, 0o755)
		for _, beside := range []string{"libm.so.6", "libgcc_s.so.1"} {
			beside = filepath.Join(filepath.Dir(l), beside)
			if _, err := os.Stat(beside); err == nil {
				i.Add(beside, beside, 0o755)
			}
		}
	}
	return nil
}

// AddTree puts a folder of the host, with all that is in it, at a path of the
// guest.
func (i *Image) AddTree(guest, host string) error {
	return filepath.WalkDir(host, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(host, name)
		if err != nil {
			return err
		}
		if e.IsDir() {
			i.dirs = append(i.dirs, path.Join(guest, below))
			return nil
		}
		if e.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(name)
			i.Link(path.Join(guest, below), target)
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		i.Add(path.Join(guest, below), name, info.Mode())
		return nil
	})
}

// library is a line of ldd: a path, alone or after an arrow. The vdso has none.
var library = regexp.MustCompile(`(?m)^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$`)

// Libraries lists the dynamic loader and the libraries of a program; none if it
// is static.
func Libraries(ctx context.Context, program string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
	text := string(out)
	if err != nil {
		if strings.Contains(text, "not a dynamic executable") {
			return nil, nil
		}
		return nil, fmt.Errorf("libraries of %s: %w: %s", program, err, text)
	}
	var found []string
	for _, match := range library.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found, nil
}

// Write writes the image to a file of the host, as an initramfs.
func (i *Image) Write(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	w := &cpioWriter{w: f}
	if err := errors.Join(i.write(w), f.Close()); err != nil {
		return fmt.Errorf("writing the initramfs: %w", err)
	}
	return nil
}

func (i *Image) write(w *cpioWriter) error {
	for _, dir := range i.folders() {
		w.entry(dir, cpioDir|0o755, nil)
	}
	for guest, s := range i.files {
		data, err := os.ReadFile(s.path)
		if err != nil {
			return err
		}
		w.entry(guest, cpioRegular|uint32(s.mode.Perm()), data)
	}
	for guest, target := range i.links {
		w.entry(guest, cpioLink|0o777, []byte(target))
	}
	w.end()
	return w.err
}

// folders lists the folders of all entries, each after the one that holds it.
func (i *Image) folders() []string {
	seen := map[string]bool{}
	add := func(guest string) { // With the folders above it.
		for dir := path.Dir(guest); dir != "/" && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
		}
	}
	for _, dir := range i.dirs {
		add(path.Join(dir, "its"))
	}
	for guest := range i.files {
		add(guest)
	}
	for guest := range i.links {
		add(guest)
	}
	var dirs []string
	for dir := range seen {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}

// withModules is the image with a kernel's modules where the agent looks for
// them.
func (i *Image) withModules(k Kernel) (*Image, error) {
	modules, err := filepath.Glob(filepath.Join(k.Dir, "modules", "*"))
	if err != nil {
		return nil, fmt.Errorf("modules of %s: %w", k.Name, err)
	}
	more := &Image{files: maps.Clone(i.files), links: i.links, dirs: i.dirs}
	for _, m := range modules {
		more.Add(path.Join("/modules", filepath.Base(m)), m, 0o644)
	}
	return more, nil
}
