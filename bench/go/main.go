// The Go side of the comparison: gobench --row NAME --workers N prints one line "name workers value".
// The shapes and counts are those of bench/leash; bench/README.md says what each row measures.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

const million = 1_000_000

// Counts are divided by this under --divide, for a quick look.
var divide = 1

func count(n int) int { return max(n/divide, 8) }

// A row returns its value, or false where this Go cannot do it.
type row func() (float64, bool)

var rows = map[string]row{
	"spawn_join_1m":          spawnJoinAll,
	"spawn_join_one":         spawnJoinOne,
	"pingpong_unbuffered":    pingpong,
	"channel_1x1_128":        func() (float64, bool) { return pipe(1) },
	"channel_4x4_128":        func() (float64, bool) { return pipe(4) },
	"select4_buffered":       func() (float64, bool) { return select4(128) },
	"select4_unbuffered":     func() (float64, bool) { return select4(0) },
	"mutex_alone":            func() (float64, bool) { return lockUnlock(1) },
	"mutex_8":                func() (float64, bool) { return lockUnlock(8) },
	"yield_2":                yield2,
	"skynet_1m":              skynetTree,
	"timers_1m":              timers,
	"bytes_per_blocked":      bytesPerBlocked,
	"create_block_1m":        createBlock,
	"cancel_1m":              cancelAll,
	"find_leaks_pairs_1m_ms": func() (float64, bool) { return findLeaks(pairs, million) },
	"find_leaks_ring_1m_ms":  func() (float64, bool) { return findLeaks(ring, million) },
	"find_leaks_chain_1m_ms": func() (float64, bool) { return findLeaks(chain, million) },
	"find_leaks_chain_1k_ms": func() (float64, bool) { return findLeaks(chain, 1000) },
	"find_leaks_latency":     findLeaksLatency,
	"reclaim_pairs_1m":       nothingAlike,
	"reclaim_ring_1m":        nothingAlike,
}

func init() {
	for name, shape := range map[string]func(int) int{"pairs": pairs, "ring": ring, "chain": chain} {
		rows["find_leaks_"+name+"_10k_ms"] = func() (float64, bool) { return findLeaks(shape, 10_000) }
		rows["find_leaks_"+name+"_100k_ms"] = func() (float64, bool) { return findLeaks(shape, 100_000) }
	}
}

// perOp runs op warm and then three times measured; the median, in ns per operation.
func perOp(warm, n int, op func(n int)) (float64, bool) {
	op(count(warm))
	n = count(n)
	var took [3]float64
	for i := range took {
		start := time.Now()
		op(n)
		took[i] = float64(time.Since(start).Nanoseconds()) / float64(n)
	}
	slices.Sort(took[:])
	return took[1], true
}

// What Go has nothing alike for.
func nothingAlike() (float64, bool) { return 0, false }

func main() {
	name := flag.String("row", "", "the row to measure")
	workers := flag.Int("workers", 1, "GOMAXPROCS")
	flag.IntVar(&divide, "divide", 1, "divide the counts by this")
	flag.Parse()
	measure, known := rows[*name]
	if !known || divide < 1 || *workers < 1 || flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "gobench: no such row or a bad argument: --row %q\n", *name)
		os.Exit(2)
	}
	runtime.GOMAXPROCS(*workers)
	if value, ok := measure(); ok {
		fmt.Printf("%s %d %.4g\n", *name, *workers, value)
	} else {
		fmt.Printf("%s %d null\n", *name, *workers)
	}
}
