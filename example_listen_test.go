package loopback_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/rpc"
	"time"

	"example.com/loopback"
)

// Arith is the service of ExampleListen_server.
type Arith struct{}

// Double answers with twice n.
func (Arith) Double(n int, answer *int) error {
	*answer = 2 * n
	return nil
}

// Whatever serves a net.Listener serves a Listener: net/rpc here; gRPC, SSH and
// others likewise.
func ExampleListen_server() {
	ln, err := loopback.Listen("tcp", ":0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := rpc.NewServer()
	srv.Register(Arith{})
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // the Listener was closed
			}
			go srv.ServeConn(c)
		}
	}()
	defer ln.Close()

	for _, at := range ln.AddrPorts() { // 127.0.0.1 and ::1
		client, err := rpc.Dial("tcp", at.String())
		if err != nil {
			fmt.Println(err)
			return
		}
		defer client.Close()
		var answer int
		if err := client.Call("Arith.Double", 21, &answer); err != nil || answer != 42 {
			fmt.Println(answer, err)
			return
		}
	}
	fmt.Println("42 on every address")
	// Output: 42 on every address
}

// A test server on both families, for clients that take localhost for one of
// them.
func ExampleListen_httptest() {
	ln, err := loopback.Listen("tcp", ":0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	}))
	srv.Listener.Close()
	srv.Listener = ln
	srv.Start() // srv.URL has the address of ln.Addr()
	defer srv.Close()

	for _, at := range ln.AddrPorts() {
		resp, err := http.Get("http://" + at.String())
		if err != nil {
			fmt.Println(err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "hello" {
			fmt.Println(string(body), err)
			return
		}
	}
	fmt.Println("hello on every address")
	// Output: hello on every address
}

// A server of QUIC is fastest on one *net.UDPConn a family, which it reads in
// batches. Require keeps each of them on loopback.
func ExampleRequire_quic() {
	lc := net.ListenConfig{Control: loopback.Require}
	four, err := lc.ListenPacket(context.Background(), "udp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer four.Close()
	conns := []net.PacketConn{four}
	port := four.LocalAddr().(*net.UDPAddr).Port
	if six, err := lc.ListenPacket(context.Background(), "udp6", fmt.Sprintf("[::1]:%d", port)); err == nil { // else this machine may have no IPv6
		defer six.Close()
		conns = append(conns, six)
	}
	for _, conn := range conns {
		// go quic.Listen(conn, tlsConfig, nil)
		if err := loopback.Verify(conn.(*net.UDPConn)); err != nil {
			fmt.Println(err)
		}
	}

	_, err = lc.ListenPacket(context.Background(), "udp", ":0")
	fmt.Println(errors.Is(err, loopback.ErrNotLoopback))
	// Output: true
}

// An HTTP client that reaches http://app.localhost:8080/ on a machine whose
// resolver has never heard of the name. It does not wait for one family where a
// packet filter drops it. loopback.DialContext does the same, and refuses every
// other host.
func ExampleLookupNetIP_httpClient() {
	client := &http.Client{Transport: &http.Transport{DialContext: dialFirst}}
	_ = client
}

// dialFirst connects to the first address of a host that answers. The next is
// tried when one has failed, or has not answered in 250 ms: RFC 8305.
func dialFirst(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := loopback.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the attempts that lost
	type attempt struct {
		conn net.Conn
		err  error
	}
	attempts := make(chan attempt)
	dial := func(addr netip.Addr) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
		select {
		case attempts <- attempt{conn, err}:
		case <-ctx.Done():
			if err == nil {
				conn.Close()
			}
		}
	}
	var errs []error
	running := 0
	for running > 0 || len(addrs) > 0 {
		var late <-chan time.Time
		if len(addrs) > 0 {
			go dial(addrs[0])
			addrs = addrs[1:]
			running++
			late = time.After(250 * time.Millisecond)
		}
		select {
		case a := <-attempts:
			if a.err == nil {
				return a.conn, nil
			}
			errs = append(errs, a.err)
			running--
		case <-late:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, errors.Join(errs...)
}
