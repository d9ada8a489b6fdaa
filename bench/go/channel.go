package main

import "sync"

func pingpong() (float64, bool) {
	return perOp(100_000, 2*million, func(n int) {
		there, back := make(chan int), make(chan int)
		go func() {
			for v := range there {
				back <- v
			}
			close(back)
		}()
		for i := 0; i < n; i++ {
			there <- i
			if <-back != i {
				panic("pingpong: wrong value")
			}
		}
		close(there)
		<-back
	})
}

// pipe moves values from `each` producers to `each` consumers.
func pipe(each int) (float64, bool) {
	return perOp(100_000, 4*million, func(n int) {
		ch := make(chan int, 128)
		var producers, consumers sync.WaitGroup
		producers.Add(each)
		consumers.Add(each)
		got := make([]int, each)
		for g := 0; g < each; g++ {
			go func() {
				for i := 0; i < n/each; i++ {
					ch <- i
				}
				producers.Done()
			}()
			go func() {
				items := 0
				for range ch {
					items++
				}
				got[g] = items
				consumers.Done()
			}()
		}
		producers.Wait()
		close(ch)
		consumers.Wait()
		total := 0
		for _, items := range got {
			total += items
		}
		if total != n/each*each {
			panic("pipe: items lost")
		}
	})
}

func select4(capacity int) (float64, bool) {
	return perOp(100_000, 2*million, func(n int) {
		var ch [4]chan int
		for g := range ch {
			ch[g] = make(chan int, capacity)
			go func() {
				for i := 0; i < n/4; i++ {
					ch[g] <- 1
				}
			}()
		}
		items := n / 4 * 4
		done := make(chan int)
		go func() {
			sum := 0
			for i := 0; i < items; i++ {
				select {
				case v := <-ch[0]:
					sum += v
				case v := <-ch[1]:
					sum += v
				case v := <-ch[2]:
					sum += v
				case v := <-ch[3]:
					sum += v
				}
			}
			done <- sum
		}()
		if <-done != items {
			panic("select: items lost")
		}
	})
}
