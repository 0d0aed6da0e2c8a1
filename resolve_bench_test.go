package loopback_test

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"example.com/loopback"
)

// lookupNetIP has the signature of both twins.
type lookupNetIP func(ctx context.Context, network, host string) ([]netip.Addr, error)

func benchLookup(b *testing.B, callers int, lookup lookupNetIP) {
	b.Helper()
	b.ReportAllocs()
	if callers == 1 {
		for b.Loop() {
			if _, err := lookup(b.Context(), "ip", "localhost"); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := lookup(b.Context(), "ip", "localhost"); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkResolve is the report of this machine's localhost.
func BenchmarkResolve(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := loopback.Resolve(b.Context(), "localhost"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProbe probes a port that is open on IPv4, and the bare connection
// that is a part of it.
func BenchmarkProbe(b *testing.B) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() { // or else the backlog fills
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r, err := loopback.Probe(b.Context(), port)
			if err != nil || r.Verdict == loopback.VerdictClosed || r.Verdict == loopback.VerdictNoAnswer {
				b.Fatal(r, err)
			}
		}
	})
	b.Run("net", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			conn.Close()
		}
	})
}
