package main

import (
	"context"
	"errors"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

// The caller returns on an error; the sender of the second result stays.
func earlyReturn() func() {
	return func() {
		results := make(chan int)
		go func() {
			results <- 1 // leak: early_return
		}()
		if err := errors.New("refused"); err != nil {
			return
		}
		<-results
	}
}

// Workers range over a channel that nobody closes.
func forgotClose() func() {
	return func() {
		jobs := make(chan int)
		go consume(jobs)
		jobs <- 1
	}
}

func consume(jobs chan int) {
	for j := range jobs { // leak: forgot_close
		_ = j
	}
}

// A loop over a ticker that never looks at its context.
func tickerIgnoresContext() func() {
	return func() {
		ctx, cancel := context.WithCancel(context.Background())
		go poll(ctx)
		cancel()
	}
}

func poll(_ context.Context) {
	ticker := time.NewTicker(20 * time.Millisecond)
	for range ticker.C { // leak: ticker
	}
}

// The first one returns without unlocking.
func lockHeld() func() {
	var mu sync.Mutex
	mu.Lock()
	return func() {
		go update(&mu)
	}
}

func update(mu *sync.Mutex) {
	mu.Lock() // leak: lock_held
	defer mu.Unlock()
}

// cancel is never called.
func neverCancelled() func() {
	requests := 0
	return func() {
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel
		requests++
		labels := pprof.Labels("request", strconv.Itoa(requests)) // one stack, many labels
		pprof.Do(ctx, labels, func(ctx context.Context) {
			go watch(ctx, make(chan int))
		})
	}
}

func watch(ctx context.Context, events chan int) {
	select { // leak: never_cancel
	case <-events:
	case <-ctx.Done():
	}
}

// The channel was never made.
func nilChannel() func() {
	var never chan int
	return func() {
		go receive(never)
	}
}

func receive(c chan int) {
	<-c // leak: nil_channel
}
