package netlink_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
)

func openDiag(t *testing.T) *netlink.Conn {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		t.Skipf("needs NETLINK_SOCK_DIAG: %v", err)
	}
	unix.Close(fd)
	c, err := netlink.Open(unix.NETLINK_SOCK_DIAG)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func TestTCP(t *testing.T) {
	c := openDiag(t)
	for _, tt := range []struct{ network, listen, dial string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"tcp4", "127.0.0.9:0", "127.0.0.9"},
		{"tcp6", "[::1]:0", "::1"},
		{"tcp", ":0", "127.0.0.1"}, // an IPv6 socket
		{"tcp", ":0", "::1"},
	} {
		t.Run(tt.listen+" "+tt.dial, func(t *testing.T) {
			if other, err := net.Listen("tcp", net.JoinHostPort(tt.dial, "0")); err != nil {
				t.Skipf("needs %s: %v", tt.dial, err)
			} else {
				other.Close()
			}
			ln, err := net.Listen(tt.network, tt.listen) // a multipath TCP socket, where the kernel has it
			require.NoError(t, err)
			defer ln.Close()
			server := netip.AddrPortFrom(netip.MustParseAddr(tt.dial), addrPort(ln.Addr()).Port())

			s, err := c.TCP(server, netip.AddrPort{})
			require.NoError(t, err)
			assert.EqualValues(t, netlink.StateListen, s.State)
			assert.Equal(t, addrPort(ln.Addr()), s.Local)
			assert.EqualValues(t, os.Getuid(), s.UID)
			assert.NotZero(t, s.Inode)

			conn, err := net.Dial("tcp", server.String())
			require.NoError(t, err)
			defer conn.Close()
			s, err = c.TCP(addrPort(conn.LocalAddr()), server)
			require.NoError(t, err)
			assert.EqualValues(t, 1, s.State)
			assert.Equal(t, addrPort(conn.LocalAddr()), s.Local)
			assert.Equal(t, server, s.Remote)
			assert.EqualValues(t, os.Getuid(), s.UID)

			require.NoError(t, ln.Close())
			_, err = c.TCP(server, netip.AddrPort{})
			assert.Equal(t, unix.ENOENT, err)
		})
	}
}
