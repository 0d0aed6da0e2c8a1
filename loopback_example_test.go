package loopback_test

import (
	"fmt"
	"net"
	"net/netip"

	"example.com/loopback"
)

func ExampleIs() {
	for _, s := range []string{"127.0.0.1", "127.8.8.8", "::1", "::1%lo", "::ffff:127.0.0.1", "0.0.0.0", "::2"} {
		fmt.Println(s, loopback.Is(netip.MustParseAddr(s)))
	}
	// Output:
	// 127.0.0.1 true
	// 127.8.8.8 true
	// ::1 true
	// ::1%lo true
	// ::ffff:127.0.0.1 true
	// 0.0.0.0 false
	// ::2 false
}

// A listener that was handed in may be bound to anything: ask its address.
func ExampleIsNetAddr() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	fmt.Println(loopback.IsNetAddr(ln.Addr()))
	fmt.Println(loopback.IsNetAddr(&net.TCPAddr{Port: 8080})) // every interface
	// Output:
	// true
	// false
}

func ExampleIPv4() {
	fmt.Println(netip.AddrPortFrom(loopback.IPv4(), 8080))
	// Output: 127.0.0.1:8080
}

func ExampleIPv6() {
	fmt.Println(netip.AddrPortFrom(loopback.IPv6(), 8080))
	// Output: [::1]:8080
}

func ExampleKindOf() {
	for _, s := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "::", "64:ff9b::127.0.0.1", "192.0.2.1"} {
		kind := loopback.KindOf(netip.MustParseAddr(s))
		fmt.Println(s, kind, kind.IsLoopback())
	}
	// Output:
	// 127.0.0.1 IPv4 true
	// ::1 IPv6 true
	// ::ffff:127.0.0.1 mapped true
	// :: unspecified false
	// 64:ff9b::127.0.0.1 embedded false
	// 192.0.2.1 none false
}
