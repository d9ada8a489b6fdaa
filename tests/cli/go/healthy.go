package main

import (
	"net"
	"os"
	"os/signal"
	"sync"
	"time"
)

// What a healthy service has: a pool of workers that waits for jobs, accept loops, a signal handler, timers, a goroutine that
// sleeps, connections with a reader and a writer each, a parent that waits for its children.
func healthy() func() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go func() {
		<-signals
		os.Exit(0)
	}()
	jobs := make(chan func(), 16)
	var workers sync.WaitGroup
	for i := 0; i < 200; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for job := range jobs {
				job()
			}
		}()
	}
	go workers.Wait()
	go func() {
		for range time.Tick(10 * time.Millisecond) {
		}
	}()
	go func() {
		for {
			time.Sleep(time.Second)
		}
	}()
	time.AfterFunc(time.Hour, func() {})
	go serveConnections(30)
	return func() {
		done := make(chan bool)
		jobs <- func() { close(done) }
		<-done
	}
}

var connections []net.Conn

// serveConnections keeps n idle connections to itself, each served by a reader and a writer.
func serveConnections(n int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for i := 0; i < n; i++ {
			c, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				panic(err)
			}
			connections = append(connections, c)
		}
	}()
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		out := make(chan []byte)
		go readFrom(c, out)
		go writeTo(c, out)
	}
}

func readFrom(c net.Conn, out chan []byte) {
	defer close(out)
	buffer := make([]byte, 1)
	for {
		if _, err := c.Read(buffer); err != nil {
			return
		}
		out <- append([]byte(nil), buffer...)
	}
}

func writeTo(c net.Conn, out chan []byte) {
	for b := range out { // idle: writer
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}
