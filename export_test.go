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
