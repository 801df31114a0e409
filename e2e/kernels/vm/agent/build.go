// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"sync"

	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// compilers are the names under which the agent passes for a compiler.
func compilers() []string { return []string{"cc", "gcc", "go"} }

// compile is the compiler: it asks the agent, which asks the host, and writes
// what that has made. It returns the status to exit with.
func compile(argv []string) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, fmt.Errorf("working directory: %w", err)
	}
	b := wire.Build{Dir: dir, Argv: append([]string{filepath.Base(argv[0])}, argv[1:]...)}
	if b.Output() == 0 {
		return 0, errors.New("the compiler of this machine needs -o NAME")
	}
	client, err := rpc.Dial("unix", wire.BuildSocket)
	if err != nil {
		return 0, fmt.Errorf("reaching the agent: %w", err)
	}
	defer client.Close()
	var built wire.Built
	if err := client.Call("Builds.Build", b, &built); err != nil {
		return 0, fmt.Errorf("having the host compile: %w", err)
	}
	if _, err := os.Stderr.Write(built.Words); err != nil {
		return 0, err
	}
	if built.Status != 0 {
		return built.Status, nil
	}
	if err := os.WriteFile(b.Argv[b.Output()], built.File, 0o755); err != nil {
		return 0, fmt.Errorf("writing what was compiled: %w", err)
	}
	return 0, nil
}

// Builds takes the requests of compilers to the host.
type Builds struct {
	waiting chan wire.Build

	mu      sync.Mutex // Guards the rest.
	last    int
	answers map[int]chan wire.Built
}

// serveBuilds listens for compilers.
func serveBuilds() (*Builds, error) {
	b := &Builds{waiting: make(chan wire.Build), answers: map[int]chan wire.Built{}}
	server := rpc.NewServer()
	if err := server.Register(b); err != nil {
		return nil, fmt.Errorf("registering the compiler: %w", err)
	}
	l, err := net.Listen("unix", wire.BuildSocket)
	if err != nil {
		return nil, fmt.Errorf("listening for compilers: %w", err)
	}
	go server.Accept(l)
	return b, nil
}

// Build is what a compiler asks for. It waits for the host.
func (b *Builds) Build(request wire.Build, built *wire.Built) error { //nolint:unparam // What net/rpc wants.
	answer := make(chan wire.Built, 1)
	b.mu.Lock()
	b.last++
	request.ID = b.last
	b.answers[request.ID] = answer
	b.mu.Unlock()
	b.waiting <- request
	*built = <-answer
	return nil
}

// NextBuild waits until there is something to compile.
func (s *Service) NextBuild(_ wire.Nothing, b *wire.Build) error { //nolint:unparam // What net/rpc wants.
	*b = <-s.builds.waiting
	return nil
}

// Built takes what the host has compiled.
func (s *Service) Built(built wire.Built, _ *wire.Nothing) error {
	s.builds.mu.Lock()
	answer, ok := s.builds.answers[built.ID]
	delete(s.builds.answers, built.ID)
	s.builds.mu.Unlock()
	if !ok {
		return fmt.Errorf("nobody waits for build %d", built.ID)
	}
	answer <- built
	return nil
}
