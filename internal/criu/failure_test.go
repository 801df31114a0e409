// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"
)

func TestOutcome(t *testing.T) {
	log := filepath.Join(t.TempDir(), "dump.log")
	const text = "(00.004) Warn  (criu/x.c:1): not this\n" +
		"(00.004) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n" +
		"(00.005) Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.\n" +
		"(00.006) Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.\n" +
		"(00.007) Error (criu/cr-dump.c:2128): Dumping FAILED.\n"
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	resp := &rpc.CriuResp{Success: proto.Bool(false), CrErrno: proto.Int32(int32(syscall.EEXIST))}
	err := outcome("dump", resp, nil, log)
	var f *RequestError
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a RequestError", err)
	}
	if len(f.Lines) != 1 || !strings.Contains(f.Hint, "--tcp-established") || !errors.Is(err, syscall.EEXIST) {
		t.Errorf("got %+v", f)
	}
	if err := outcome("dump", &rpc.CriuResp{Success: proto.Bool(true)}, nil, log); err != nil {
		t.Errorf("success: %v", err)
	}
	hangUp := errors.New("criu hung up")
	if err := outcome("dump", nil, hangUp, log); !errors.Is(err, hangUp) {
		t.Errorf("the cause is lost: %v", err)
	}
	refusal := errors.New("we refused")
	if err := outcome("dump", resp, refusal, log); !errors.Is(err, refusal) {
		t.Errorf("our own refusal is lost: %v", err)
	}
}

func TestParseVersion(t *testing.T) {
	tests := []struct {
		out  string
		want Version
		ok   bool
	}{
		{"Version: 4.2.1\n", Version{4, 2, 1}, true},
		{"Version: 4.2\nGitID: v4.2\n", Version{4, 2, 0}, true},
		{"Warn: something\nVersion: 3.17.1\n", Version{3, 17, 1}, true},
		{"", Version{}, false},
		{"GNU coreutils 9\n", Version{}, false},
		{"Version: 99999999999999999999.1\n", Version{}, false},
	}
	for _, tt := range tests {
		got, err := parseVersion([]byte(tt.out))
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: got %v, %v", tt.out, got, err)
		}
	}
	if !(Version{4, 1, 9}).Before(Oldest()) || Oldest().Before(Oldest()) || (Version{5, 0, 0}).Before(Oldest()) {
		t.Error("versions are ordered wrongly")
	}
}

func TestFindNothing(t *testing.T) {
	t.Setenv(EnvState, t.TempDir())
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CRTIME_CACHE", t.TempDir())
	t.Setenv(EnvPath, "")
	if _, err := Find(t.Context(), ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := Find(t.Context(), "/bin/true"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a program that is not CRIU: %v", err)
	}
}

func TestKnownVersion(t *testing.T) {
	t.Setenv(EnvState, t.TempDir())
	path := filepath.Join(t.TempDir(), "criu")
	for _, want := range []Version{{4, 2, 0}, {4, 3, 0}} {
		script := "#!/bin/sh\necho asked >> " + path + ".log\necho Version: " + want.String() + "\n"
		if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got, err := knownVersion(t.Context(), path); got != want || err != nil {
				t.Errorf("got %v, %v; want %v", got, err, want)
			}
		}
	}
	log, err := os.ReadFile(path + ".log")
	if err != nil {
		t.Fatal(err)
	}
	if asked := strings.Count(string(log), "asked"); asked != 2 {
		t.Errorf("asked %d times, want once for each of two versions", asked)
	}
}

func TestFindTooOld(t *testing.T) {
	t.Setenv(EnvState, t.TempDir())
	old := filepath.Join(t.TempDir(), "criu")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho Version: 4.1.1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), old); !errors.Is(err, ErrTooOld) {
		t.Errorf("got %v", err)
	}
}
