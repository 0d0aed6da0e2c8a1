package sockctl

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// ErrNoName says that getsockname(2) failed for a new socket. Package net gives
// such a socket a nil address, and does not say why.
var ErrNoName = errors.New("loopback: getsockname failed, so the address of the socket is unknown")

// Listen listens on addr for TCP, without multipath TCP, at a port that the
// system chooses. The Addr of the listener is never nil.
func Listen(ctx context.Context, addr netip.Addr) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return nil, err
	}
	if ln.Addr() == nil {
		_ = ln.Close() // the error of getsockname is the one to report
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)), Err: ErrNoName}
	}
	return ln, nil
}
