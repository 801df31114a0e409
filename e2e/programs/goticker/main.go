// SPDX-License-Identifier: Apache-2.0

// Command goticker reads its clocks in a loop and prints what they said, as
// the C ticker does, while many goroutines and timers of the Go runtime run
// beside it. Each of them checks that no wait that it asked for ended early on
// CLOCK_MONOTONIC; what it finds is printed as a line that begins with "early".
package main

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	goroutines := flag.Int("goroutines", 200, "goroutines that sleep and tick")
	interval := flag.Duration("interval", time.Millisecond, "pause between two records; 0: none are printed")
	work := flag.Int("work", 0, "goroutines that compute, on the small stacks that they begin with")
	listen := flag.String("listen", "", "listen on this `address` as well")
	flag.Parse()
	if *listen != "" {
		l, err := net.Listen("tcp", *listen)
		if err != nil {
			fmt.Fprintln(os.Stderr, "goticker:", err)
			os.Exit(1)
		}
		go acceptForever(l)
	}
	p := &printer{out: bufio.NewWriter(os.Stdout)}
	for i := range *goroutines {
		go p.sleepForever(time.Duration(1+i%50) * time.Millisecond)
	}
	for range *work {
		go p.computeForever()
	}
	go p.tickForever(7 * time.Millisecond)
	p.rearmForever(11 * time.Millisecond)
	if *interval == 0 {
		select {}
	}
	err := p.printRecords(*interval)
	fmt.Fprintln(os.Stderr, "goticker:", err)
	os.Exit(1)
}

// acceptForever closes each connection at once: what matters is the listener.
func acceptForever(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

// printer serialises the lines of all goroutines.
type printer struct {
	fired atomic.Int64

	mu  sync.Mutex // Guards out.
	out *bufio.Writer
}

func (p *printer) line(format string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintf(p.out, format+"\n", args...); err != nil {
		return err
	}
	return p.out.Flush()
}

// sleepForever checks each sleep against CLOCK_MONOTONIC itself: time.Since
// would ask the runtime that is under test.
func (p *printer) sleepForever(d time.Duration) {
	for {
		begin := read(unix.CLOCK_MONOTONIC)
		time.Sleep(d)
		p.check("sleep", begin, d)
	}
}

// computeForever sums up in two ways, the second time by values that other goroutines
// hand over, born for that.
func (p *printer) computeForever() {
	for n := 1.0; ; n = math.Mod(n*7+1, 1000) {
		integers, floats := make(chan uint64), make(chan float64)
		go func() {
			sum := uint64(0)
			for i := range uint64(n) {
				sum += (i + 1) * (i + 1)
			}
			integers <- sum
		}()
		go func() {
			sum := 0.0
			for i := 1.0; i <= n; i++ {
				sum += i * i
			}
			floats <- sum
		}()
		whole, float := <-integers, <-floats
		if want := uint64(n) * (uint64(n) + 1) * (2*uint64(n) + 1) / 6; whole != want || float != float64(want) {
			_ = p.line("wrong: the squares up to %v make %v and %v, not %v", n, whole, float, want)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

func (p *printer) tickForever(d time.Duration) {
	for range time.Tick(d) {
		p.fired.Add(1)
	}
}

func (p *printer) rearmForever(d time.Duration) {
	begin := read(unix.CLOCK_MONOTONIC)
	time.AfterFunc(d, func() {
		p.check("timer", begin, d)
		p.rearmForever(d)
	})
}

// check reports a wait that took less than d. A failed write ends the program
// in printRecords, which writes to the same output.
func (p *printer) check(what string, begin int64, d time.Duration) {
	p.fired.Add(1)
	if took := read(unix.CLOCK_MONOTONIC) - begin; took < d.Nanoseconds() {
		_ = p.line("early %s of %d ns took %d ns", what, d.Nanoseconds(), took)
	}
}

// printRecords returns only with an error.
func (p *printer) printRecords(interval time.Duration) error {
	for n := 0; ; n++ {
		first := read(unix.CLOCK_REALTIME)
		mono := read(unix.CLOCK_MONOTONIC)
		raw := read(unix.CLOCK_MONOTONIC_RAW)
		coarse := read(unix.CLOCK_MONOTONIC_COARSE)
		boot := read(unix.CLOCK_BOOTTIME)
		last := read(unix.CLOCK_REALTIME)
		if err := p.line("clk %d %d %d %d %d %d %d", n, first, mono, raw, coarse, boot, last); err != nil {
			return err
		}
		if n%100 == 0 {
			if err := p.line("fired %d", p.fired.Load()); err != nil {
				return err
			}
		}
		time.Sleep(interval)
	}
}

// read returns a clock in nanoseconds. These clocks exist on every kernel that
// the tests run on, so an error leaves 0, which the analysis shows as backward.
func read(clock int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}
