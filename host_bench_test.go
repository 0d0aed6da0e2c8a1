package loopback_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"example.com/loopback"
)

// benchHosts is the mix that a server or a client sees.
var benchHosts = []string{
	"localhost", "LOCALHOST", "localhost.", "app.localhost", "127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1",
	"example.com", "www.example.org", "192.168.1.10", "10.0.0.1", "2001:db8::1", "fe80::1", "db.internal",
}

// benchForeign are names, and hosts that are not loopback.
var benchForeign = []string{
	"localhost", "app.localhost", "localhost.", "example.com", "www.example.org", "api.eu-central-1.example.net", "192.168.1.10",
	"10.0.0.1", "8.8.8.8", "2001:db8::1", "fe80::1", "db.internal",
}

func headersOf(hosts []string) (values []string) {
	for _, host := range hosts {
		values = append(values, net.JoinHostPort(host, "8080"))
	}
	return values
}

// peerIsHost is what people write.
func peerIsHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

func peerIsHostHeader(value string) bool {
	if host, _, err := net.SplitHostPort(value); err == nil {
		return peerIsHost(host)
	}
	return peerIsHost(strings.Trim(value, "[]"))
}

// One operation is one pass over the hosts. Goals: no allocation; a third of
// the peer's time on the mix, a fifth on names and foreign hosts.
func benchmarkText(b *testing.B, f func(string) bool, hosts []string) {
	b.ReportAllocs()
	for b.Loop() {
		for _, host := range hosts {
			f(host)
		}
	}
}

func BenchmarkIsHost(b *testing.B) {
	b.Run("mix/ours", func(b *testing.B) { benchmarkText(b, loopback.IsHost, benchHosts) })
	b.Run("mix/peer=ParseAddr", func(b *testing.B) { benchmarkText(b, peerIsHost, benchHosts) })
	b.Run("foreign/ours", func(b *testing.B) { benchmarkText(b, loopback.IsHost, benchForeign) })
	b.Run("foreign/peer=ParseAddr", func(b *testing.B) { benchmarkText(b, peerIsHost, benchForeign) })
}

func BenchmarkIsHostHeader(b *testing.B) {
	mix, foreign := headersOf(benchHosts), headersOf(benchForeign)
	b.Run("mix/ours", func(b *testing.B) { benchmarkText(b, loopback.IsHostHeader, mix) })
	b.Run("mix/peer=SplitHostPort+ParseAddr", func(b *testing.B) { benchmarkText(b, peerIsHostHeader, mix) })
	b.Run("foreign/ours", func(b *testing.B) { benchmarkText(b, loopback.IsHostHeader, foreign) })
	b.Run("foreign/peer=SplitHostPort+ParseAddr", func(b *testing.B) { benchmarkText(b, peerIsHostHeader, foreign) })
}
