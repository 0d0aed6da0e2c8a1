package sockctl_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/sockctl"
)

// inspect asks about c.
func inspect(t *testing.T, c any) sockctl.Info {
	t.Helper()
	rc, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	var info sockctl.Info
	var ierr error
	require.NoError(t, rc.Control(func(fd uintptr) { info, ierr = sockctl.Inspect(fd) }))
	require.NoError(t, ierr)
	return info
}

func TestInspectTellsWhatASocketIs(t *testing.T) {
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		t.Skip("no sockets of a kernel")
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	info := inspect(t, ln)
	assert.Equal(t, sockctl.Stream, info.Type)
	assert.Equal(t, at, info.Local)
	assert.True(t, info.Listening)
	assert.False(t, info.Peer.IsValid())

	client, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	info = inspect(t, client)
	assert.False(t, info.Listening)
	assert.Equal(t, at, info.Peer)

	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer pc.Close()
	info = inspect(t, pc)
	assert.Equal(t, sockctl.Datagram, info.Type)
	assert.False(t, info.Listening)
	assert.Empty(t, info.Device)
	assert.False(t, info.Transparent)
}

func TestBindOnlyAndHasAddr(t *testing.T) {
	v4 := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	bound, err := sockctl.BindOnly(t.Context(), v4)
	require.NoError(t, err)
	assert.Equal(t, v4, bound)
	assert.NoError(t, sockctl.HasAddr(t.Context(), v4))

	foreign := netip.MustParseAddr("192.0.2.77") // RFC 5737
	_, err = sockctl.BindOnly(t.Context(), foreign)
	assert.ErrorContains(t, err, "bind")
	assert.Error(t, sockctl.HasAddr(t.Context(), foreign))
}

func TestReservePortIsFreeInBothFamilies(t *testing.T) {
	port, release := sockctl.ReservePort()
	defer release()
	if port == 0 {
		t.Skip("needs Linux and IPv6")
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		ln, err := net.ListenTCP(network, &net.TCPAddr{Port: int(port)})
		if assert.NoError(t, err) {
			ln.Close()
		}
	}
}

// The connection of a round trip is known by its text, whoever came first.
func TestRoundTripPassesOverOthers(t *testing.T) {
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		t.Skip("no sockets of a kernel")
	}
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer ln.Close()
	for _, text := range []string{"", "another text, as long as that of the round trip"} {
		other, err := net.Dial("tcp4", ln.Addr().String())
		require.NoError(t, err)
		defer other.Close()
		_, err = other.Write([]byte(text))
		require.NoError(t, err)
	}
	calls := 0
	errMine := errors.New("mine")
	err = sockctl.RoundTripThrough(t.Context(), ln, func(client, server *net.TCPConn) error {
		calls++
		assert.Equal(t, client.LocalAddr().String(), server.RemoteAddr().String())
		return errMine
	})
	assert.Equal(t, errMine, err)
	assert.Equal(t, 1, calls)
}

// An address that nothing can listen on has no round trip.
func TestRoundTripOfNoListener(t *testing.T) {
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		t.Skip("no sockets of a kernel")
	}
	err := sockctl.RoundTrip(t.Context(), netip.MustParseAddr("2001:db8::1"), func(_, _ *net.TCPConn) error {
		t.Error("called")
		return nil
	})
	assert.ErrorContains(t, err, "listen tcp [2001:db8::1]:0: ")
}

func TestRoundTripEndsWithItsContext(t *testing.T) {
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		t.Skip("no sockets of a kernel")
	}
	ctx, cancel := context.WithCancel(t.Context())
	v4 := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	assert.NoError(t, sockctl.RoundTrip(ctx, v4, func(_, _ *net.TCPConn) error { return nil }))
	cancel()
	err := sockctl.RoundTrip(ctx, v4, func(_, _ *net.TCPConn) error {
		t.Error("called")
		return nil
	})
	assert.ErrorIs(t, err, context.Canceled)

	err = sockctl.RoundTrip(overdue{t.Context()}, v4, func(_, _ *net.TCPConn) error { return nil })
	assert.Equal(t, context.DeadlineExceeded, err)
}

// An overdue context has not noticed yet that its deadline is past.
type overdue struct{ context.Context }

func (overdue) Deadline() (time.Time, bool) { return time.Unix(1, 0), true }
