package loopback_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"example.com/loopback"
)

// A client of a service on this machine: both families, no resolver, and no
// connection to any other machine.
func ExampleDialContext() {
	client := http.Client{Transport: &http.Transport{DialContext: loopback.DialContext}}
	_, err := client.Get("http://192.0.2.1/")
	fmt.Println(errors.Is(err, loopback.ErrNotLoopback))
	// Output: true
}

// Drivers whose dial function has no network take a closure.
func ExampleDialContext_database() {
	dial := func(ctx context.Context, addr string) (net.Conn, error) { // for mysql.RegisterDialContext
		return loopback.DialContext(ctx, "tcp", addr)
	}
	_, err := dial(context.Background(), "db.example.com:3306")
	fmt.Println(err)
	// Output: dial tcp: "db.example.com:3306": loopback: not a loopback address: the host is neither a loopback address nor localhost
}

// A client for URLs that come from outside. Proxy is nil, as a proxy connects
// in the place of this process.
func ExampleForbid() {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: loopback.Forbid}
	client := http.Client{Transport: &http.Transport{Proxy: nil, DialContext: dialer.DialContext}}
	_, err := client.Get("http://[::ffff:127.0.0.1]:6379/")
	fmt.Println(errors.Is(err, loopback.ErrSelf))
	// Output: true
}

func ExampleForbidSelf() {
	// A Control function can be asked about a configured address as well.
	fmt.Println(loopback.ForbidSelf("tcp", "0.0.0.0:80", nil) == nil)
	fmt.Println(loopback.ForbidSelf("tcp", "203.0.113.7:80", nil) == nil)
	// Output:
	// false
	// true
}

func ExampleIsSelf() {
	for _, text := range []string{"127.0.0.1", "0.0.0.0", "203.0.113.7"} {
		self, err := loopback.IsSelf(netip.MustParseAddr(text))
		fmt.Println(text, self, err)
	}
	// Output:
	// 127.0.0.1 true <nil>
	// 0.0.0.0 true <nil>
	// 203.0.113.7 false <nil>
}
