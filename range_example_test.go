package loopback_test

import (
	"fmt"
	"net/netip"

	"example.com/loopback"
	"go4.org/netipx"
)

func ExamplePrefix4() {
	p := loopback.Prefix4()
	mapped := netip.MustParseAddr("::ffff:127.0.0.1")
	fmt.Println(p, p.Contains(mapped), loopback.Is(mapped))
	// Output: 127.0.0.0/8 false true
}

func ExamplePrefix6() {
	fmt.Println(loopback.Prefix6())
	// Output: ::1/128
}

func ExampleRange() {
	r := loopback.Range()
	fmt.Println(r, r.Contains(loopback.IPv4()))
	// Output: 127.0.0.0-127.255.255.255 true
}

// What is left of an allow list once loopback is taken out of it.
func ExampleSet() {
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.MustParsePrefix("126.0.0.0/7"))
	b.AddPrefix(netip.MustParsePrefix("::/126"))
	b.RemoveSet(loopback.Set())
	allowed, err := b.IPSet()
	fmt.Println(allowed.Prefixes(), err)
	// Output: [126.0.0.0/8 ::/128 ::2/127] <nil>
}

func ExampleAddrs() {
	for a := range loopback.Addrs() {
		fmt.Println(a)
		if a == loopback.IPv4() {
			break
		}
	}
	// Output:
	// 127.0.0.0
	// 127.0.0.1
}

func ExampleAddrAt() {
	fmt.Println(loopback.AddrAt(1), loopback.AddrAt(0x010203), loopback.AddrAt(1<<24).IsValid())
	// Output: 127.0.0.1 127.1.2.3 false
}

func ExampleIndex() {
	for _, s := range []string{"127.1.2.3", "::ffff:127.0.0.1", "::1"} {
		n, ok := loopback.Index(netip.MustParseAddr(s))
		fmt.Printf("%s %#x %v\n", s, n, ok)
	}
	// Output:
	// 127.1.2.3 0x10203 true
	// ::ffff:127.0.0.1 0x1 true
	// ::1 0x0 false
}

// Two databases on the same port, each on an address of its own.
func ExampleFor() {
	for _, name := range []string{"billing", "inventory"} {
		fmt.Println(name, netip.AddrPortFrom(loopback.For(name), 5432))
	}
	// Output:
	// billing 127.231.8.168:5432
	// inventory 127.73.152.45:5432
}
