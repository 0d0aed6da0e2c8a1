package loopback

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"example.com/loopback/internal/sockctl"
)

// Require is a Control function for [net.ListenConfig] and [net.Dialer]. It
// refuses to bind or to dial an address that is not loopback, whoever resolved
// the name, with an error that wraps [ErrNotLoopback]. It sees the address
// after all resolving and before any packet. It also refuses a unix socket, an
// address without a host, and a name, which package net does not hand to
// Control.
//
// The RawConn is not used and may be nil, so that Require checks a configured
// address as well. It does not keep out other machines that routing lets in to
// a loopback address: see [Ingress].
func Require(network, address string, _ syscall.RawConn) error {
	if addr, ok := controlAddr(network, address); !ok || !Is(addr) {
		return fmt.Errorf("%s %s: %w", network, quote(address), ErrNotLoopback)
	}
	return nil
}

// controlAddr returns the address in what package net hands to a Control
// function: an address and a port, or the bare address for the networks that
// begin with "ip". There is none in a unix socket's.
func controlAddr(network, address string) (netip.Addr, bool) {
	host := address
	if !strings.HasPrefix(network, "ip") {
		host, _, _ = net.SplitHostPort(address) // "", which is no address, with an error
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil && !strings.HasPrefix(network, "unix")
}

// Verify returns nil if a socket is bound to a loopback address and to nothing
// else, and otherwise an error that says why not. It asks the kernel, not the
// Go value. It works for listeners, connections and datagram sockets, and for
// inherited ones. A socket of another network namespace is judged by the
// loopback addresses of that namespace.
//
// The error wraps [ErrNotLoopback] for a socket that is bound to another
// address, to every interface, or not at all, for one that is connected to a
// peer that is not loopback, and for one that is not an internet socket. On
// Linux it does so for a socket with IP_TRANSPARENT, which is given connections
// to other addresses, and for one that is bound to an interface other than the
// loopback interface. It wraps [net.ErrClosed] for a closed socket. Every error
// is a [*net.OpError].
//
// A socket does not show whether routing lets other machines in to its loopback
// address: see [Ingress]. On js and wasip1 the error is
// [errors.ErrUnsupported].
func Verify(c syscall.Conn) error {
	s, err := inspect(c)
	if why := exposure(s); err == nil && why != "" {
		err = fmt.Errorf("%w: %s", ErrNotLoopback, why)
	}
	if err == nil {
		return nil
	}
	op := &net.OpError{Op: "verify", Net: "socket", Err: err}
	closed, ok := errors.AsType[*net.OpError](err)
	switch {
	case ok: // package net knows what the socket was
		op.Net, op.Addr, op.Err = strings.TrimRight(closed.Net, "46"), closed.Addr, closed.Err
	case !s.Local.IsValid():
	case s.Type == sockctl.Raw:
		op.Net, op.Addr = "ip", &net.IPAddr{IP: s.Local.Addr().AsSlice()}
	case s.Type == sockctl.Datagram:
		op.Net, op.Addr = "udp", net.UDPAddrFromAddrPort(s.Local)
	default:
		op.Net, op.Addr = "tcp", net.TCPAddrFromAddrPort(s.Local)
	}
	return op
}

// inspect asks the kernel about c.
func inspect(c syscall.Conn) (s sockctl.Info, err error) {
	rc, err := rawConn(c)
	if err != nil {
		return s, fmt.Errorf("there is no socket: %w", err)
	}
	if cerr := rc.Control(func(fd uintptr) { s, err = sockctl.Inspect(fd) }); cerr != nil {
		if _, ok := c.(*os.File); ok {
			cerr = net.ErrClosed // what package os means by "use of closed file"
		}
		return s, cerr
	}
	return s, err
}

// rawConn is c.SyscallConn. Its error is also for a nil c, and for a method that
// panics, as that of a nil TCPConn or UDPConn does.
func rawConn(c syscall.Conn) (rc syscall.RawConn, err error) {
	if c == nil {
		return nil, syscall.EINVAL
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a method of %T panics: %v", c, p)
		}
	}()
	return c.SyscallConn()
}

// exposure says why a socket is not bound to loopback alone, or "" if it is.
func exposure(s sockctl.Info) string {
	switch addr := s.Local.Addr(); {
	case s.Type == sockctl.NotSocket:
		return "the descriptor is not a socket"
	case s.Type == sockctl.NotInternet:
		return "the socket is not an internet socket"
	case s.Transparent:
		return "the socket has IP_TRANSPARENT, and is given connections to other addresses"
	case s.Device != "":
		return "the socket is bound to interface " + s.Device + ", which is not the loopback interface"
	case !addr.IsValid(), addr.IsUnspecified() && s.Local.Port() == 0:
		return "the socket is not bound"
	case addr.IsUnspecified():
		return "the socket is bound to every interface"
	case !Is(addr):
		return "the socket is bound to " + addr.String()
	case s.Peer.IsValid() && !Is(s.Peer.Addr()):
		return "the socket is connected to " + s.Peer.String()
	}
	return ""
}
