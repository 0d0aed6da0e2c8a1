package sockctl_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/internal/sockctl"
)

func TestInspectOfWhatIsNoInternetSocket(t *testing.T) {
	var fds [2]int
	require.NoError(t, unix.Pipe2(fds[:], unix.O_CLOEXEC))
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	info, err := sockctl.Inspect(uintptr(fds[0]))
	require.NoError(t, err)
	assert.Equal(t, sockctl.Info{Type: sockctl.NotSocket}, info)

	for _, family := range []int{unix.AF_UNIX, unix.AF_NETLINK} {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		info, err = sockctl.Inspect(uintptr(fd))
		require.NoError(t, err)
		assert.Equal(t, sockctl.Info{Type: sockctl.NotInternet}, info)
	}
	_, err = sockctl.Inspect(1 << 30)
	assert.ErrorIs(t, err, unix.EBADF)
}

// The interface is told of a connection and of a datagram, in both families.
func TestInterfaceOfWhatCameIn(t *testing.T) {
	lo, err := netif.FindLoopback()
	require.NoError(t, err)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		local := netip.MustParseAddr(addr)
		lc := net.ListenConfig{}
		lc.SetMultipathTCP(false)
		ln, err := lc.Listen(t.Context(), "tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			t.Logf("without %s: %v", addr, err)
			continue
		}
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer client.Close()
		c, err := ln.Accept()
		require.NoError(t, err)
		defer c.Close()
		index, err := sockctl.ConnInterface(c.(*net.TCPConn), local)
		require.NoError(t, err)
		assert.Equal(t, lo.Index, index)

		lc.Control = func(_, _ string, c syscall.RawConn) error { return sockctl.ReportInterface(c, local) }
		pc, err := lc.ListenPacket(t.Context(), "udp", net.JoinHostPort(addr, "0"))
		require.NoError(t, err)
		defer pc.Close()
		from, err := net.Dial("udp", pc.LocalAddr().String())
		require.NoError(t, err)
		defer from.Close()
		_, err = from.Write([]byte("x"))
		require.NoError(t, err)
		control := make([]byte, sockctl.ControlSize)
		_, n, _, _, err := pc.(*net.UDPConn).ReadMsgUDPAddrPort(make([]byte, 1), control)
		require.NoError(t, err)
		assert.Equal(t, lo.Index, sockctl.DatagramInterface(control[:n]))
		assert.Zero(t, sockctl.DatagramInterface(nil))
		assert.Zero(t, sockctl.DatagramInterface(control[:unix.SizeofCmsghdr+3]), "cut off")
	}
}

// One question about both addresses has the answers of two.
func TestCanConnectAllAgreesWithCanConnect(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	netnstest.Run(t, "ip", "addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
	ip := func(args string) func() { return func() { netnstest.Run(t, "ip", strings.Fields(args)...) } }
	v6only := func(v string) func() { return func() { netnstest.Sysctl(t, "net/ipv6/bindv6only", v) } }
	for _, step := range []struct {
		name   string
		do     func()
		v4, v6 error
	}{
		{"lo is down", ip("link set lo down"), unix.ENETUNREACH, unix.ENETUNREACH},
		{"lo is up", ip("link set lo up"), nil, nil},
		{"IPv6 sockets are of IPv6 alone", v6only("1"), nil, nil},
		{"IPv6 sockets are of both families", v6only("0"), nil, nil},
		{"127.0.0.1 has no route", func() {
			ip("route del local 127.0.0.1 table local")()
			ip("route del local 127.0.0.0/8 table local")()
		}, unix.ENETUNREACH, nil},
		{"127.0.0.1 leads out", ip("route add default via 192.0.2.1"), unix.EADDRNOTAVAIL, nil},
		{"::1 has no route", ip("-6 route del local ::1 table local"), unix.EADDRNOTAVAIL, unix.ENETUNREACH},
		{"::1 leads out", ip("-6 route add default via 2001:db8::1 dev eth0"), unix.EADDRNOTAVAIL, unix.EADDRNOTAVAIL},
		{"127.0.0.1 is back", ip("route add local 127.0.0.1 dev lo table local"), nil, unix.EADDRNOTAVAIL},
		{"127.0.0.1 has another source", ip("route replace local 127.0.0.1 dev eth0 src 192.0.2.10 table local"), nil, unix.EADDRNOTAVAIL},
		{"::1 is back", ip("-6 route add local ::1 dev lo table local"), nil, nil},
	} {
		step.do()
		before := descriptors(t)
		both := sockctl.CanConnectAll([]netip.Addr{v4, v6})
		assert.Equal(t, before, descriptors(t), step.name)
		for i, want := range []error{step.v4, step.v6} {
			alone := sockctl.CanConnect([]netip.Addr{v4, v6}[i])
			assert.ErrorIs(t, both[i], want, "%s: %v", step.name, i)
			assert.Equal(t, alone, both[i], "%s: %v", step.name, i)
		}
	}
}

// descriptors returns the number of descriptors of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// A machine does not have an address that it can bind and not connect to, even
// where a default route leads out.
func TestHasAddrThatIsNotThere(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	require.NoError(t, sockctl.HasAddr(t.Context(), v4))
	require.NoError(t, sockctl.HasAddr(t.Context(), v6))
	for _, family := range []string{"ipv4", "ipv6"} {
		netnstest.Sysctl(t, "net/"+family+"/ip_nonlocal_bind", "1")
	}
	netnstest.Run(t, "ip", "addr", "del", "::1/128", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	for _, addr := range []netip.Addr{v4, v6} {
		_, err := sockctl.BindOnly(t.Context(), addr)
		assert.NoError(t, err)
		assert.Error(t, sockctl.HasAddr(t.Context(), addr))
	}
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	netnstest.Run(t, "ip", "addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
	netnstest.Run(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	netnstest.Run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8::1", "dev", "eth0")
	for _, addr := range []netip.Addr{v4, v6} {
		err := sockctl.HasAddr(t.Context(), addr)
		assert.ErrorIs(t, err, unix.EADDRNOTAVAIL)
		assert.EqualError(t, err, "dial udp "+netip.AddrPortFrom(addr, 9).String()+": connect: cannot assign requested address")
	}
	// A local route whose source is another address is one all the same.
	netnstest.Run(t, "ip", "route", "add", "local", "127.0.0.1", "dev", "eth0", "src", "192.0.2.10", "table", "local")
	assert.NoError(t, sockctl.HasAddr(t.Context(), v4))
}

// A reserved port is one that neither family has in use.
func TestReservePortPassesOverPortsOfEitherFamily(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	const first, last, free = 40000, 40009, 40006
	netnstest.Sysctl(t, "net/ipv4/ip_local_port_range", fmt.Sprint(first, " ", last))
	for port := first; port <= last; port++ {
		if port == free {
			continue
		}
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}[port%2], Port: port})
		require.NoError(t, err)
		defer ln.Close()
	}
	port, release := sockctl.ReservePort()
	assert.EqualValues(t, free, port)
	release()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: free})
	require.NoError(t, err, "it has been released")
	defer ln.Close()
	port, release = sockctl.ReservePort()
	defer release()
	assert.Zero(t, port, "none is left")
}

// A control message of another kind names no interface.
func TestPktinfoIndex(t *testing.T) {
	message := func(level, typ, index uint32) (m [8]uint32) {
		copy(m[unix.SizeofCmsghdr/4-2:], []uint32{level, typ, index})
		return m
	}
	index, err := sockctl.PktinfoIndex(message(unix.IPPROTO_IP, unix.IP_PKTINFO, 7))
	require.NoError(t, err)
	assert.Equal(t, 7, index)
	for _, m := range [][2]uint32{{unix.IPPROTO_IP, unix.IP_TTL}, {unix.SOL_SOCKET, unix.IP_PKTINFO}, {unix.SOL_SOCKET, unix.SO_TIMESTAMP}} {
		index, err = sockctl.PktinfoIndex(message(m[0], m[1], 7))
		assert.EqualError(t, err, fmt.Sprintf("unexpected control message %d/%d", m[0], m[1]))
		assert.Zero(t, index)
	}
}

// The interface of a datagram is in two kinds of control messages, and in no
// other, wherever they stand.
func TestDatagramInterfaceIsThatOfItsMessage(t *testing.T) {
	message := func(level, typ int32, at, size int) []byte { // that has 7 at an offset
		b := make([]byte, unix.CmsgSpace(size))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		h.Level, h.Type = level, typ
		h.SetLen(unix.CmsgLen(size))
		binary.NativeEndian.PutUint32(b[unix.CmsgLen(0)+at:], 7)
		return b
	}
	v4 := message(unix.IPPROTO_IP, unix.IP_PKTINFO, 0, unix.SizeofInet4Pktinfo)
	v6 := message(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, 16, unix.SizeofInet6Pktinfo)
	others := slices.Concat(
		message(unix.IPPROTO_IP, unix.IP_ORIGDSTADDR, 0, unix.SizeofSockaddrInet4),
		message(unix.SOL_SOCKET, unix.IP_PKTINFO, 0, unix.SizeofInet4Pktinfo),
		message(unix.IPPROTO_IP, unix.IP_PKTINFO, 0, 8),
		message(unix.IPPROTO_IPV6, unix.IPV6_ORIGDSTADDR, 16, unix.SizeofSockaddrInet6),
		message(unix.SOL_SOCKET, unix.IPV6_PKTINFO, 16, unix.SizeofInet6Pktinfo),
		message(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, 12, 16),
	)
	assert.Zero(t, sockctl.DatagramInterface(others))
	for _, own := range [][]byte{v4, v6} {
		assert.Equal(t, 7, sockctl.DatagramInterface(own))
		assert.Equal(t, 7, sockctl.DatagramInterface(slices.Concat(others, own)))
	}
}

// What cannot be asked about a connection that is closed, or none, is an error.
func TestInterfaceOfNoConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	raw, err := c.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, c.Close())
	for _, c := range []*net.TCPConn{c.(*net.TCPConn), {}} {
		for _, local := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
			index, err := sockctl.ConnInterface(c, local)
			assert.Error(t, err)
			assert.Zero(t, index)
			assert.ErrorIs(t, sockctl.ReportInterface(raw, local), net.ErrClosed)
		}
	}
	assert.ErrorIs(t, sockctl.BindToDevice(raw, "lo"), net.ErrClosed)
	assert.ErrorIs(t, sockctl.NoReuse(raw), net.ErrClosed)
}

// An address of an interface that has gone keeps the index for a zone.
func TestAddrOf(t *testing.T) {
	lo, err := net.InterfaceByIndex(netif.LoopbackIndex)
	if err != nil {
		t.Skipf("package net shows no interface: %v", err) // qemu-user does not
	}
	link := netip.MustParseAddr("fe80::1")
	for zone, want := range map[uint32]string{0: "", uint32(lo.Index): lo.Name, 1<<31 - 2: "2147483646"} {
		assert.Equal(t, link.WithZone(want), sockctl.AddrOf(&syscall.SockaddrInet6{Addr: link.As16(), ZoneId: zone}))
	}
	assert.Equal(t, netip.MustParseAddr("127.0.0.1"), sockctl.AddrOf(&syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	assert.Equal(t, netip.Addr{}, sockctl.AddrOf(&syscall.SockaddrUnix{}))
}

// What a listener for a proof sets.
func TestListenIsOfTCPAlone(t *testing.T) {
	ln, err := sockctl.Listen(t.Context(), netip.MustParseAddr("127.0.0.1"))
	require.NoError(t, err)
	defer ln.Close()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		info, err := sockctl.Inspect(fd)
		require.NoError(t, err)
		assert.False(t, info.Multipath)
	}))
}
