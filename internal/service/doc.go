// SPDX-License-Identifier: Apache-2.0

// Package service answers CRIU's RPC in CRIU's place, so that container runtimes,
// go-criu and libcriu programs get crtime's clocks without being changed.
//
// A Session is the conversation with one client over a SOCK_SEQPACKET socket: requests,
// notifications that wait for the client's answers, and responses, as messages of
// CRIU's schema. DUMP and RESTORE go through packages checkpoint and restore; requests
// that do not concern clocks are handed to a real CRIU as they are. Which engine does a
// dump or a restore is decided as everywhere (package choose), except that a request
// with an option which only CRIU knows goes to CRIU; that one gets the client's own
// options, and its notifications reach the client with the descriptors that come with
// them.
//
// Descriptor numbers in a request are of two kinds. Those of directories, of status_fd
// and of pidfd_store_sk are the client's: it is known from the socket (peer.go), and they
// are taken from it. Those of inherit_fd and of a page server are numbers that this process
// was started with; they are passed on to CRIU as they are.
//
// A Listener is `crtime service`: a named socket, and a process of its own for each
// client, which serves one Session.
package service
