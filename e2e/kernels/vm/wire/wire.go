// SPDX-License-Identifier: Apache-2.0

// Package wire holds what the host and the agent inside a virtual machine say to
// each other: the requests of net/rpc, and where they meet. The agent's methods
// are those of its type Service.
package wire

import "time"

// PortName names the virtio port that the two talk over.
const PortName = "crtime"

// Nothing is an empty request or answer.
type Nothing struct{}

// Command is a program to run in the guest.
type Command struct {
	// Argv is the program, looked up in the guest's PATH, and its arguments.
	Argv []string
	// Env is added to the agent's own environment.
	Env []string
	// Dir is the working directory; / if empty.
	Dir string
	// Output is a file that takes what the program prints, if it is to be
	// started and not waited for.
	Output string
	// Timeout ends a program that is waited for: first SIGQUIT, which makes a Go
	// program say where it is, then SIGKILL. There must be one.
	Timeout time.Duration
}

// Outcome is how a program ended.
type Outcome struct {
	// Status is 0 if it ended well, and says in words what else.
	Status int
	Words  string
	// Output and Errors are what it printed to the two standard streams.
	Output, Errors []byte
	// Took is how long it ran, by the guest's clock.
	Took time.Duration
}

// Files is an archive, in the format of archive/tar, and the folder that its
// names are relative to.
type Files struct {
	Dir string
	Tar []byte
}

// Greeting is what the agent says of its machine.
type Greeting struct {
	// Release is the kernel's.
	Release string
	// ClockSource is the kernel's choice; tsc and kvm-clock are those that
	// programs can read without a system call.
	ClockSource string
	// Boottime is CLOCK_BOOTTIME: how long the machine runs.
	Boottime time.Duration
	// Realtime is CLOCK_REALTIME in nanoseconds.
	Realtime int64
}

// Build is a call of a compiler in the guest, which has none: the host runs it.
// The tests of some packages compile their own helper programs.
type Build struct {
	ID int
	// Dir is the working directory in the guest, which is SourceDir and the
	// folder of the package in the source tree.
	Dir string
	// Argv is the compiler and its arguments; "-o NAME" is among them.
	Argv []string
}

// Built is what became of it.
type Built struct {
	ID     int
	Status int
	Words  []byte // What the compiler printed.
	File   []byte // What it made.
}

// SourceDir is where the tests of packages believe that the source tree is.
const SourceDir = "/src"

// BuildSocket is where the guest's compiler meets the agent.
const BuildSocket = "/run/build"

// Output returns where in Argv the name of what is to be made stands, after "-o";
// 0 if nowhere.
func (b Build) Output() int {
	for i, arg := range b.Argv {
		if arg == "-o" && i+1 < len(b.Argv) {
			return i + 1
		}
	}
	return 0
}
