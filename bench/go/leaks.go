package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"time"
)

// findLeaks times one collection of the goroutineleak profile over n blocked goroutines. The profile exists in a Go
// whose GOEXPERIMENT goroutineleakprofile is on.
func findLeaks(shape func(n int) (leaked int), n int) (float64, bool) {
	profile := pprof.Lookup("goroutineleak")
	if profile == nil {
		return 0, false
	}
	if n == million {
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

// sample notes, until told to stop, how much later than asked a goroutine goes on: beside five collections of the profile
// in a row, or beside nothing for as long as leash's five passes may take.
func sample(once func() time.Duration, collect func(), key string) {
	var over atomic.Bool
	delays := make([]int64, 0, 32*million)
	done := make(chan struct{})
	go func() {
		for !over.Load() && len(delays) < cap(delays) {
			delays = append(delays, int64(max(once(), 0)))
		}
		close(done)
	}()
	if collect == nil {
		time.Sleep(750 * time.Millisecond)
	} else {
		for i := 0; i < 5; i++ {
			collect()
		}
	}
	over.Store(true)
	<-done
	slices.Sort(delays)
	for _, at := range []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
		fmt.Printf("%s_%s %d %d\n", key, at.name, runtime.GOMAXPROCS(0), delays[int(at.share*float64(len(delays)-1))])
	}
}

// findLeaksLatency returns the number of goroutines that the collections look at.
func findLeaksLatency() (float64, bool) {
	profile := pprof.Lookup("goroutineleak")
	if profile == nil {
		return 0, false
	}
	collect := func() {
		if err := profile.WriteTo(io.Discard, 0); err != nil {
			panic(err)
		}
	}
	sleepOnce := func() time.Duration {
		start := time.Now()
		time.Sleep(time.Millisecond)
		return time.Since(start) - time.Millisecond
	}
	yieldOnce := func() time.Duration {
		start := time.Now()
		runtime.Gosched()
		return time.Since(start)
	}
	n := pairs(count(million))
	sample(sleepOnce, nil, "latency_sleep_alone")
	sample(sleepOnce, collect, "latency_sleep_pass")
	sample(yieldOnce, nil, "latency_yield_alone")
	sample(yieldOnce, collect, "latency_yield_pass")
	return float64(n), true
}
