// SPDX-License-Identifier: Apache-2.0

// Package criu is the engine that dumps and restores through CRIU, 4.2 or
// later, over CRIU's RPC.
//
// A dump and a restore are one conversation each with a `criu swrk` process: a
// request, notifications that CRIU waits on until they are answered, and a
// response. The messages are those of go-criu's rpc package. The conversation is
// carried here and not by go-criu's client, because the moments that matter for
// clocks are notifications which that client answers unseen (pre-resume), and
// because it knows no context.
//
// At restore CRIU itself is born inside the time namespace that crtime made,
// and reads the images through a view (package view) in which its own record of the
// clocks does not appear.
//
// CRIU ends by itself when crtime is killed: it finds its socket closed at the
// next notification and undoes what it did. So nothing here ever kills CRIU
// while it holds a tree.
package criu
