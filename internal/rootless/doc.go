// SPDX-License-Identifier: Apache-2.0

// Package rootless lets ordinary users dump and restore what is theirs.
//
// Inside a user namespace of their own the kernel lets them do nearly all that this
// takes. So a program that is to be dumped later is started in namespaces of its own:
// user, pid, mount, and time. Start makes them. Their first process is a keeper, which
// is crtime: it starts the program, collects what is left behind, and starts further
// crtimes among the processes for whoever asks it (Keeper.Run), with the same user and
// the privileges of the namespace. They see the program as root would see it.
//
// It is asked through a socket in a folder that is the user's alone.
//
// The keeper lives as long as there is anybody else, and ends with the status of the
// program. The program itself has no privileges that its user does not have.
package rootless
