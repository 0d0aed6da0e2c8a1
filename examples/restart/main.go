//go:build unix

// Restart is a web server that replaces itself by a new process without
// refusing a connection: a hangup signal starts a copy that adopts its sockets.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
)

const usage = `usage: restart [-addr address]

Restart answers on both loopback addresses of this machine and nowhere else,
with the number of its process. A hangup signal (SIGHUP) makes it start a copy
of itself that takes over its sockets. An interrupt ends it.

flags:
  -addr address  as loopback.Listen takes it (":3000")
`

// inherited is the environment variable with the number of sockets that a
// process was given: descriptors 3 and on. A pipe comes after them, which the
// process closes when it serves.
const inherited = "RESTART_SOCKETS"

func main() {
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	addr := flag.String("addr", ":3000", "")
	flag.Parse()
	if err := run(*addr); err != nil {
		fmt.Fprintln(os.Stderr, "restart:", err)
		os.Exit(1)
	}
}

// run serves until it is interrupted, or a copy has taken over.
func run(addr string) error {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)

	ln, err := listen(addr)
	if err != nil {
		return err
	}
	srv := new(loopbackhttp.Guard).Server(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, os.Getpid())
	}))
	var open sync.WaitGroup // the connections
	srv.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Done()
		}
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	fmt.Println(os.Getpid(), ln.URL("http"))
	for wait := true; wait; {
		select {
		case err := <-served:
			return err
		case <-stop.Done():
			wait = false
		case <-hangup:
			if err := handOver(ln); err != nil {
				fmt.Fprintln(os.Stderr, "restart: still here:", err)
				continue
			}
			wait = false
		}
	}
	// Not with Shutdown: it drops requests on connections that were accepted and
	// not yet read from.
	ln.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		return err
	}
	srv.SetKeepAlivesEnabled(false)
	defer time.AfterFunc(time.Minute, func() { srv.Close() }).Stop()
	open.Wait()
	return nil
}

// listen adopts the sockets of the process before, or makes its own.
func listen(addr string) (*loopback.Listener, error) {
	n, err := strconv.Atoi(os.Getenv(inherited))
	if err != nil {
		return loopback.Listen("tcp", addr)
	}
	var lns []net.Listener
	for fd := 3; fd < 3+n; fd++ {
		f := os.NewFile(uintptr(fd), "socket")
		ln, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		lns = append(lns, ln)
	}
	ln, err := new(loopback.ListenConfig).Adopt(lns...)
	if err == nil {
		os.NewFile(uintptr(3+n), "ready").Close() // the queues of the sockets are this process's now
	}
	return ln, err
}

// handOver starts a copy of this program with the sockets of ln, and waits
// until it has adopted them.
func handOver(ln *loopback.Listener) error {
	files, err := ln.Files()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Env = append(os.Environ(), inherited+"="+strconv.Itoa(len(files)))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = append(files, w)
	err = cmd.Start()
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ready := make(chan struct{})
	go func() {
		_, _ = r.Read(make([]byte, 1)) // until the copy closes its end, or ends
		close(ready)
	}()
	<-ready
	select {
	case err := <-ended:
		return fmt.Errorf("the copy ended: %w", cmp.Or(err, errors.New("it served nothing")))
	default:
		return nil
	}
}
