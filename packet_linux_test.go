package loopback_test

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// A datagram read and answered allocates nothing.
func TestPacketAllocs(t *testing.T) {
	for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressCheck, loopback.IngressRemote, loopback.IngressAny} {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
			t.Run(ingress.String()+" "+address, func(t *testing.T) {
				c := packetConn(t, &loopback.ListenConfig{Ingress: ingress}, address)
				to := c.AddrPorts()
				buf := make([]byte, 100)
				i := 0
				allocs := testing.AllocsPerRun(1000, func() {
					at := to[i%len(to)]
					i++
					if _, err := c.WriteToUDPAddrPort(buf[:10], at); err != nil { // to itself
						t.Fatal(err)
					}
					if n, from, err := c.ReadFromUDPAddrPort(buf); err != nil || n != 10 || from != at {
						t.Fatal(n, from, err)
					}
				})
				assert.Zero(t, allocs)
			})
		}
	}
}

// Datagrams of strangers that routing lets in are dropped and reported, and
// keep neither the deadline nor Close from ending a read.
func TestPacketRefused(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	strangers := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

	for _, ingress := range []loopback.Ingress{loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote} {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
			t.Run(ingress.String()+" "+address, func(t *testing.T) {
				var rejected atomic.Int32
				var onReject func()
				var c *loopback.PacketConn
				c = packetConn(t, &loopback.ListenConfig{Ingress: ingress, OnReject: func(err error) {
					op, ok := err.(*net.OpError)
					if !assert.True(t, ok, "%T", err) {
						return
					}
					assert.ErrorIs(t, err, loopback.ErrRefused)
					assert.Equal(t, "read", op.Op)
					assert.Equal(t, "udp", op.Net)
					assert.Contains(t, c.AddrPorts(), addrPortOf(op.Source))
					assert.Contains(t, strangers, addrPortOf(op.Addr).Addr())
					rejected.Add(1)
					onReject()
				}}, address)
				to := c.AddrPorts()
				send := func(at netip.AddrPort) {
					local := strangers[0]
					if at.Addr().Is6() {
						local = strangers[1]
					}
					d := net.Dialer{LocalAddr: &net.UDPAddr{IP: local.AsSlice()}, Control: transparent}
					s, err := d.Dial("udp", at.String())
					require.NoError(t, err)
					defer s.Close()
					_, err = s.Write([]byte("stranger"))
					require.NoError(t, err)
				}

				const each = 20
				onReject = func() {}
				buf := make([]byte, 100)
				for _, at := range to {
					for range each {
						send(at)
					}
					_, err := dialUDP(t, at).Write([]byte("friend"))
					require.NoError(t, err)
					n, from, err := c.ReadFromUDPAddrPort(buf)
					require.NoError(t, err)
					assert.Equal(t, "friend", string(buf[:n]))
					assert.True(t, loopback.Is(from.Addr()))
				}
				assert.EqualValues(t, each*len(to), rejected.Load())

				// Whenever one is refused, there is another, before the deadline
				// is set and after.
				last := to[len(to)-1]
				rejected.Store(0)
				onReject = func() {
					if rejected.Load() == 3 {
						require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
					}
					send(last)
				}
				send(last)
				_, _, err := c.ReadFromUDPAddrPort(buf)
				requireTimeout(t, err)
				assert.GreaterOrEqual(t, rejected.Load(), int32(3))

				require.NoError(t, c.SetReadDeadline(time.Time{}))
				onReject = func() { c.Close() } // OnReject may close
				_, _, err = c.ReadFromUDPAddrPort(buf)
				requireClosed(t, err)
			})
		}
	}
}

// Where a datagram may go to that is not for a loopback address: to this machine
// itself, unless the mode says nothing of the interface that it came in by.
func TestPacketWriteToOwnAddresses(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "add", "2001:db8::1/128", "dev", "lo")
	for _, ingress := range []loopback.Ingress{loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote, loopback.IngressAny} {
		c := packetConn(t, &loopback.ListenConfig{Ingress: ingress}, ":0")
		for text, own := range map[string]bool{"192.0.2.1": true, "2001:db8::1": true, "::ffff:192.0.2.1": true, "192.0.2.2": false, "2001:db8::2": false, "0.0.0.0": false, "::": false} {
			to := netip.AddrPortFrom(netip.MustParseAddr(text), c.Port())
			n, err := c.WriteToUDPAddrPort([]byte("x"), to)
			if own && ingress != loopback.IngressRemote {
				assert.NoError(t, err, "%v: %s", ingress, text)
				assert.Equal(t, 1, n, "%v: %s", ingress, text)
				continue
			}
			assert.ErrorIs(t, err, loopback.ErrNotLoopback, "%v: %s", ingress, text)
			assert.Zero(t, n)
		}
	}
}

// transparent lets a socket have an address that this machine does not have.
func transparent(network, _ string, c syscall.RawConn) (err error) {
	o := transparent4
	if network == "udp6" {
		o = transparent6
	}
	cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), o[0], o[1], o[2]) })
	return errors.Join(cerr, err)
}

// What else the caller has the kernel say of each datagram, and be it before
// the interface, does not keep IngressCheck from hearing that.
func TestPacketControlMessages(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		t.Run(address, func(t *testing.T) {
			c := packetConn(t, &loopback.ListenConfig{
				Ingress:  loopback.IngressCheck,
				OnReject: func(err error) { t.Error(err) },
				Control: func(_, _ string, c syscall.RawConn) (err error) {
					cerr := c.Control(func(fd uintptr) {
						err = errors.Join(
							unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
							unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_RX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE))
					})
					if errors.Is(err, unix.ENOPROTOOPT) {
						t.Skipf("needs a kernel that stamps datagrams: %v", err) // qemu-user does not
					}
					return errors.Join(cerr, err)
				},
			}, address)
			for _, at := range c.AddrPorts() {
				_, err := c.WriteToUDPAddrPort([]byte("x"), at) // to itself
				require.NoError(t, err)
				_, from, err := c.ReadFromUDPAddrPort(make([]byte, 10))
				require.NoError(t, err)
				assert.Equal(t, at, from)
			}
		})
	}
}
