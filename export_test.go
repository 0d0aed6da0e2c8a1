package loopback

import (
	"context"
	"net"
	"net/netip"
)

// What tests of package loopback_test reach inside for.

// Confirm judges a new socket by what getsockname gave.
func Confirm(got, want netip.AddrPort) error { return confirm(nil, got, want, nil) }

// Trip makes the proof of IngressRemote on a socket that is not a throwaway
// one: a *net.TCPListener or a *net.UDPConn.
func Trip(ctx context.Context, c any) error {
	g := gate{rung: IngressRemote}
	if ln, ok := c.(*net.TCPListener); ok {
		return tripTCP(ctx, tcpSock{ln, g})
	}
	return tripUDP(ctx, packetSock{c.(*net.UDPConn), g})
}

// NumFree is the number of addresses that For and Acquire choose from.
const NumFree = numFree

var (
	FreeAddr  = freeAddr
	FreeIndex = freeIndex
)

// AcquireUnproved is Acquire without the round trips.
func AcquireUnproved(ctx context.Context, n int) (*Lease, error) {
	return acquire(ctx, n, func(context.Context, netip.Addr) error { return nil })
}
