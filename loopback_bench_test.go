package loopback_test

import (
	"net"
	"net/netip"
	"testing"

	"example.com/loopback"
)

// benchAddrs is half loopback: what a server on a laptop sees.
var benchAddrs = []netip.Addr{
	netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("2001:db8::1"),
	netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("127.5.6.7"), netip.MustParseAddr("fe80::1%lo"),
}

// Is beside what else one could ask. One operation is one pass over
// benchAddrs. Goals: at most 1.25 times Addr.IsLoopback, and a quarter of
// IPSet.Contains. The passes are functions, so that each question is inlined
// where it can be.
func BenchmarkIs(b *testing.B) {
	var ips []net.IP
	for _, a := range benchAddrs {
		ips = append(ips, a.AsSlice())
	}
	for _, pass := range []struct {
		name string
		want int // the peers do not count the same addresses
		f    func() int
	}{
		{"ours", 4, func() (n int) {
			for _, a := range benchAddrs {
				if loopback.Is(a) {
					n++
				}
			}
			return n
		}},
		{"peer=Addr.IsLoopback", 4, func() (n int) {
			for _, a := range benchAddrs {
				if a.IsLoopback() {
					n++
				}
			}
			return n
		}},
		{"peer=IP.IsLoopback", 4, func() (n int) {
			for _, ip := range ips {
				if ip.IsLoopback() {
					n++
				}
			}
			return n
		}},
		{"peer=Prefix.Contains", 3, func() (n int) {
			p4, p6 := loopback.Prefix4(), loopback.Prefix6()
			for _, a := range benchAddrs {
				if p4.Contains(a) || p6.Contains(a) {
					n++
				}
			}
			return n
		}},
		{"peer=IPSet.Contains", 3, func() (n int) {
			set := loopback.Set()
			for _, a := range benchAddrs {
				if set.Contains(a) {
					n++
				}
			}
			return n
		}},
	} {
		b.Run(pass.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n := pass.f(); n != pass.want {
					b.Fatal(n)
				}
			}
		})
	}
}

// KindOf has no peer. One operation is one pass over benchAddrs.
func BenchmarkKindOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		for _, a := range benchAddrs {
			loopback.KindOf(a)
		}
	}
}
