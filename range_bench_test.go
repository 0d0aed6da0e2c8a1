package loopback_test

import (
	"net/netip"
	"testing"

	"go4.org/netipx"

	"example.com/loopback"
)

// Addrs beside the ways to walk 127.0.0.0/8 without it. One iteration is the
// whole range. The walks are functions, because the compiler does not inline
// the body of a range-over-func loop directly inside b.Loop.
func BenchmarkAddrs(b *testing.B) {
	for _, walk := range []struct {
		name string
		f    func() int
	}{
		{"ours", walkAddrs},
		{"peer=Next", walkNext},
		{"peer=AddrFrom4", walkAddrFrom4},
		{"peer=Next+Contains", walkContains},
		{"peer=netipx.Contains+Next", walkNetipx},
	} {
		b.Run(walk.name, func(b *testing.B) {
			for b.Loop() {
				if n := walk.f(); n != 1<<24 {
					b.Fatal(n)
				}
			}
		})
	}
}

func walkAddrs() (n int) {
	for a := range loopback.Addrs() {
		if a.Is4() {
			n++
		}
	}
	return n
}

func walkNext() (n int) {
	last := loopback.AddrAt(1<<24 - 1)
	for a := loopback.AddrAt(0); ; a = a.Next() {
		if a.Is4() {
			n++
		}
		if a == last {
			return n
		}
	}
}

func walkAddrFrom4() (n int) {
	for i := range 1 << 24 {
		a := netip.AddrFrom4([4]byte{127, byte(i >> 16), byte(i >> 8), byte(i)})
		if a.Is4() {
			n++
		}
	}
	return n
}

func walkContains() (n int) {
	p := loopback.Prefix4()
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		if a.Is4() {
			n++
		}
	}
	return n
}

func walkNetipx() (n int) {
	r := netipx.RangeOfPrefix(loopback.Prefix4())
	for a := r.From(); r.Contains(a); a = a.Next() {
		if a.Is4() {
			n++
		}
	}
	return n
}
