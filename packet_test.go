package loopback_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// maxPayload is the most that fits in an IPv4 datagram: 65,535 less the
// headers of IP and UDP.
const maxPayload = 65507

// largest returns the size of a large datagram that this system sends:
// maxPayload, unless it is set to less, as macOS and the BSDs are.
func largest(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer c.Close()
	for _, size := range []int{maxPayload, 8192} {
		if _, err = c.WriteTo(make([]byte, size), c.LocalAddr()); err == nil {
			return size
		}
		t.Logf("%d bytes: %v", size, err)
	}
	require.NoError(t, err)
	return 0
}

// eachPacketConn runs a test on a socket of one address and on those of both
// families, which read in different ways.
func eachPacketConn(t *testing.T, test func(t *testing.T, c *loopback.PacketConn)) {
	t.Helper()
	for _, address := range []string{"127.0.0.1:0", ":0"} {
		name := "one"
		if address == ":0" {
			name = "both"
		}
		t.Run(name, func(t *testing.T) { test(t, packetConn(t, new(loopback.ListenConfig), address)) })
	}
}

// A question that goes to an address is answered from there: a connected
// client sees no other answer.
func TestPacketReplies(t *testing.T) {
	eachPacketConn(t, func(t *testing.T, c *loopback.PacketConn) {
		for _, to := range c.AddrPorts() {
			client := dialUDP(t, to)
			buf := make([]byte, 100)

			_, err := client.Write([]byte("question"))
			require.NoError(t, err)
			n, from, err := c.ReadFromUDPAddrPort(buf)
			require.NoError(t, err)
			assert.Equal(t, "question", string(buf[:n]))
			assert.Equal(t, addrPortOf(client.LocalAddr()), from)
			n, err = c.WriteToUDPAddrPort([]byte("answer"), from)
			require.NoError(t, err)
			assert.Equal(t, 6, n)
			n, err = client.Read(buf)
			require.NoError(t, err)
			assert.Equal(t, "answer", string(buf[:n]))

			_, err = client.Write([]byte("again"))
			require.NoError(t, err)
			n, addr, err := c.ReadFrom(buf)
			require.NoError(t, err)
			assert.Equal(t, "again", string(buf[:n]))
			require.IsType(t, (*net.UDPAddr)(nil), addr)
			assert.Equal(t, client.LocalAddr().String(), addr.String())
			_, err = c.WriteTo([]byte("answer"), addr)
			require.NoError(t, err)
			n, err = client.Read(buf)
			require.NoError(t, err)
			assert.Equal(t, "answer", string(buf[:n]))

			if from.Addr().Is4() { // as package net may hand it out
				mapped := netip.AddrPortFrom(netip.AddrFrom16(from.Addr().As16()), from.Port())
				_, err = c.WriteToUDPAddrPort([]byte("mapped"), mapped)
			} else {
				_, err = c.WriteToUDPAddrPort([]byte("mapped"), netip.AddrPortFrom(from.Addr().WithZone("zone"), from.Port()))
			}
			require.NoError(t, err)
			n, err = client.Read(buf)
			require.NoError(t, err)
			assert.Equal(t, "mapped", string(buf[:n]))
		}
	})
}

func TestPacketBindings(t *testing.T) {
	eachPacketConn(t, func(t *testing.T, c *loopback.PacketConn) {
		bindings := c.Bindings()
		require.Len(t, bindings, len(c.AddrPorts()))
		for i, b := range bindings {
			assert.True(t, b.Bound())
			assert.Equal(t, c.AddrPorts()[i], b.Addr)
			assert.Equal(t, c.Port(), b.Addr.Port())
			assert.NotEqual(t, loopback.IngressAuto, b.Ingress)
			assert.Equal(t, []string{"udp4", "udp6"}[i], b.Network)
		}
		assert.Equal(t, c.AddrPorts()[0], addrPortOf(c.LocalAddr()))
		bindings[0] = loopback.Binding{}
		assert.True(t, c.Bindings()[0].Bound(), "a copy was changed")
	})
}

type strangeAddr string

func (strangeAddr) Network() string  { return "udp" }
func (a strangeAddr) String() string { return string(a) }

// Nothing goes out but to loopback, and no address makes WriteTo panic.
func TestPacketWriteToRefuses(t *testing.T) {
	var nilUDP *net.UDPAddr
	var nilTCP *net.TCPAddr
	var nilIP *net.IPAddr
	var nilUnix *net.UnixAddr
	eachPacketConn(t, func(t *testing.T, c *loopback.PacketConn) {
		port := int(c.Port())
		for _, text := range []string{
			"192.0.2.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "128.0.0.1", "126.255.255.255", "10.0.0.1",
			"::", "::2", "2001:db8::1", "fe80::1%1", "ff02::1", "::ffff:0.0.0.0", "::ffff:192.0.2.1", "::127.0.0.1",
			"64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:0:127.0.0.1",
		} {
			to := netip.AddrPortFrom(netip.MustParseAddr(text), c.Port())
			n, err := c.WriteToUDPAddrPort([]byte("out"), to)
			assert.Zero(t, n)
			requireRefused(t, err, text)
			n, err = c.WriteTo([]byte("out"), net.UDPAddrFromAddrPort(to))
			assert.Zero(t, n)
			requireRefused(t, err, text)
		}
		_, err := c.WriteToUDPAddrPort(nil, netip.AddrPort{})
		requireRefused(t, err, "")
		for _, addr := range []net.Addr{
			nil, nilUDP, nilTCP, nilIP, nilUnix, &net.UDPAddr{}, &net.UDPAddr{Port: port},
			&net.UDPAddr{IP: net.IP{127}, Port: port}, &net.UDPAddr{IP: make(net.IP, 5), Port: port},
			&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port}, &net.IPAddr{IP: net.IPv4(192, 0, 2, 1)},
			&net.UnixAddr{Net: "unixgram", Name: "/run/x"}, strangeAddr("192.0.2.1:80"), strangeAddr(""),
		} {
			n, err := c.WriteTo([]byte("out"), addr)
			assert.Zero(t, n)
			requireRefused(t, err, "")
		}
		for _, addr := range []net.Addr{ // loopback, but not of this kind
			&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, &net.IPAddr{IP: net.IPv6loopback}, strangeAddr("127.0.0.1:80"),
		} {
			n, err := c.WriteTo([]byte("out"), addr)
			assert.Zero(t, n)
			require.ErrorIs(t, err, syscall.EINVAL) // as in package net
			require.IsType(t, (*net.OpError)(nil), err)
		}

		require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		_, _, err = c.ReadFromUDPAddrPort(make([]byte, 10))
		requireTimeout(t, err) // nothing was sent to its own port
	})
}

func requireRefused(t *testing.T, err error, address string) {
	t.Helper()
	require.ErrorIs(t, err, loopback.ErrNotLoopback)
	op, ok := err.(*net.OpError)
	require.True(t, ok, "%T", err)
	assert.Equal(t, "write", op.Op)
	if addr, err := netip.ParseAddr(address); err == nil {
		address = net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)).IP.String()
	}
	assert.Contains(t, err.Error(), address)
}

// A family that is not bound cannot be written to.
func TestPacketOtherFamily(t *testing.T) {
	c := packetConn(t, new(loopback.ListenConfig), "127.0.0.1:0")
	n, err := c.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(loopback.IPv6(), 9))
	require.IsType(t, (*net.OpError)(nil), err)
	assert.Zero(t, n)
	assert.EqualError(t, err, "write udp "+c.LocalAddr().String()+"->[::1]:9: loopback: no socket of this family is bound")
	assert.NotErrorIs(t, err, loopback.ErrNotLoopback)
	_, err = c.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("[2001:db8::1]:9"))
	assert.EqualError(t, err, "write udp "+c.LocalAddr().String()+"->[2001:db8::1]:9: "+loopback.ErrNotLoopback.Error())
}

// Empty datagrams and the largest arrive as they are; what does not fit is cut
// off as package net does it.
func TestPacketSizes(t *testing.T) {
	eachPacketConn(t, func(t *testing.T, c *loopback.PacketConn) {
		peer, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer peer.Close()
		require.NoError(t, peer.SetReadDeadline(time.Now().Add(patience)))
		for _, to := range c.AddrPorts() {
			client := dialUDP(t, to)
			buf := make([]byte, 1<<16)
			for _, size := range []int{0, 1, 1500, largest(t), 0} {
				sent := bytes.Repeat([]byte{byte(size)}, size)
				_, err := client.Write(sent)
				require.NoError(t, err)
				n, from, err := c.ReadFromUDPAddrPort(buf)
				require.NoError(t, err)
				require.True(t, bytes.Equal(sent, buf[:n]), "%d of %d bytes", n, size)
				n, err = c.WriteToUDPAddrPort(sent, from)
				require.NoError(t, err)
				assert.Equal(t, size, n)
				n, err = client.Read(buf)
				require.NoError(t, err)
				require.True(t, bytes.Equal(sent, buf[:n]), "%d of %d bytes", n, size)
			}

			for _, room := range []int{0, 4} {
				_, err := client.Write([]byte("0123456789"))
				require.NoError(t, err)
				n, _, err := c.ReadFromUDPAddrPort(buf[:room])
				if runtime.GOOS == "windows" { // and n may be 0 under Wine
					require.ErrorIs(t, err, syscall.Errno(10040)) // WSAEMSGSIZE
				} else {
					require.NoError(t, err)
					assert.Equal(t, "0123456789"[:room], string(buf[:n]))
				}
				_, err = client.Write([]byte("next")) // the rest is gone
				require.NoError(t, err)
				n, _, err = c.ReadFromUDPAddrPort(buf)
				require.NoError(t, err)
				assert.Equal(t, "next", string(buf[:n]))
			}
		}
		_, err = c.WriteToUDPAddrPort(make([]byte, maxPayload+1), addrPortOf(peer.LocalAddr()))
		require.IsType(t, (*net.OpError)(nil), err)
	})
}

func TestPacketConcurrently(t *testing.T) {
	eachPacketConn(t, func(t *testing.T, c *loopback.PacketConn) {
		const readers, each = 3, 200
		var reading, writing sync.WaitGroup
		for range readers {
			reading.Go(func() {
				buf := make([]byte, 100)
				for {
					n, from, err := c.ReadFromUDPAddrPort(buf)
					if err != nil {
						assert.ErrorIs(t, err, net.ErrClosed)
						return
					}
					_, err = c.WriteToUDPAddrPort(buf[:n], from)
					assert.NoError(t, err)
				}
			})
		}
		for _, to := range append(c.AddrPorts(), c.AddrPorts()...) {
			client := dialUDP(t, to)
			writing.Go(func() {
				buf := make([]byte, 100)
				for i := range each {
					sent := []byte{byte(i), byte(i >> 8)}
					_, err := client.Write(sent)
					assert.NoError(t, err)
					n, err := client.Read(buf)
					if !assert.NoError(t, err) {
						return
					}
					assert.Equal(t, sent, buf[:n])
				}
			})
		}
		writing.Wait()
		require.NoError(t, c.Close())
		reading.Wait()
	})
}

// reading reads in a goroutine, and returns when it is in there.
func reading(t *testing.T, c *loopback.PacketConn) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	id := make(chan string)
	go func() {
		id <- goroutineID()
		_, addr, err := c.ReadFrom(make([]byte, 10))
		if err != nil && addr != nil {
			err = errors.New("an address beside an error")
		}
		result <- err
	}()
	awaitCall(t, <-id, "(*PacketConn).ReadFromUDPAddrPort(", func() bool { return len(result) > 0 })
	return result
}

func TestPacketDeadline(t *testing.T) {
	eachPacketConn(t, func(t *testing.T, c *loopback.PacketConn) {
		buf := make([]byte, 10)
		last := c.AddrPorts()[len(c.AddrPorts())-1]
		client := dialUDP(t, last)
		past := time.Now().Add(-time.Second)

		require.NoError(t, c.SetReadDeadline(past))
		_, err := client.Write([]byte("x"))
		require.NoError(t, err)
		_, _, err = c.ReadFromUDPAddrPort(buf)
		requireTimeout(t, err) // although there is a datagram
		_, _, err = c.ReadFrom(buf)
		requireTimeout(t, err)
		require.NoError(t, c.SetReadDeadline(time.Time{}))
		n, from, err := c.ReadFromUDPAddrPort(buf)
		require.NoError(t, err)
		assert.Equal(t, 1, n)

		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
		var waiting []<-chan error
		for range 3 {
			waiting = append(waiting, reading(t, c))
		}
		require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
		for _, w := range waiting {
			requireTimeout(t, wait(t, w))
		}

		require.NoError(t, c.SetWriteDeadline(past))
		_, err = c.WriteToUDPAddrPort(buf, from)
		requireTimeout(t, err)
		require.NoError(t, c.SetDeadline(time.Time{}))
		_, err = c.WriteToUDPAddrPort(buf, from)
		require.NoError(t, err)
		_, err = client.Write([]byte("x")) // which a read would return
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(past))
		_, err = c.WriteToUDPAddrPort(buf, from)
		requireTimeout(t, err)
		_, _, err = c.ReadFromUDPAddrPort(buf)
		requireTimeout(t, err)
		require.NoError(t, c.SetDeadline(time.Time{}))
		_, _, err = c.ReadFromUDPAddrPort(buf)
		require.NoError(t, err)
	})
}

func TestPacketClose(t *testing.T) {
	eachPacketConn(t, func(t *testing.T, c *loopback.PacketConn) {
		require.NoError(t, c.SetReadDeadline(time.Time{}))
		var waiting []<-chan error
		for range 4 {
			waiting = append(waiting, reading(t, c))
		}
		at := c.AddrPorts()[0]
		require.NoError(t, c.Close())
		for _, w := range waiting {
			requireClosed(t, wait(t, w))
		}
		requireClosed(t, c.Close())
		_, _, err := c.ReadFromUDPAddrPort(make([]byte, 1))
		requireClosed(t, err)
		_, _, err = c.ReadFrom(make([]byte, 1))
		requireClosed(t, err)
		_, err = c.WriteToUDPAddrPort(make([]byte, 1), at)
		requireClosed(t, err)
		_, err = c.WriteTo(make([]byte, 1), net.UDPAddrFromAddrPort(at))
		requireClosed(t, err)
		for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline, c.SetWriteDeadline} {
			requireClosed(t, set(time.Now()))
			requireClosed(t, set(time.Time{}))
		}
		for _, err := range []error{c.SetDeadline(time.Now()), c.SetReadBuffer(1), c.SetWriteBuffer(1)} {
			assert.Equal(t, &net.OpError{Op: "set", Net: "udp", Addr: c.LocalAddr(), Err: net.ErrClosed}, err, "as of a net.UDPConn")
		}
		assert.Equal(t, at, addrPortOf(c.LocalAddr()))
	})
}

// After Close no goroutine is left, whatever was read and was not.
func TestPacketLeavesNothing(t *testing.T) {
	needUDP(t)
	before := runtime.NumGoroutine()
	for range 10 {
		c, err := loopback.ListenPacket("udp", ":0")
		require.NoError(t, err)
		for _, to := range c.AddrPorts() {
			for range 2 {
				_, err = c.WriteToUDPAddrPort([]byte("to myself"), to)
				require.NoError(t, err)
			}
		}
		_, _, err = c.ReadFromUDPAddrPort(make([]byte, 10))
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	noMoreGoroutines(t, before)
}

// A done context ends the call; later ends do not touch the connection.
func TestPacketContext(t *testing.T) {
	needUDP(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := new(loopback.ListenConfig).ListenPacket(ctx, "udp", ":0")
	require.NoError(t, err)
	defer c.Close()
	cancel()
	_, err = c.WriteToUDPAddrPort([]byte("x"), c.AddrPorts()[0])
	require.NoError(t, err)
	_, _, err = c.ReadFromUDPAddrPort(make([]byte, 1))
	require.NoError(t, err)

	_, err = new(loopback.ListenConfig).ListenPacket(ctx, "udp", ":0")
	require.ErrorIs(t, err, context.Canceled)
	require.IsType(t, (*net.OpError)(nil), err)
}

// A packet connection is what servers for net.PacketConn work with: a read
// with a deadline, one after the other.
func TestPacketConnIsNetPacketConn(t *testing.T) {
	var pc net.PacketConn = packetConn(t, new(loopback.ListenConfig), "127.0.0.1:0")
	_, err := pc.WriteTo([]byte("x"), pc.LocalAddr()) // to itself
	require.NoError(t, err)
	b := make([]byte, 2)
	require.NoError(t, pc.SetReadDeadline(time.Now().Add(patience)))
	n, from, err := pc.ReadFrom(b)
	require.NoError(t, err)
	assert.Equal(t, "x", string(b[:n]))
	assert.Equal(t, pc.LocalAddr(), from)
	require.NoError(t, pc.SetDeadline(time.Unix(1, 0)))
	_, _, err = pc.ReadFrom(b)
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	assert.True(t, ne.Timeout())
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
}
