package loopback_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

func TestAcquireLeasesDifferentAddressesThatWork(t *testing.T) {
	a, b := lease(t, 20), lease(t, 20)
	seen := map[netip.Addr]bool{}
	for _, addr := range append(a.Addrs(), b.Addrs()...) {
		assert.False(t, seen[addr], "%v twice", addr)
		seen[addr] = true
		assert.Equal(t, loopback.KindIPv4, loopback.KindOf(addr))
		as4 := addr.As4()
		assert.NotZero(t, as4[1], "%v: system services live there", addr)
		assert.NotContains(t, []byte{0, 255}, as4[3], "%v is at an edge", addr)
		ln, err := loopback.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		require.NoError(t, err)
		ln.Close()
	}
	assert.Len(t, seen, 40)
}

func TestLeaseHandsOutCopies(t *testing.T) {
	l := lease(t, 2)
	l.Addrs()[0] = netip.Addr{}
	assert.NotContains(t, l.Addrs(), netip.Addr{})
}

func TestLeaseClosesOnce(t *testing.T) {
	l := lease(t, 1)
	require.NoError(t, l.Close())
	assert.Empty(t, l.Addrs())
	err := l.Close()
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.EqualError(t, err, "loopback: close lease: use of closed network connection")
	var zero loopback.Lease
	assert.Empty(t, zero.Addrs())
	assert.NoError(t, zero.Close())
}

func TestAcquireRefusesBadNumbers(t *testing.T) {
	for n, want := range map[int]string{
		0:               "loopback: acquire 0 addresses: n is less than 1",
		-3:              "loopback: acquire -3 addresses: n is less than 1",
		255*256*254 + 1: "loopback: acquire 16581121 addresses: loopback: not enough addresses: 127.0.0.0/8 has 16581120",
		1<<31 - 1:       "loopback: acquire 2147483647 addresses: loopback: not enough addresses: 127.0.0.0/8 has 16581120",
	} {
		l, err := loopback.Acquire(t.Context(), n)
		assert.Nil(t, l)
		assert.EqualError(t, err, want)
		assert.Equal(t, n > 0, errors.Is(err, loopback.ErrFewAddrs))
	}
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l, err := loopback.Acquire(ctx, 1)
	assert.Nil(t, l)
	assert.ErrorIs(t, err, context.Canceled)
	assert.EqualError(t, err, "loopback: acquire 1 addresses: context canceled")

	_, err = loopback.Acquire(overdue{t.Context()}, 1)
	assert.EqualError(t, err, "loopback: acquire 1 addresses: context deadline exceeded")
}

// Every address that a lease may have is one that For may return, and the other
// way round.
func TestLeaseNumbersAreInverse(t *testing.T) {
	for _, n := range []uint32{0, 1, 253, 254, 255, 256*254 - 1, 256 * 254, loopback.NumFree - 1} {
		back, ok := loopback.FreeIndex(loopback.FreeAddr(n))
		assert.True(t, ok)
		assert.Equal(t, n, back)
	}
	for _, text := range []string{"127.0.0.1", "127.0.255.254", "127.1.0.0", "127.255.255.255", "128.1.1.1", "::1", "126.9.9.9"} {
		n, ok := loopback.FreeIndex(netip.MustParseAddr(text))
		assert.False(t, ok, text)
		assert.Zero(t, n, text)
	}
	assert.Equal(t, "127.255.255.254", loopback.FreeAddr(loopback.NumFree-1).String())
}
