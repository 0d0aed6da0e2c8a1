package loopback_test

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/faulttest"
	"example.com/loopback/internal/netnstest"
)

// The tests below play the kernel at the other end of the netlink socket that a
// listener keeps, and answer what the kernel should not.

// clientFrom is an address of this machine that is not loopback.
const clientFrom = "192.0.2.1"

// A client whose address may not be this machine's own is refused. So is one
// whose address is another's.
func TestIngressRefusesWhomTheKernelDoesNotKnow(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "addr", "add", clientFrom+"/32", "dev", "lo")
	const unknown = "loopback: connection refused by policy: the remote address is not loopback, and may not be this machine's own: "
	routeOf := func(typ byte) faulttest.Kernel {
		return func(r []byte) [][]byte {
			body := make([]byte, unix.SizeofRtMsg)
			body[7] = typ
			return [][]byte{faulttest.Message(r, unix.RTM_NEWROUTE, body)}
		}
	}
	for name, tt := range map[string]struct {
		kernel faulttest.Kernel
		why    string // "" lets it in
	}{
		"local":   {routeOf(unix.RTN_LOCAL), ""},
		"unicast": {routeOf(unix.RTN_UNICAST), "loopback: connection refused by policy: the remote address is neither loopback nor this machine's own"},
		"nonsense": {func(r []byte) [][]byte { return [][]byte{faulttest.Message(r, unix.RTM_NEWROUTE, nil)} },
			unknown + "route to 192.0.2.1: malformed netlink answer"},
		"EPERM": {func(r []byte) [][]byte { return [][]byte{faulttest.ErrorMessage(r, unix.EPERM)} },
			unknown + "route to 192.0.2.1: operation not permitted"},
	} {
		for _, ingress := range []loopback.Ingress{loopback.IngressDevice, loopback.IngressCheck} {
			t.Run(name+" "+ingress.String(), func(t *testing.T) {
				var refused rejections
				lc := loopback.ListenConfig{Ingress: ingress, OnReject: refused.add}
				ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
				require.NoError(t, err)
				defer ln.Close()
				faulttest.Imitate(t, faulttest.Netlink(t, unix.NETLINK_ROUTE), tt.kernel)
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientFrom)}}
				client, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
				require.NoError(t, err)
				defer client.Close()
				local := dial(t, ln.AddrPorts()[0]) // a loopback client is served in any case
				defer local.Close()
				require.NoError(t, ln.SetDeadline(time.Now().Add(patience)))
				got, err := ln.Accept()
				require.NoError(t, err)
				defer got.Close()
				if tt.why == "" {
					assert.Equal(t, client.LocalAddr().String(), got.RemoteAddr().String())
					assert.Empty(t, refused.all())
				} else {
					assert.Equal(t, local.LocalAddr().String(), got.RemoteAddr().String())
					require.Len(t, refused.all(), 1)
					assert.EqualError(t, refused.all()[0], "accept tcp "+ln.Addr().String()+"->"+client.LocalAddr().String()+": "+tt.why)
					assert.ErrorIs(t, refused.all()[0], loopback.ErrRefused)
				}
				require.NoError(t, ln.Close())

				refused = rejections{}
				pc, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
				require.NoError(t, err)
				defer pc.Close()
				faulttest.Imitate(t, faulttest.Netlink(t, unix.NETLINK_ROUTE), tt.kernel)
				from, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(clientFrom)}, pc.LocalAddr().(*net.UDPAddr))
				require.NoError(t, err)
				defer from.Close()
				near := dialUDP(t, pc.AddrPorts()[0])
				for _, c := range []*net.UDPConn{from, near} {
					_, err = c.Write([]byte("x"))
					require.NoError(t, err)
				}
				require.NoError(t, pc.SetReadDeadline(time.Now().Add(patience)))
				_, sender, err := pc.ReadFrom(make([]byte, 1))
				require.NoError(t, err)
				n, err := pc.WriteTo([]byte("x"), from.LocalAddr())
				if tt.why == "" {
					assert.Equal(t, from.LocalAddr().String(), sender.String())
					assert.Empty(t, refused.all())
					assert.NoError(t, err)
					assert.Equal(t, 1, n)
				} else {
					assert.Equal(t, near.LocalAddr().String(), sender.String())
					require.Len(t, refused.all(), 1)
					assert.EqualError(t, refused.all()[0], "read udp "+pc.LocalAddr().String()+"->"+from.LocalAddr().String()+": "+tt.why)
					assert.ErrorIs(t, err, loopback.ErrNotLoopback, "nothing is sent there")
					assert.Zero(t, n)
				}
			})
		}
	}
}

// SameUser admits a connection if the kernel names this user. Who is not known is
// refused, and the refusal says why.
func TestSameUserRefusesWhomTheKernelDoesNotTell(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	var refused rejections
	var ln *loopback.Listener
	lc := &loopback.ListenConfig{SameUser: true, OnReject: func(err error) {
		refused.add(err)
		ln.SetDeadline(time.Unix(1, 0)) // there is no other to wait for
	}}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	netlink := faulttest.Netlink(t, unix.NETLINK_SOCK_DIAG)
	const unknown = "loopback: connection refused by policy: loopback: the user of the peer is not known: the kernel does not tell"
	const gone = "loopback: connection refused by policy: loopback: the peer is gone: the connection is closed at the other end"
	for name, tt := range map[string]struct {
		change func(d *faulttest.Diag)
		answer func(request []byte) []byte // in place of d
		why    string                      // "" lets it in
	}{
		"as it is":         {change: func(*faulttest.Diag) {}},
		"another user":     {change: func(d *faulttest.Diag) { d.UID = 7 }, why: "loopback: connection refused by policy: user 7 is not admitted"},
		"the overflow id":  {change: func(d *faulttest.Diag) { d.UID = 65534 }, why: unknown + ": the user has no id here"},
		"no process, gone": {change: func(d *faulttest.Diag) { d.Inode, d.State = 0, 6 }, why: gone}, // TIME_WAIT
		"refused":          {answer: func(r []byte) []byte { return faulttest.ErrorMessage(r, unix.EPERM) }, why: unknown + ": operation not permitted"},
		"nonsense":         {answer: func(r []byte) []byte { return faulttest.Message(r, unix.RTM_NEWROUTE, nil) }, why: unknown + ": malformed netlink answer"},
	} {
		t.Run(name, func(t *testing.T) {
			refused = rejections{}
			client := dial(t, ln.AddrPorts()[0])
			faulttest.Imitate(t, netlink, func(r []byte) [][]byte {
				if tt.answer != nil {
					return [][]byte{tt.answer(r)}
				}
				d := faulttest.Diag{State: 1, UID: uint32(os.Geteuid()), Inode: 1,
					Local: netip.MustParseAddrPort(client.LocalAddr().String()), Remote: ln.AddrPorts()[0]}
				tt.change(&d)
				return [][]byte{faulttest.Message(r, unix.SOCK_DIAG_BY_FAMILY, d.Message())}
			})
			require.NoError(t, ln.SetDeadline(time.Now().Add(patience)))
			if tt.why != "" {
				_, err := ln.Accept()
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.Len(t, refused.all(), 1)
				assert.EqualError(t, refused.all()[0], "accept tcp "+ln.Addr().String()+"->"+client.LocalAddr().String()+": "+tt.why)
				client.SetDeadline(time.Now().Add(patience))
				_, err = client.Read(make([]byte, 1))
				assert.ErrorIs(t, err, unix.ECONNRESET)
				return
			}
			c, err := ln.Accept()
			require.NoError(t, err)
			c.Close()
			assert.Empty(t, refused.all())
		})
	}
}

// SameUser fails where the kernel tells another user of this process's own
// connection.
func TestSameUserFailsWhereThisProcessIsTakenForAnother(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	runtime.LockOSThread() // and never unlocked: the id is the thread's
	before, err := unix.SetfsuidRetUid(1234)
	require.NoError(t, err)
	require.Zero(t, before)
	descriptorsBefore := descriptors(t)
	ln, err := (&loopback.ListenConfig{SameUser: true}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	assert.Nil(t, ln)
	assert.EqualError(t, err, "listen tcp: loopback: SameUser or AllowUIDs is set, and the users of connections are not told: "+
		"loopback: the user of the peer is not known: the user 0 is said to be 1234")
	assert.ErrorIs(t, err, loopback.ErrPeerUnknown)
	assert.Equal(t, descriptorsBefore, descriptors(t), "left open")
}

// SameUser fails in time where connections never come to be accepted.
func TestSameUserFailsWhereNothingIsAccepted(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	filter(t, "tcp flags & (syn | rst) == 0x0 drop") // the client is connected by the answer to its SYN
	before := descriptors(t)
	failed := make(chan error, 1)
	go func() {
		_, err := (&loopback.ListenConfig{SameUser: true, Ingress: loopback.IngressAny}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		failed <- err
	}()
	assert.EqualError(t, wait(t, failed), "listen tcp: loopback: SameUser or AllowUIDs is set, and the users of connections are not told: "+
		"context deadline exceeded")
	assert.Equal(t, before, descriptors(t), "left open")
}

// Close returns why one of the sockets could not be closed, and closes the others.
func TestCloseSaysWhyNot(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	before := descriptors(t)
	for _, protocol := range []int{unix.NETLINK_ROUTE, unix.NETLINK_SOCK_DIAG} {
		ln, err := (&loopback.ListenConfig{SameUser: true}).Listen(t.Context(), "tcp", ":0")
		require.NoError(t, err)
		require.NoError(t, unix.Close(faulttest.Netlink(t, protocol)))
		assert.EqualError(t, ln.Close(), "close tcp "+ln.Addr().String()+": close: bad file descriptor")
		assert.Equal(t, before, descriptors(t), "left open")
	}
	pc, err := loopback.ListenPacket("udp", ":0")
	require.NoError(t, err)
	require.NoError(t, unix.Close(faulttest.Netlink(t, unix.NETLINK_ROUTE)))
	assert.EqualError(t, pc.Close(), "close udp "+pc.LocalAddr().String()+": close: bad file descriptor")
	assert.Equal(t, before, descriptors(t), "left open")
}

// Where nothing can be written to a connection, no mode of Ingress is proved, and
// no address is leased.
func TestProofThatCannotWrite(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	before := descriptors(t)
	filterSyscall(t, unix.SYS_WRITE, 2, uint32(len(rand.Text())), unix.EPERM)
	ln, err := loopback.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := ln.Bindings()[0]
	assert.Equal(t, loopback.IngressDevice, b.Ingress, "the strongest that can be set")
	assert.Regexp(t, `^not proved, nothing gets through: write tcp 127\.0\.0\.1:\d+->127\.0\.0\.1:\d+: write: operation not permitted$`, b.Err)
	require.NoError(t, ln.Close())

	l, err := loopback.Acquire(t.Context(), 1)
	assert.Nil(t, l)
	assert.ErrorIs(t, err, loopback.ErrFewAddrs)
	assert.Regexp(t, `carry no connection \(write tcp 127\.\d+\.\d+\.\d+:\d+->127\.\d+\.\d+\.\d+:\d+: write: operation not permitted\)$`, err)
	assert.Equal(t, before, descriptors(t), "left open")
}
