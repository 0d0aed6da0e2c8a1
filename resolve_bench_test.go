package loopback_test

import (
	"net"
	"testing"

	"example.com/loopback"
)

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
