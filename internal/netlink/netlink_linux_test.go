package netlink_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
	"example.com/loopback/internal/netnstest"
)

// getLink asks for the interface with an index, and returns the index of the
// answer.
func getLink(c *netlink.Conn, index uint32, buf []byte) (uint32, error) {
	msg := make([]byte, netlink.HeaderLen+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(msg[netlink.HeaderLen+4:], index)
	typ, body, err := c.Call(unix.RTM_GETLINK, msg, buf)
	if err != nil {
		return 0, err
	}
	if typ != unix.RTM_NEWLINK || len(body) < unix.SizeofIfInfomsg {
		return 0, unix.EBADMSG
	}
	return binary.NativeEndian.Uint32(body[4:]), nil
}

// interfaces skips the test where package net itself cannot ask: qemu-user
// emulates it in part.
func interfaces(t *testing.T) []net.Interface {
	t.Helper()
	ifs, err := net.Interfaces()
	if err != nil {
		t.Skipf("package net cannot use netlink here: %v", err)
	}
	require.NotEmpty(t, ifs)
	return ifs
}

func open(t *testing.T) *netlink.Conn {
	t.Helper()
	c, err := netlink.Open(unix.NETLINK_ROUTE)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestCall(t *testing.T) {
	ifs := interfaces(t)
	c := open(t)
	for _, ifi := range ifs {
		got, err := getLink(c, uint32(ifi.Index), make([]byte, 8<<10))
		require.NoError(t, err, ifi.Name)
		assert.Equal(t, uint32(ifi.Index), got, ifi.Name)
	}
}

func TestCallErrors(t *testing.T) {
	interfaces(t)
	c := open(t)
	_, err := getLink(c, 1<<30, make([]byte, 8<<10))
	assert.Equal(t, unix.ENODEV, err, "an error of the kernel is a bare errno")

	_, err = getLink(c, 1, make([]byte, 32))
	assert.Error(t, err, "an answer longer than the buffer")

	_, err = getLink(c, 1, make([]byte, 8<<10))
	assert.NoError(t, err, "the socket is in order after both")

	require.NoError(t, c.Close())
	_, err = getLink(c, 1, make([]byte, 8<<10))
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.ErrorIs(t, c.Close(), net.ErrClosed)

	_, err = netlink.Open(1 << 20)
	assert.EqualError(t, err, "socket: protocol not supported")
}

func TestCallConcurrent(t *testing.T) {
	ifs := interfaces(t)
	c := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		index := uint32(ifs[i%len(ifs)].Index)
		wg.Go(func() {
			buf := make([]byte, 8<<10)
			for range 200 {
				got, err := getLink(c, index, buf)
				if !assert.NoError(t, err) || !assert.Equal(t, index, got) {
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestDelivered(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "wire", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	wire, err := net.InterfaceByName("wire")
	require.NoError(t, err)
	c := open(t)
	for _, tt := range []struct {
		dst, src string
		closed   bool // with route_localnet off
		open     bool // with route_localnet on
	}{
		{"10.0.0.1", "10.0.0.2", true, true},
		{"127.0.0.1", "10.0.0.2", false, true},
		{"127.0.0.1", "192.0.2.1", false, true},
		{"127.0.0.1", "127.0.0.5", false, true},
		{"127.0.0.1", "10.0.0.1", false, false}, // our own address
		{"192.0.2.1", "10.0.0.2", false, false}, // no route
	} {
		for value, want := range map[string]bool{"0": tt.closed, "1": tt.open} {
			netnstest.Sysctl(t, "net/ipv4/conf/wire/route_localnet", value)
			got, err := c.Delivered(netip.MustParseAddr(tt.dst), netip.MustParseAddr(tt.src), wire.Index)
			require.NoError(t, err)
			assert.Equal(t, want, got, "%s from %s, route_localnet=%s", tt.dst, tt.src, value)
		}
	}

	_, err = c.Delivered(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.2"), 1<<30)
	assert.ErrorIs(t, err, unix.ENODEV)
	assert.ErrorContains(t, err, "127.0.0.1")

	_, err = c.Delivered(netip.IPv6Loopback(), netip.MustParseAddr("10.0.0.2"), wire.Index)
	assert.ErrorContains(t, err, "::1")
}
