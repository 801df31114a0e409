// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/checkpoint-restore/go-criu/v7"
	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/checkpoint"
)

// A program that dumps with go-criu has crtime record the clocks. It has no hooks of its
// own: it would give them instead of nil.
func ExampleNotify() {
	images, err := os.Open("/var/lib/app/images")
	if err != nil {
		log.Fatal(err)
	}
	defer images.Close()
	opts := &rpc.CriuOpts{
		Pid:         proto.Int32(4711),
		ImagesDirFd: proto.Int32(int32(images.Fd())),
		LogFile:     proto.String("dump.log"),
	}

	hooks := checkpoint.NewNotify(opts, nil)
	defer hooks.Close()
	if err := criu.MakeCriu().Dump(opts, hooks); err != nil {
		log.Fatal(err)
	}
	fmt.Println("MONOTONIC at the freeze:", hooks.Report().State.Freeze.Monotonic)
}

// A thread that is stopped in the middle of reading a clock would read it wrong after the
// restore. Such a dump is refused, and made again. After some attempts it is accepted.
func ExampleNotify_again() {
	opts := &rpc.CriuOpts{Pid: proto.Int32(4711), ImagesDirFd: proto.Int32(3)}

	hooks := checkpoint.NewNotify(opts, nil)
	defer hooks.Close()
	err := checkpoint.ErrClockRead
	for errors.Is(err, checkpoint.ErrClockRead) {
		err = criu.MakeCriu().Dump(opts, hooks)
	}
	if err != nil {
		log.Fatal(err)
	}
	if thread := hooks.Report().ClockReader; thread != 0 {
		fmt.Println("thread", thread, "may see one wrong reading")
	}
}
