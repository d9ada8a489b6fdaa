package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Goroutines that are about to park, or have.
var arrived atomic.Int64

//go:noinline
func block(ch <-chan int) {
	arrived.Add(1)
	<-ch
}

// park starts n goroutines that wait on ch and returns when all of them do.
func park(ch chan int, n int) {
	want := arrived.Load() + int64(n)
	for i := 0; i < n; i++ {
		go block(ch)
	}
	awaitArrivals(want)
}

func awaitArrivals(want int64) {
	for arrived.Load() != want {
		runtime.Gosched()
	}
}

func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	var size, resident int64
	fmt.Sscan(string(text), &size, &resident)
	return resident * int64(os.Getpagesize())
}

func bytesPerBlocked() (float64, bool) {
	ch, n := make(chan int), count(million)
	park(ch, 1000)
	before := residentBytes()
	park(ch, n)
	return float64(residentBytes()-before) / float64(n), true
}

// createBlock is measured on fresh memory: the first million of the process.
func createBlock() (float64, bool) {
	ch, n := make(chan int), count(million)
	park(ch, 1000)
	start := time.Now()
	park(ch, n)
	return float64(time.Since(start).Nanoseconds()) / float64(n), true
}

// cancelAll ends goroutines that wait on a channel and on their context, as Go programs do.
func cancelAll() (float64, bool) {
	ch, n := make(chan int), count(million)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			arrived.Add(1)
			select {
			case <-ch:
			case <-ctx.Done():
			}
			wg.Done()
		}()
	}
	awaitArrivals(int64(n))
	start := time.Now()
	cancel()
	wg.Wait()
	return float64(time.Since(start).Nanoseconds()) / float64(n), true
}
