package socktab_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/socktab"
)

// onPort lists the sockets of a port as "NETWORK ADDR".
func onPort(t *testing.T, port uint16) (lines []string) {
	t.Helper()
	sockets, err := socktab.OnPort(port)
	require.NoError(t, err)
	for _, s := range sockets {
		lines = append(lines, s.Network+" "+s.Local.String())
		require.Len(t, s.Owner.Processes, 1, "%+v", s)
		assert.Equal(t, os.Getpid(), s.Owner.Processes[0].PID)
		assert.NotEmpty(t, s.Owner.Processes[0].Image)
	}
	return lines
}

func TestCoversByDevice(t *testing.T) {
	for _, tt := range []struct {
		device int
		covers bool
	}{{0, true}, {netif.LoopbackIndex, true}, {77, false}} {
		s := socktab.Socket{Local: netip.MustParseAddrPort("[::]:1"), Device: tt.device}
		assert.Equal(t, tt.covers, s.Covers(netip.MustParseAddr("127.0.0.1")), tt.device)
		assert.Equal(t, tt.covers, s.Covers(netip.IPv6Loopback()), tt.device)
	}
}

func TestOnPortListsEveryKindOfSocket(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	assert.Empty(t, onPort(t, 3000))
	for _, address := range []string{"127.0.0.1:3000", "127.0.1.1:3000", "[::1]:3000", "127.0.0.1:3001"} {
		ln, err := net.Listen("tcp", address)
		require.NoError(t, err)
		defer ln.Close()
		pc, err := net.ListenPacket("udp", address)
		require.NoError(t, err)
		defer pc.Close()
	}
	c, err := net.Dial("tcp", "127.0.0.1:3000") // neither end of a connection listens
	require.NoError(t, err)
	defer c.Close()
	u, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9), Port: 3000}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3001})
	require.NoError(t, err)
	defer u.Close()
	assert.ElementsMatch(t, []string{
		"tcp4 127.0.0.1:3000", "tcp4 127.0.1.1:3000", "tcp6 [::1]:3000",
		"udp4 127.0.0.1:3000", "udp4 127.0.1.1:3000", "udp6 [::1]:3000",
	}, onPort(t, 3000))

	ln, err := net.Listen("tcp", ":3002") // multipath TCP has the owner of its listener, too
	require.NoError(t, err)
	defer ln.Close()
	assert.Equal(t, []string{"tcp6 [::]:3002"}, onPort(t, 3002))

	for _, addr := range []string{"fe80::1/64", "169.254.0.1/16"} {
		netnstest.Run(t, "ip", "addr", "add", addr, "dev", "lo", "nodad")
	}
	for _, address := range []string{"[fe80::1%lo]:3003", "169.254.0.1:3003"} {
		ln, err := net.Listen("tcp", address)
		require.NoError(t, err)
		defer ln.Close()
	}
	assert.Equal(t, []string{"tcp4 169.254.0.1:3003", "tcp6 [fe80::1%lo]:3003"}, onPort(t, 3003))
}

// A socket is full when the kernel takes no connection any more: one more waits
// than listen(2) was told.
func TestOnPortTellsAFullQueue(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	const room = 2
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Port: 3000, Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, room))
	for waiting := 0; waiting <= room+1; waiting++ {
		sockets, err := socktab.OnPort(3000)
		require.NoError(t, err)
		require.Len(t, sockets, 1)
		assert.Equal(t, waiting > room, sockets[0].Full, "%d wait", waiting)
		if waiting <= room {
			c, err := net.Dial("tcp4", "127.0.0.1:3000")
			require.NoError(t, err)
			defer c.Close()
		}
	}
}

// The kernel here may lack a protocol or a family.
func TestNamesOfProtocolsAndFamilies(t *testing.T) {
	for number, want := range map[int]string{
		unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "icmp", unix.IPPROTO_SCTP: "sctp", unix.IPPROTO_DCCP: "dccp",
		unix.IPPROTO_UDPLITE: "udplite", unix.IPPROTO_TCP: "", unix.IPPROTO_MPTCP: "", unix.IPPROTO_UDP: "",
	} {
		assert.Equal(t, want, socktab.Protocol(sockctl.Info{Type: sockctl.Datagram, Protocol: number}), number)
		assert.Empty(t, socktab.Protocol(sockctl.Info{Type: sockctl.Raw, Protocol: number}), "its port is the protocol")
	}
	for number, want := range map[int]string{
		unix.AF_UNIX: "", unix.AF_NETLINK: "", unix.AF_ALG: "", unix.AF_KEY: "", // of this machine
		unix.AF_VSOCK: "vsock", unix.AF_PACKET: "packet", unix.AF_BLUETOOTH: "bluetooth", unix.AF_CAN: "can",
		unix.AF_TIPC: "tipc", unix.AF_XDP: "xdp", unix.AF_QIPCRTR: "family 42",
	} {
		assert.Equal(t, want, socktab.FamilyName(number), number)
	}
}

// A process may give itself a name that moves the cursor of a terminal.
func TestOnPortPrintsNoControlCharacters(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	name, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("/proc/self/comm", []byte("a\x1b[2J\n\xffé"), 0))
	defer func() { assert.NoError(t, os.WriteFile("/proc/self/comm", name, 0)) }()
	sockets, err := socktab.OnPort(uint16(ln.Addr().(*net.TCPAddr).Port))
	require.NoError(t, err)
	require.Len(t, sockets, 1)
	require.Len(t, sockets[0].Owner.Processes, 1)
	assert.Equal(t, "a?[2J??é", sockets[0].Owner.Processes[0].Name)
}

// The id that stands for users without one here may be anyone's, but where
// every user has an id.
func TestNamedNeedsTheWholeIdentity(t *testing.T) {
	for text, want := range map[string]bool{
		"         0          0 4294967295\n": true,
		"         0       1000          1\n": false,
		"     65534     100000          1\n": false,
		"         0     100000      65536\n": false,
		"         0     100000 4294967295\n": false,
		"         1          0 4294967295\n": false,
		"         0          0 4294967294\n": false,
		"         0          0\n":            false,
		"1 1 1\n0 0 4294967295\n":            true,
		"":                                   false,
	} {
		path := t.TempDir() + "/uid_map"
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		assert.Equal(t, want, socktab.NamedBy(path, 65534), "%q", text)
		assert.True(t, socktab.NamedBy(path, 0))
		assert.True(t, socktab.NamedBy(path, 65533))
	}
	assert.False(t, socktab.NamedBy("/nowhere", 65534))
}

func TestOnPortSaysWhyNot(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	limit := unix.Rlimit{Cur: 3, Max: 3}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	_, err := socktab.OnPort(3000)
	assert.ErrorIs(t, err, unix.EMFILE)
}

// connect(2) gives a socket a port of every interface before it has the peer.
func TestOwnLeavesOutWhatIsBeingConnected(t *testing.T) {
	open := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		require.NoError(t, unix.Bind(fd, new(unix.SockaddrInet4)))
		return fd
	}
	stays, connects := open(), open()
	sockets, err := socktab.Audited(func(visit func(fd int) bool) error {
		visit(stays)
		visit(connects)
		return unix.Connect(connects, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9})
	})
	require.NoError(t, err)
	require.Len(t, sockets, 1)
	assert.Equal(t, stays, sockets[0].FD)
}
