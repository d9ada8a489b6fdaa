// A service with a planted leak, or a healthy one. It prints its address, leaks one goroutine for each request to /work, and
// serves its profiles. Run: leaky KIND
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"sort"
)

// kinds says for each leak how to prepare it, and what one request does.
var kinds = map[string]func() func(){
	"early_return": earlyReturn,
	"forgot_close": forgotClose,
	"ticker":       tickerIgnoresContext,
	"lock_held":    lockHeld,
	"never_cancel": neverCancelled,
	"nil_channel":  nilChannel,
	"healthy":      healthy,
}

func main() {
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(os.Args) != 2 || kinds[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: leaky", names)
		os.Exit(2)
	}
	work := kinds[os.Args[1]]()
	http.HandleFunc("/work", func(w http.ResponseWriter, r *http.Request) { work() })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	// The test holds the other end of standard input: the service ends with the test.
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		buffer := make([]byte, 1)
		os.Stdin.Read(buffer)
		stop()
	}()
	go http.Serve(listener, nil)
	<-ctx.Done()
}
