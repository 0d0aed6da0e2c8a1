package loopback_test

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// queued is how many datagrams or connections wait, before those who are
// measured receive them.
const queued = 64

// ratio runs two measurements in turn, and reports the median of each for one
// of the n things that they receive, and the ratio of the medians.
func ratio(b *testing.B, n int, merged, peer func() time.Duration) {
	var all, one []time.Duration
	for b.Loop() {
		all = append(all, merged())
		one = append(one, peer())
	}
	median := func(of []time.Duration) float64 {
		slices.Sort(of)
		return float64(of[len(of)/2]) / float64(n)
	}
	b.ReportMetric(0, "ns/op") // the filling of the queues is in it
	b.ReportMetric(median(all), "merged-ns")
	b.ReportMetric(median(one), "one-ns")
	b.ReportMetric(median(all)/median(one), "ratio")
}

// udpReader is what a PacketConn and a UDPConn have in common.
type udpReader interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

// BenchmarkReceiveDatagrams compares a PacketConn of both families with a
// UDPConn of one: with a queue on one of the sockets, with half of it on each,
// and for one datagram after another, which a reader waits for.
func BenchmarkReceiveDatagrams(b *testing.B) {
	merged, err := loopback.ListenPacket("udp", ":0")
	require.NoError(b, err)
	defer merged.Close()
	at := merged.AddrPorts()
	if len(at) < 2 {
		b.Skipf("needs both families: %v", merged.Bindings())
	}
	one := func(b *testing.B, family netip.AddrPort) (*net.UDPConn, netip.AddrPort) {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(family.Addr(), 0)))
		require.NoError(b, err)
		b.Cleanup(func() { c.Close() })
		return c, addrPortOf(c.LocalAddr())
	}
	for _, family := range at {
		b.Run("queue on "+family.Addr().String(), func(b *testing.B) {
			peer, to := one(b, family)
			ratio(b, queued, receiveQueue(b, merged, family, family), receiveQueue(b, peer, to, to))
		})
	}
	b.Run("queue on both", func(b *testing.B) {
		peer4, to4 := one(b, at[0])
		peer6, to6 := one(b, at[1])
		only4, only6 := receiveQueue(b, peer4, to4, to4), receiveQueue(b, peer6, to6, to6)
		ratio(b, queued, receiveQueue(b, merged, at[0], at[1]), func() time.Duration { return (only4() + only6()) / 2 })
	})
	for _, family := range at {
		b.Run("one at a time on "+family.Addr().String(), func(b *testing.B) {
			own, err := loopback.ListenPacket("udp", ":0")
			require.NoError(b, err)
			peer, to := one(b, family)
			ratio(b, queued, roundTrips(b, own, netip.AddrPortFrom(family.Addr(), own.Port())), roundTrips(b, peer, to))
		})
	}
}

// receiveQueue returns a function that sends datagrams to the two addresses in
// turn, then takes the time to receive them all.
func receiveQueue(b *testing.B, c udpReader, first, second netip.AddrPort) func() time.Duration {
	to := []net.Conn{dialPlain(b, first), dialPlain(b, second)}
	buf := make([]byte, 1500)
	return func() time.Duration {
		for i := range queued {
			if _, err := to[i%2].Write(buf[:100]); err != nil {
				b.Fatal(err)
			}
		}
		start := time.Now()
		for range queued {
			if _, _, err := c.ReadFromUDPAddrPort(buf); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(start)
	}
}

func dialPlain(b *testing.B, to netip.AddrPort) net.Conn {
	c, err := net.Dial("udp", to.String())
	require.NoError(b, err)
	b.Cleanup(func() { c.Close() })
	return c
}

// roundTrips returns a function that takes the time of questions to c, each
// sent when the last was answered. They are answered until c is closed.
func roundTrips(b *testing.B, c interface {
	udpReader
	Close() error
}, to netip.AddrPort) func() time.Duration {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if _, err := c.WriteToUDPAddrPort(buf[:n], from); err != nil {
				b.Error(err)
			}
		}
	}()
	b.Cleanup(func() {
		c.Close()
		<-done
	})
	client := dialPlain(b, to)
	buf := make([]byte, 100)
	return func() time.Duration {
		start := time.Now()
		for range queued {
			if _, err := client.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := client.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(start)
	}
}

// BenchmarkAcceptQueue compares a Listener of both families with a TCPListener
// of one, on which connections wait.
func BenchmarkAcceptQueue(b *testing.B) {
	merged, err := loopback.Listen("tcp", ":0")
	require.NoError(b, err)
	defer merged.Close()
	at := merged.AddrPorts()
	if len(at) < 2 {
		b.Skipf("needs both families: %v", merged.Bindings())
	}
	one := func(b *testing.B, family netip.AddrPort) func() time.Duration {
		peer, err := listenPlain(b, netip.AddrPortFrom(family.Addr(), 0).String())
		require.NoError(b, err)
		b.Cleanup(func() { peer.Close() })
		to := netip.MustParseAddrPort(peer.Addr().String())
		return acceptQueued(b, peer, to, to)
	}
	for _, family := range at {
		b.Run("queue on "+family.Addr().String(), func(b *testing.B) {
			ratio(b, queued, acceptQueued(b, merged, family, family), one(b, family))
		})
	}
	b.Run("queue on both", func(b *testing.B) {
		only4, only6 := one(b, at[0]), one(b, at[1])
		ratio(b, queued, acceptQueued(b, merged, at[0], at[1]), func() time.Duration { return (only4() + only6()) / 2 })
	})
}

// acceptQueued returns a function that connects to the two addresses in turn,
// then takes the time to accept all.
func acceptQueued(b *testing.B, ln net.Listener, first, second netip.AddrPort) func() time.Duration {
	to := []netip.AddrPort{first, second}
	return func() time.Duration {
		var clients []int
		for i := range queued {
			clients = append(clients, connectRaw(b, to[i%2]))
		}
		conns := make([]net.Conn, 0, queued)
		start := time.Now()
		for range queued {
			c, err := ln.Accept()
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, c)
		}
		took := time.Since(start)
		for i, c := range conns {
			syscall.Close(clients[i]) // first: it is reset, and leaves nothing in TIME_WAIT
			c.Close()
		}
		return took
	}
}

// connectRaw connects with a blocking socket whose end is a reset.
func connectRaw(b testing.TB, to netip.AddrPort) (fd int) {
	family, sa := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, sa = syscall.AF_INET, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	if err := syscall.Connect(fd, sa); err != nil {
		b.Fatal(err)
	}
	return fd
}
