// SPDX-License-Identifier: Apache-2.0

// Gotarget FILE: many goroutines compute, sleep and send to each other, and
// check what they get. FILE is shared memory as for the C programs.
package main

import (
	"crypto/sha256"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	f, err := os.OpenFile(os.Args[1], os.O_RDWR, 0)
	if err != nil {
		os.Exit(1)
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		os.Exit(1)
	}
	shared := (*[2]atomic.Uint64)(unsafe.Pointer(&b[0]))
	block := make([]byte, 4096)
	want := sha256.Sum256(block)
	c := make(chan int)
	for i := range 50 {
		go func() {
			for {
				if sha256.Sum256(block) != want {
					shared[1].Store(1)
				}
				c <- i
				time.Sleep(time.Millisecond)
			}
		}()
	}
	for i := range c {
		if i < 0 || i >= 50 {
			shared[1].Store(2)
		}
		_ = make([]byte, 1<<14)
		shared[0].Add(1)
	}
}
