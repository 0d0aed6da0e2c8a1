package sockctl_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/faulttest"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/internal/sockctl"
)

var (
	newSocket   = faulttest.Call{Name: "socket", Number: unix.SYS_SOCKET}
	connect     = faulttest.Call{Name: "connect", Number: unix.SYS_CONNECT}
	getsockname = faulttest.Call{Name: "getsockname", Number: unix.SYS_GETSOCKNAME}
)

// Whether an address can be connected to is told, or the error is that of the
// call that failed. The two addresses may share a socket, and a fault of it.
func TestCanConnectAllUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	require.Equal(t, []error{nil, nil}, sockctl.CanConnectAll(addrs))
	calls := []faulttest.Call{newSocket, connect, getsockname}
	in := faulttest.Start(t, calls...)
	before := descriptors(t)
	failures := 0
	faults := in.Each(faulttest.Plan{Calls: calls, Errnos: []unix.Errno{unix.EPERM}}, func(f faulttest.Fault, during func(func())) {
		var errs []error
		during(func() { errs = sockctl.CanConnectAll(addrs) })
		text := map[uint32][]string{
			unix.SYS_SOCKET:      {"socket: operation not permitted", "socket: operation not permitted"},
			unix.SYS_CONNECT:     {"dial udp 127.0.0.1:9: connect: operation not permitted", "dial udp [::1]:9: connect: operation not permitted"},
			unix.SYS_GETSOCKNAME: {"getsockname: operation not permitted", "getsockname: operation not permitted"},
		}[f.Call.Number]
		for i, err := range errs {
			if err != nil {
				failures++
				assert.EqualError(t, err, text[i], "%v", f)
			}
		}
		assert.LessOrEqual(t, descriptors(t), before, "%v", f) // others may have been closed
	})
	t.Logf("%d faults, %d errors", faults, failures)
	assert.Greater(t, failures, faults/2)
}

// Package net gives a listener without a name a nil address. That is an error,
// and nothing is left open.
func TestListenWithoutAName(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	in := faulttest.Start(t, getsockname)
	before := descriptors(t)
	assert.Positive(t, in.During(faulttest.Fault{Call: getsockname, Errno: unix.EPERM, First: 1}, func() {
		ln, err := sockctl.Listen(t.Context(), netip.IPv6Loopback())
		assert.Nil(t, ln)
		assert.Equal(t, &net.OpError{Op: "listen", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv6loopback}, Err: sockctl.ErrNoName}, err)
	}))
	assert.LessOrEqual(t, descriptors(t), before)
}
