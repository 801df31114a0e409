// SPDX-License-Identifier: Apache-2.0

package restore_test

import (
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/checkpoint-restore/go-criu/v7"
	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/restore"
)

// A program that restores with go-criu has crtime bring the clocks back right. Its own
// hooks go through crtime's.
func ExampleNotify() {
	images, err := os.Open("/var/lib/app/images")
	if err != nil {
		log.Fatal(err)
	}
	defer images.Close()
	opts := &rpc.CriuOpts{
		ImagesDirFd: proto.Int32(int32(images.Fd())),
		LogFile:     proto.String("restore.log"),
	}

	hooks, err := restore.NewNotify(opts, ownHooks{})
	if err != nil {
		log.Fatal(err)
	}
	defer hooks.Close()
	if err := criu.MakeCriu().Restore(opts, hooks); err != nil {
		log.Fatal(err)
	}
	fmt.Println("back after", hooks.Report().Plan.Outage.Duration)
}

// ownHooks are what the program had before.
type ownHooks struct{ criu.NoNotify }

// PostRestore implements criu.Notify.
func (ownHooks) PostRestore(pid int32) error {
	fmt.Println("complete:", pid)
	return nil
}

// A program that holds a lease by MONOTONIC must see the time that has passed.
func ExampleNotify_policy() {
	opts := &rpc.CriuOpts{ImagesDirFd: proto.Int32(3)}

	hooks, err := restore.NewNotify(opts, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer hooks.Close()
	hooks.Policy = clockstate.Elapsed
	if err := criu.MakeCriu().Restore(opts, hooks); err != nil {
		log.Fatal(err)
	}
}

// Options that name no image directory are refused before CRIU is asked.
func ExampleNewNotify() {
	_, err := restore.NewNotify(&rpc.CriuOpts{}, nil)
	fmt.Println(err)

	unprivileged := &rpc.CriuOpts{ImagesDir: proto.String("/var/lib/app/images"), Unprivileged: proto.Bool(true)}
	_, err = restore.NewNotify(unprivileged, nil)
	fmt.Println(errors.Is(err, restore.ErrUnprivileged))
	// Output:
	// the options name no image directory: set ImagesDirFd
	// true
}
