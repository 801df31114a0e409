// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// EnvState names the variable that says where crtime keeps what it has learned
// of this machine. All of it may be deleted at any time.
const EnvState = "CRTIME_STATE"

// stateDir is where crtime keeps what it has learned.
func stateDir() string {
	if dir := os.Getenv(EnvState); dir != "" {
		return dir
	}
	return "/var/lib/crtime"
}

// writeState replaces a file of the state directory. Readers never see half of
// one.
func writeState(path string, data []byte) error {
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, name+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// versionsFile holds the versions of the CRIUs that have been asked.
const versionsFile = "criu-versions.json"

// knownVersion returns the version of the program at path. Asking takes longer
// than all else that a dump does before it begins, so the answer is kept for as
// long as the file stays what it is.
func knownVersion(ctx context.Context, path string) (Version, error) {
	id, err := identify(path)
	if err != nil {
		return Version{}, err
	}
	file := filepath.Join(stateDir(), versionsFile)
	known := map[string]Version{}
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &known) != nil {
		known = map[string]Version{}
	}
	if v, ok := known[id]; ok {
		return v, nil
	}
	v, err := readVersion(ctx, path)
	if err != nil {
		return Version{}, err
	}
	// Nobody upgrades CRIU so often that a few entries would not do.
	const most = 16
	if len(known) >= most {
		clear(known)
	}
	known[id] = v
	if data, err := json.Marshal(known); err == nil {
		// Without it the next run asks again.
		_ = writeState(file, data)
	}
	return v, nil
}

// identify returns what changes when a file is replaced or written to.
func identify(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("stat of %s: unexpected type %T", path, info.Sys())
	}
	return fmt.Sprintf("%d:%d:%d:%d.%09d", st.Dev, st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec), nil
}
