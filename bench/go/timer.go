package main

import (
	"sync"
	"time"
)

// The i-th sleeper's time, spread over 0..100 ms; the same formula on every side.
func nap(i int) time.Duration {
	return time.Duration(uint64(uint32(i)*2654435761) * 100_000_000 >> 32)
}

func timers() (float64, bool) {
	return perOp(100_000, million, func(n int) {
		var wg sync.WaitGroup
		wg.Add(n)
		for i := 0; i < n; i++ {
			go func() {
				time.Sleep(nap(i))
				wg.Done()
			}()
		}
		wg.Wait()
	})
}
