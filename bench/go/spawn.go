package main

import (
	"runtime"
	"sync"
)

//go:noinline
func empty(wg *sync.WaitGroup) { wg.Done() }

func spawnJoinAll() (float64, bool) {
	return perOp(million, million, func(n int) {
		var wg sync.WaitGroup
		wg.Add(n)
		for i := 0; i < n; i++ {
			go empty(&wg)
		}
		wg.Wait()
	})
}

// spawnJoinOne joins by a WaitGroup and by a channel and gives the faster.
func spawnJoinOne() (float64, bool) {
	byGroup, _ := perOp(100_000, million, func(n int) {
		var wg sync.WaitGroup
		for i := 0; i < n; i++ {
			wg.Add(1)
			go empty(&wg)
			wg.Wait()
		}
	})
	byChannel, _ := perOp(100_000, million, func(n int) {
		done := make(chan struct{})
		for i := 0; i < n; i++ {
			go func() { done <- struct{}{} }()
			<-done
		}
	})
	return min(byGroup, byChannel), true
}

func skynet(out chan<- int64, num, size int64) {
	if size == 1 {
		out <- num
		return
	}
	in := make(chan int64)
	for i := int64(0); i < 10; i++ {
		go skynet(in, num+i*size/10, size/10)
	}
	var sum int64
	for i := 0; i < 10; i++ {
		sum += <-in
	}
	out <- sum
}

func skynetTree() (float64, bool) {
	leaves := 10
	for leaves*10 <= count(million) {
		leaves *= 10
	}
	tree := func(int) {
		out := make(chan int64)
		go skynet(out, 0, int64(leaves))
		if want := int64(leaves) * int64(leaves-1) / 2; <-out != want {
			panic("skynet: wrong sum")
		}
	}
	value, ok := perOp(million, million, tree)
	return value * float64(count(million)) / float64(leaves), ok
}

func yield2() (float64, bool) {
	return perOp(million, 10*million, func(n int) {
		var wg sync.WaitGroup
		wg.Add(2)
		for g := 0; g < 2; g++ {
			go func() {
				for i := 0; i < n/2; i++ {
					runtime.Gosched()
				}
				wg.Done()
			}()
		}
		wg.Wait()
	})
}
