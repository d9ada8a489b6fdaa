package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"time"
)

// findLeaks times one collection of the goroutineleak profile over n blocked goroutines. The profile exists in a Go
// whose GOEXPERIMENT goroutineleakprofile is on.
func findLeaks(shape func(n int) (leaked int), n int) (float64, bool) {
	profile := pprof.Lookup("goroutineleak")
	if profile == nil {
		return 0, false
	}
	if n > 1000 {
		n = count(n)
	}
	leaked := shape(n)
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	if err := profile.WriteTo(io.Discard, 0); err != nil {
		panic(err)
	}
	took := time.Since(start)
	if found := profile.Count(); found != leaked {
		fmt.Fprintf(os.Stderr, "gobench: %d leaks found, %d were made\n", found, leaked)
		return 0, false
	}
	return took.Seconds() * 1000, true
}

//go:noinline
func waitHolding(in <-chan int, out chan<- int) {
	arrived.Add(1)
	<-in
	out <- 1
}

//go:noinline
func sleepHolding(out chan<- int) {
	arrived.Add(1)
	time.Sleep(time.Hour)
	out <- 1
}

// Two goroutines hold the channels that the other one waits for, n/2 times.
func pairs(n int) int {
	for i := 0; i < n/2; i++ {
		a, b := make(chan int), make(chan int)
		go waitHolding(a, b)
		go waitHolding(b, a)
	}
	awaitArrivals(int64(n / 2 * 2))
	return n / 2 * 2
}

// Each goroutine holds the channel that the one before it waits for; the last is the first one's neighbour.
func ring(n int) int {
	first := make(chan int)
	out := first
	for i := 0; i < n-1; i++ {
		in := make(chan int)
		go waitHolding(in, out)
		out = in
	}
	go waitHolding(first, out)
	awaitArrivals(int64(n))
	return n
}

// As the ring, but the last one sleeps: nobody is leaked.
func chain(n int) int {
	out := make(chan int)
	go waitHolding(out, nil)
	for i := 0; i < n-2; i++ {
		in := make(chan int)
		go waitHolding(in, out)
		out = in
	}
	go sleepHolding(out)
	awaitArrivals(int64(n))
	runtime.KeepAlive(out)
	return 0
}
