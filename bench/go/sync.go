package main

import "sync"

func lockUnlock(goroutines int) (float64, bool) {
	return perOp(million, 10*million, func(n int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		counter := 0
		wg.Add(goroutines)
		for g := 0; g < goroutines; g++ {
			go func() {
				for i := 0; i < n/goroutines; i++ {
					mu.Lock()
					counter++
					mu.Unlock()
				}
				wg.Done()
			}()
		}
		wg.Wait()
		if counter != n/goroutines*goroutines {
			panic("mutex: wrong count")
		}
	})
}
