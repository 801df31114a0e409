// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheckOwner(t *testing.T) {
	const nobody = 65534
	// change is made to a directory "images" with a file "a.img", which lies in
	// base beside a directory "old".
	tests := []struct {
		name   string
		change func(base string) error
		want   string // The file that the error names; "": none.
		root   bool   // Only root can make the change.
	}{
		{"as a dump leaves it", func(string) error { return nil }, "", false},
		{"readable by all", func(base string) error {
			return errors.Join(os.Chmod(base+"/images", 0o755), os.Chmod(base+"/images/a.img", 0o644))
		}, "", false},
		{"file of the group", func(base string) error { return os.Chmod(base+"/images/a.img", 0o660) }, "/images/a.img", false},
		{"file of all", func(base string) error { return os.Chmod(base+"/images/a.img", 0o602) }, "/images/a.img", false},
		{"directory of the group", func(base string) error { return os.Chmod(base+"/images", 0o770) }, "/images", false},
		{"sticky directory of all", func(base string) error { return os.Chmod(base+"/images", 0o777|os.ModeSticky) }, "/images", false},
		{"directory above is of all", func(base string) error { return os.Chmod(base, 0o777) }, "", false},
		{"sticky directory above", func(base string) error { return os.Chmod(base, 0o777|os.ModeSticky) }, "", false},
		{"file of another user", func(base string) error { return os.Chown(base+"/images/a.img", nobody, 0) }, "/images/a.img", true},
		{"directory of another user", func(base string) error { return os.Chown(base+"/images", nobody, 0) }, "/images", true},
		{"directory above of another user", func(base string) error { return os.Chown(base, nobody, 0) }, "", true},
		{"file of another group", func(base string) error { return os.Chown(base+"/images/a.img", 0, nobody) }, "", true},
		{"link to an earlier dump", func(base string) error { return os.Symlink("../old", base+"/images/parent") }, "", false},
		{"link in a circle", func(base string) error { return os.Symlink(".", base+"/images/parent") }, "", false},
		{"link to nowhere", func(base string) error { return os.Symlink("nowhere", base+"/images/parent") }, "", false},
		{"earlier dump of all", func(base string) error {
			return errors.Join(os.Symlink("../old", base+"/images/parent"), os.Chmod(base+"/old", 0o777))
		}, "/old", false},
		{"file that is elsewhere", func(base string) error {
			return errors.Join(os.Symlink("../b.img", base+"/images/b.img"), os.WriteFile(base+"/b.img", nil, 0o600), os.Chmod(base+"/b.img", 0o666))
		}, "/b.img", false},
		{"link to a name that all can make", func(base string) error {
			return errors.Join(mkdir(base+"/open", 0o777|os.ModeSticky), os.Symlink("../open/later", base+"/images/parent"))
		}, "/open/later", false},
		{"link over a directory of all", func(base string) error {
			return errors.Join(mkdir(base+"/open", 0o777), os.Symlink("../../old", base+"/open/link"),
				os.Symlink("../open/link", base+"/images/parent"))
		}, "/open", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			base, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			err = errors.Join(os.Mkdir(base+"/images", 0o700), os.Mkdir(base+"/old", 0o700), os.WriteFile(base+"/images/a.img", nil, 0o600))
			if err = errors.Join(err, tt.change(base)); err != nil {
				t.Fatal(err)
			}
			refused := tt.want != "" || strings.HasPrefix(tt.name, "directory above")
			err = CheckOwner(base + "/images")
			if errors.Is(err, ErrUntrusted) != refused || err != nil && !strings.Contains(err.Error(), base+tt.want+": ") {
				t.Errorf("got %v", err)
			}
			// The same through a link.
			link := filepath.Join(base, "link")
			if err := os.Symlink("images", link); err != nil {
				t.Fatal(err)
			}
			if err := CheckOwner(link); errors.Is(err, ErrUntrusted) != refused {
				t.Errorf("through a link: got %v", err)
			}
		})
	}
}

func TestCheckOwnerMissing(t *testing.T) {
	err := CheckOwner(filepath.Join(t.TempDir(), "nothing"))
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrUntrusted) {
		t.Errorf("got %v", err)
	}
}

// mkdir makes a directory of exactly this mode.
func mkdir(path string, mode os.FileMode) error {
	return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, mode))
}

// TestCheckOwnerOnTheWay goes to sound images over links and directories that
// others can or cannot change.
func TestCheckOwnerOnTheWay(t *testing.T) {
	const nobody = 65534
	tests := []struct {
		name string
		make func(base string) error // Makes what leads from "way" to "real/images".
		want string                  // What the error names; "": none.
		root bool
	}{
		{"link", func(base string) error { return os.Symlink("real/images", base+"/way") }, "", false},
		{"absolute link", func(base string) error { return os.Symlink(base+"/real/images", base+"/way") }, "", false},
		{"chain", func(base string) error {
			return errors.Join(os.Mkdir(base+"/mid", 0o755), os.Symlink("../real", base+"/mid/link"), os.Symlink("mid/link/images", base+"/way"))
		}, "", false},
		{"chain over a directory of all", func(base string) error {
			return errors.Join(mkdir(base+"/open", 0o777), os.Symlink("open/link", base+"/way"), os.Symlink("../real/images", base+"/open/link"))
		}, "/open", false},
		{"chain over a sticky directory", func(base string) error {
			return errors.Join(mkdir(base+"/open", 0o777|os.ModeSticky), os.Symlink("open/link", base+"/way"), os.Symlink("../real/images", base+"/open/link"))
		}, "", false},
		{"chain over another's link in a sticky directory", func(base string) error {
			return errors.Join(mkdir(base+"/open", 0o777|os.ModeSticky), os.Symlink("open/link", base+"/way"), os.Symlink("../real/images", base+"/open/link"),
				os.Lchown(base+"/open/link", nobody, nobody))
		}, "/open/link", true},
		{"chain over another's directory", func(base string) error {
			return errors.Join(os.Mkdir(base+"/open", 0o755), os.Symlink("open/link", base+"/way"), os.Symlink("../real/images", base+"/open/link"),
				os.Chown(base+"/open", nobody, nobody))
		}, "/open", true},
		{"back out of another's directory", func(base string) error {
			return errors.Join(os.Mkdir(base+"/open", 0o755), os.Chown(base+"/open", nobody, nobody), os.Symlink("open/../real/images", base+"/way"))
		}, "/open", true},
		{"link to itself", func(base string) error { return os.Symlink("way", base+"/way") }, "loop", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			base, err := filepath.EvalSymlinks(t.TempDir())
			must(t, errors.Join(err, os.MkdirAll(base+"/real/images", 0o700), os.WriteFile(base+"/real/images/a.img", nil, 0o600), tt.make(base)))
			err = CheckOwner(base + "/way")
			switch {
			case tt.want == "":
				must(t, err)
			case tt.want == "loop":
				if !errors.Is(err, unix.ELOOP) {
					t.Errorf("got %v", err)
				}
			case !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), base+tt.want+": "):
				t.Errorf("got %v, want an error about %s", err, tt.want)
			}
		})
	}
}
