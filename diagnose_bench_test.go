package loopback_test

import (
	"net"
	"testing"

	"example.com/loopback"
)

// Diagnose beside the system calls that it cannot do without: the interfaces
// with their addresses, and one connection to 127.0.0.1.
func BenchmarkDiagnose(b *testing.B) {
	b.Run("Diagnose", func(b *testing.B) {
		for b.Loop() {
			if _, err := loopback.Diagnose(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("net.Interfaces", func(b *testing.B) {
		for b.Loop() {
			ifs, err := net.Interfaces()
			if err != nil {
				b.Fatal(err)
			}
			for _, i := range ifs {
				if _, err := i.Addrs(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("one connection", func(b *testing.B) {
		for b.Loop() {
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			c, err := net.Dial("tcp4", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			c.Close()
			ln.Close()
		}
	})
}
