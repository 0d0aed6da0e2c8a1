package loopback_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"example.com/loopback"
)

// A server that every client of localhost reaches, whichever family it tries
// first, and nobody else.
func ExampleListen() {
	ln, err := loopback.Listen("tcp", ":0") // ":8080" in earnest
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	}))

	for _, addr := range ln.AddrPorts() { // 127.0.0.1 and, where there is IPv6, ::1
		resp, err := http.Get("http://" + addr.String())
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if addr == ln.AddrPorts()[0] {
			fmt.Println(string(body), err)
		}
	}
	// Output: hello <nil>
}

// What is not loopback is refused before there is a socket.
func ExampleListen_refused() {
	for _, address := range []string{"0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "example.com:8080"} {
		_, err := loopback.Listen("tcp", address)
		fmt.Println(errors.Is(err, loopback.ErrNotLoopback), err)
	}
	// Output:
	// true listen tcp: "0.0.0.0:8080": loopback: not a loopback address: it means every interface
	// true listen tcp: "[::]:8080": loopback: not a loopback address: it means every interface
	// true listen tcp: "192.0.2.1:8080": loopback: not a loopback address: it is outside 127.0.0.0/8 and not ::1
	// true listen tcp: "example.com:8080": loopback: not a loopback address: the host is neither a loopback address nor localhost
}

func ExampleListenConfig_Listen() {
	lc := loopback.ListenConfig{
		// Strangers whom routing lets in: a sign that something is set up wrong.
		OnReject: func(err error) { log.Print(err) },
	}
	ln, err := lc.Listen(context.Background(), "tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	for _, b := range ln.Bindings() {
		if !b.Bound() {
			log.Print(b) // "tcp6 [::1]:0 (not bound): ..." on a machine without IPv6
		}
	}
	fmt.Println(ln.Bindings()[0].Network, ln.Bindings()[0].Addr.Addr())
	// Output: tcp4 127.0.0.1
}

// Control functions for listeners and dialers of package net, whose address
// somebody else configures.
func ExampleRequire() {
	lc := net.ListenConfig{Control: loopback.Require}
	_, err := lc.Listen(context.Background(), "tcp", ":0")
	fmt.Println(errors.Is(err, loopback.ErrNotLoopback))

	d := net.Dialer{Control: loopback.Require}
	_, err = d.Dial("tcp", "192.0.2.1:80") // not a packet is sent
	fmt.Println(errors.Is(err, loopback.ErrNotLoopback))

	fmt.Println(loopback.Require("tcp", "127.0.0.1:80", nil)) // as a check
	// Output:
	// true
	// true
	// <nil>
}

// A listener that somebody else made.
func ExampleVerify() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	fmt.Println(loopback.Verify(ln.(*net.TCPListener)))
	// Output: <nil>
}

// Listeners that the process was started with: systemd hands over one for
// each family, from file descriptor 3 on.
func ExampleListenConfig_Adopt() {
	inherited, err := net.Listen("tcp", "127.0.0.1:0") // net.FileListener(os.NewFile(3, "")) in earnest
	if err != nil {
		log.Fatal(err)
	}
	ln, err := new(loopback.ListenConfig).Adopt(inherited)
	if err != nil {
		inherited.Close() // it is still ours
		log.Fatal(err)
	}
	defer ln.Close() // closes inherited as well
	fmt.Println(ln.Addr().String() == inherited.Addr().String(), ln.Bindings()[0].Network)
	// Output: true tcp4
}
