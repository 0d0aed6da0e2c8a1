package loopback_test

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"example.com/loopback"
)

func ExampleLookupNetIP() {
	for _, host := range []string{"localhost", "app.localhost", "127.0.0.53"} {
		addrs, err := loopback.LookupNetIP(context.Background(), "ip", host)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(host, addrs)
	}
	// Output:
	// localhost [::1 127.0.0.1]
	// app.localhost [::1 127.0.0.1]
	// 127.0.0.53 [127.0.0.53]
}

// An HTTP client that reaches http://app.localhost:8080/ on a machine whose
// resolver has never heard of the name.
func ExampleLookupNetIP_httpClient() {
	var d net.Dialer
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			addrs, err := loopback.LookupNetIP(ctx, "ip", host)
			if err != nil {
				return nil, err
			}
			var conn net.Conn
			for _, addr := range addrs {
				if conn, err = d.DialContext(ctx, network, net.JoinHostPort(addr.String(), port)); err == nil {
					break
				}
			}
			return conn, err
		},
	}}
	_ = client
}

// The report of a literal is the same on every machine that has IPv4.
func ExampleResolve() {
	res, err := loopback.Resolve(context.Background(), "127.0.0.1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(res)
	// Output:
	// 127.0.0.1: OK  a loopback address that works here
	//   127.0.0.1  literal  ok   <- Go's Dial tries this first; Go's Listen binds this
}

func ExampleProbe() {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	r, err := loopback.Probe(context.Background(), ln.Addr().(*net.TCPAddr).AddrPort().Port())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range r.Attempts {
		if a.Connect.OK() {
			fmt.Println(a.Addr.Addr(), "is open")
		}
	}
	if r.Verdict == loopback.VerdictSplit {
		_ = r.Findings[0].Message // who fails: Node 17 to 19, and others that try ::1 only
	}
	// Output:
	// 127.0.0.1 is open
}
