package loopback

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// Require is a Control function for [net.ListenConfig] and [net.Dialer]: it
// refuses to bind or to dial anything but a loopback address, whoever resolved
// the name, with an error that wraps [ErrNotLoopback]. It sees the address
// after all resolving and before any packet; a unix socket, an address without
// a host and a name, which package net does not hand to Control, are refused.
//
// The RawConn is not used and may be nil, so Require checks a configured
// address as well. What routing lets in to a loopback address it does not
// keep out: see [Ingress].
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
		var err error
		if host, _, err = net.SplitHostPort(address); err != nil {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil && !strings.HasPrefix(network, "unix")
}

// Verify reports whether a socket is bound to a loopback address, and nothing
// else reaches it: nil, or an error that says why not. It asks the kernel, not
// the Go value, and works for listeners, connections and datagram sockets,
// also for inherited ones and those of another network namespace (it is the
// loopback of that namespace then).
//
// Refused, with an error that wraps [ErrNotLoopback], is a socket that is bound
// to another address, to every interface, or not at all; one connected to a
// peer that is not loopback; on Linux also one with IP_TRANSPARENT, which is
// given connections to other addresses, and one bound to an interface other
// than the loopback interface; and whatever is not an internet socket. A
// closed one is [net.ErrClosed]. Every error is a [*net.OpError].
//
// What routing lets in to a loopback address does not show on the socket: see
// [Ingress]. On js and wasip1 the error is [errors.ErrUnsupported].
func Verify(c syscall.Conn) error {
	s, err := inspect(c)
	if err == nil && s.why != "" {
		err = fmt.Errorf("%w: %s", ErrNotLoopback, s.why)
	}
	if err == nil {
		return nil
	}
	op := &net.OpError{Op: "verify", Net: "socket", Err: err}
	switch {
	case !s.local.IsValid():
	case s.raw:
		op.Net, op.Addr = "ip", &net.IPAddr{IP: s.local.Addr().AsSlice()}
	case s.datagram:
		op.Net, op.Addr = "udp", net.UDPAddrFromAddrPort(s.local)
	default:
		op.Net, op.Addr = "tcp", net.TCPAddrFromAddrPort(s.local)
	}
	return op
}

// A socketInfo is what the kernel says of a socket.
type socketInfo struct {
	local     netip.AddrPort // unmapped; the zero value if it is no internet socket
	peer      netip.AddrPort // unmapped; the zero value if not connected
	datagram  bool
	raw       bool // a datagram socket whose port is a protocol
	listening bool
	multipath bool   // MPTCP
	netns     uint64 // what tells its network namespace from others; 0 where the kernel does not say
	why       string // it is not loopback and nothing else; "" if it is
}

// inspect asks the kernel about c.
func inspect(c syscall.Conn) (s socketInfo, err error) {
	if c == nil {
		return s, syscall.EINVAL
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return s, err
	}
	if cerr := rc.Control(func(fd uintptr) { s, err = socketInfoOf(fd) }); cerr != nil {
		if _, ok := c.(*os.File); ok {
			cerr = net.ErrClosed // what package os means by "use of closed file"
		}
		return s, cerr
	}
	if err != nil || s.why != "" {
		return s, err
	}
	switch {
	case s.local.Addr().IsUnspecified() && s.local.Port() == 0:
		s.why = "it is not bound"
	case s.local.Addr().IsUnspecified():
		s.why = "it is bound to every interface"
	case !Is(s.local.Addr()):
		s.why = "it is bound to " + s.local.Addr().String()
	case s.peer.IsValid() && !Is(s.peer.Addr()):
		s.why = "it is connected to " + s.peer.String()
	}
	return s, nil
}
