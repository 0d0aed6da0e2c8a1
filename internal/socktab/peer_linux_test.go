package socktab_test

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/faulttest"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/internal/socktab"
)

// connection returns the ends of a TCP connection, and the socket of the client
// as the kernel should tell it.
func connection(t *testing.T) (client, server *net.TCPConn, told faulttest.Diag) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	s, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn), faulttest.Diag{
		State: 1, UID: 7, Inode: 1,
		Local: netip.MustParseAddrPort(c.LocalAddr().String()), Remote: netip.MustParseAddrPort(c.RemoteAddr().String()),
	}
}

// state returns the state of a TCP connection.
func state(t *testing.T, c *net.TCPConn) (state uint8) {
	t.Helper()
	rc, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, rc.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		require.NoError(t, err)
		state = info.State
	}))
	return state
}

// A user is named if the kernel names the socket at the other end, in a state
// that a connection has, with a process. All else is an error.
func TestPeersUIDByWhatTheKernelTells(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	peers, err := socktab.OpenPeers()
	require.NoError(t, err)
	defer peers.Close()
	netlink := faulttest.Netlink(t, unix.NETLINK_SOCK_DIAG)
	_, server, told := connection(t)
	poll := faulttest.Call{Name: "ppoll", Number: unix.SYS_PPOLL}
	in := faulttest.Start(t, getsockopt, getsockname, getpeername, newSocket, poll)

	errno := func(errno unix.Errno) faulttest.Kernel {
		return func(r []byte) [][]byte { return [][]byte{faulttest.ErrorMessage(r, errno)} }
	}
	tell := func(change func(d *faulttest.Diag)) faulttest.Kernel {
		d := told
		change(&d)
		return func(r []byte) [][]byte {
			return [][]byte{faulttest.Message(r, unix.SOCK_DIAG_BY_FAMILY, d.Message())}
		}
	}
	type row struct {
		kernel faulttest.Kernel
		want   string // "" is the user 7
	}
	const unknown = "the kernel does not tell: "
	rows := map[string]row{
		"as it is":    {tell(func(*faulttest.Diag) {}), ""},
		"no user":     {tell(func(d *faulttest.Diag) { d.UID = ^uint32(0) }), unknown + "the user has no id here"},
		"overflow id": {tell(func(d *faulttest.Diag) { d.UID = 65534 }), unknown + "the user has no id here"},
		"another address": {tell(func(d *faulttest.Diag) {
			d.Local = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), d.Local.Port())
		}), unknown + "this machine has no socket at the other end"},
		"another port": {tell(func(d *faulttest.Diag) { d.Local = netip.AddrPortFrom(d.Local.Addr(), d.Local.Port()+1) }), unknown + "this machine has no socket at the other end"},
		"to another":   {tell(func(d *faulttest.Diag) { d.Remote = netip.AddrPort{} }), unknown + "this machine has no socket at the other end"},
		"none":         {errno(unix.ENOENT), unknown + "this machine has no socket at the other end"},
		"refused":      {errno(unix.EPERM), unknown + "operation not permitted"},
		"no process":   {tell(func(d *faulttest.Diag) { d.Inode = 0 }), unknown + "no process has the socket at the other end"},
	}
	connected := map[byte]bool{1: true, 4: true, 5: true, 8: true} // ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT
	for state := range byte(13) {
		want := ""
		if !connected[state] {
			want = unknown + "the socket at the other end is in state " + strconv.Itoa(int(state))
		}
		rows["state "+strconv.Itoa(int(state))] = row{tell(func(d *faulttest.Diag) { d.State = state }), want}
		if state != 1 {
			rows["no process, state "+strconv.Itoa(int(state))] = row{tell(func(d *faulttest.Diag) { d.State, d.Inode = state, 0 }), "the connection is closed at the other end"}
		}
	}
	ask := func(name, want string) {
		t.Helper()
		uid, err := peers.UID(server)
		if want == "" {
			assert.NoError(t, err, name)
			assert.EqualValues(t, 7, uid, name)
		} else {
			assert.EqualError(t, err, want, name)
			assert.Zero(t, uid, name)
		}
	}
	for name, tt := range rows {
		faulttest.Imitate(t, netlink, tt.kernel)
		ask(name, tt.want)
	}

	// Of the socket at hand, a failing question is an error.
	faulttest.Imitate(t, netlink, tell(func(*faulttest.Diag) {}))
	for option, want := range map[[2]uint64]string{
		{unix.SOL_SOCKET, unix.SO_DOMAIN}:       "getsockopt SO_DOMAIN: operation not permitted",
		{unix.SOL_SOCKET, unix.SO_PROTOCOL}:     "getsockopt SO_PROTOCOL: operation not permitted",
		{unix.SOL_SOCKET, unix.SO_NETNS_COOKIE}: unknown + "getsockopt SO_NETNS_COOKIE: operation not permitted",
		{unix.IPPROTO_TCP, unix.TCP_INFO}:       unknown + "getsockopt TCP_INFO: operation not permitted",
	} {
		call := getsockopt
		call.Args = func(args [6]uint64) bool { return args[1] == option[0] && args[2] == option[1] }
		assert.Equal(t, 1, in.During(faulttest.Fault{Call: call, Errno: unix.EPERM, First: 1}, func() { ask(want, want) }))
	}

	for call, want := range map[*faulttest.Call]string{&getsockname: "getsockname: operation not permitted", &getpeername: "getpeername: operation not permitted"} {
		assert.Equal(t, 1, in.During(faulttest.Fault{Call: *call, Errno: unix.EPERM, First: 1}, func() { ask(want, want) }))
	}

	// Nothing can be asked without a netlink socket of a known namespace.
	cookie := getsockopt
	cookie.Args = func(args [6]uint64) bool { return args[2] == unix.SO_NETNS_COOKIE }
	before := socket(t, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	unix.Close(before)
	for call, want := range map[*faulttest.Call]string{
		&newSocket: unknown + "socket: operation not permitted",
		&cookie:    unknown + "getsockopt SO_NETNS_COOKIE: operation not permitted",
	} {
		in.During(faulttest.Fault{Call: *call, Errno: unix.EPERM, First: 1}, func() {
			p, err := socktab.OpenPeers()
			assert.EqualError(t, err, want)
			assert.ErrorIs(t, err, socktab.ErrUnknown)
			assert.Nil(t, p)
			uid, err := socktab.PeerUID(server)
			assert.EqualError(t, err, want)
			assert.Zero(t, uid)
		})
	}
	uid, err := socktab.PeerUID(server)
	require.NoError(t, err)
	assert.Zero(t, uid, "the kernel itself is asked")
	assert.LessOrEqual(t, socket(t, unix.AF_UNIX, unix.SOCK_STREAM, 0), before, "left open") // others may have been closed

	// One that has closed a direction is still there, whichever end it was.
	var other *net.TCPConn
	other, server, told = connection(t)
	faulttest.Imitate(t, netlink, tell(func(d *faulttest.Diag) { d.State = 5 }))
	require.NoError(t, other.CloseWrite())
	ask("its direction is closed", "")
	require.NoError(t, server.CloseWrite())
	ask("both directions are closed", "the connection is closed at the other end")
	_, server, told = connection(t)
	faulttest.Imitate(t, netlink, tell(func(*faulttest.Diag) {}))
	require.NoError(t, server.CloseWrite())
	ask("our direction is closed", "")
	require.Eventually(t, func() bool { return state(t, server) == 5 }, 10*time.Second, time.Millisecond)
	ask("and that is acknowledged", "")

	// A client that hangs up while it is asked for is gone.
	for name, kernel := range map[string]func() faulttest.Kernel{
		"none":       func() faulttest.Kernel { return errno(unix.ENOENT) },
		"no process": func() faulttest.Kernel { return tell(func(d *faulttest.Diag) { d.Inode = 0 }) },
		"closed":     func() faulttest.Kernel { return tell(func(d *faulttest.Diag) { d.State = 7 }) },
		"a listener": func() faulttest.Kernel { return tell(func(d *faulttest.Diag) { d.Remote = netip.AddrPort{} }) },
	} {
		var client *net.TCPConn
		client, server, told = connection(t)
		faulttest.Imitate(t, netlink, kernel())
		call := poll
		call.Args = func([6]uint64) bool {
			client.Close()
			return false
		}
		in.During(faulttest.Fault{Call: call, Errno: unix.EPERM, First: 1}, func() { ask(name, "the connection is closed at the other end") })
		faulttest.Imitate(t, netlink, errno(unix.ENOENT))
		ask("closed, "+name, "the connection is closed at the other end")
	}

	// So is one that resets it meanwhile, whatever the kernel tells of a later one.
	client, server, told := connection(t)
	answer := tell(func(*faulttest.Diag) {})
	faulttest.Imitate(t, netlink, func(r []byte) [][]byte {
		_ = client.SetLinger(0)
		_ = client.Close()
		return answer(r)
	})
	ask("reset", "the connection is closed at the other end")
	ask("reset before", "the connection is closed at the other end")
}

// What is no connection of TCP or a unix socket has no user, and neither has one
// of another namespace or one that is closed.
func TestPeersUIDOfOtherSockets(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	peers, err := socktab.OpenPeers()
	require.NoError(t, err)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer pc.Close()
	_, server, _ := connection(t)
	n := netnstest.NewNeighbour(t)
	var elsewhere net.Listener
	n.Do(func() { elsewhere, err = net.Listen("tcp", "127.0.0.1:0") })
	require.NoError(t, err)
	defer elsewhere.Close()
	uid, err := peers.UID(server)
	require.NoError(t, err)
	assert.Zero(t, uid, "root of this namespace")
	uid, err = peers.UID(pc.(*net.UDPConn))
	assert.EqualError(t, err, "unsupported operation")
	assert.Zero(t, uid)
	uid, err = peers.UID(elsewhere.(*net.TCPListener))
	assert.EqualError(t, err, "the kernel does not tell: the connection is of another network namespace")
	assert.Zero(t, uid)
	for typ, want := range map[int]string{unix.SOCK_STREAM: "", unix.SOCK_SEQPACKET: "", unix.SOCK_DGRAM: "unsupported operation"} {
		pair, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		a, b := os.NewFile(uintptr(pair[0]), "a"), os.NewFile(uintptr(pair[1]), "b")
		defer a.Close()
		defer b.Close()
		uid, err = peers.UID(a)
		assert.Zero(t, uid)
		if want == "" {
			assert.NoError(t, err)
		} else {
			assert.EqualError(t, err, want)
		}
	}
	if fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP); err == nil { // NETLINK_XFRM has the same number
		f := os.NewFile(uintptr(fd), "netlink")
		defer f.Close()
		uid, err = peers.UID(f)
		assert.EqualError(t, err, "unsupported operation")
		assert.Zero(t, uid)
	}
	ln6, err := net.Listen("tcp6", "[::1]:0")
	require.NoError(t, err)
	defer ln6.Close()
	c6, err := net.Dial("tcp6", ln6.Addr().String())
	require.NoError(t, err)
	defer c6.Close()
	uid, err = peers.UID(c6.(*net.TCPConn))
	require.Error(t, err, "it is not accepted, and no process has it")
	assert.Zero(t, uid)
	s6, err := ln6.Accept()
	require.NoError(t, err)
	defer s6.Close()
	uid, err = peers.UID(s6.(*net.TCPConn))
	require.NoError(t, err)
	assert.Zero(t, uid)
	uid, err = peers.UID(new(net.TCPConn))
	assert.ErrorIs(t, err, unix.EINVAL)
	assert.Zero(t, uid)
	require.NoError(t, server.Close())
	uid, err = peers.UID(server)
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.Zero(t, uid)
	require.NoError(t, peers.Close())
	assert.ErrorIs(t, peers.Close(), net.ErrClosed)
}
