package loopback_test

import (
	"net/netip"
	"testing"

	"go4.org/netipx"

	"example.com/loopback"
	"example.com/loopback/internal/sockctl"
)

// BenchmarkAcquire leases one address and gives it back. Its peers are netipx,
// which finds a free address in a set with holes, and the bare socket.
func BenchmarkAcquire(b *testing.B) {
	b.Run("Acquire", func(b *testing.B) {
		for b.Loop() {
			l, err := loopback.Acquire(b.Context(), 1)
			if err != nil {
				b.Skipf("no addresses: %v", err)
			}
			l.Close()
		}
	})
	b.Run("without the round trip", func(b *testing.B) {
		for b.Loop() {
			l, err := loopback.AcquireUnproved(b.Context(), 1)
			if err != nil {
				b.Skipf("no addresses: %v", err)
			}
			l.Close()
		}
	})
	b.Run("socket, bind, close", func(b *testing.B) {
		ap := netip.AddrPortFrom(loopback.For("bench"), loopback.GuardPort)
		for b.Loop() {
			c, err := sockctl.Hold(ap)
			if err != nil {
				b.Skipf("no address: %v", err)
			}
			c.Close()
		}
	})
	b.Run("RemoveFreePrefix", func(b *testing.B) {
		var builder netipx.IPSetBuilder
		builder.AddRange(loopback.Range())
		for n := uint32(0); n < 10_000; n++ { // the leases of a large test run
			builder.Remove(loopback.AddrAt(n * 1_601))
		}
		set, err := builder.IPSet()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, _, ok := set.RemoveFreePrefix(32); !ok {
				b.Fatal("none is free")
			}
		}
	})
}
