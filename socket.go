package loopback

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"example.com/loopback/internal/sockctl"
)

// A sock is a socket that is bound to one loopback address: a tcpSock or a
// packetSock.
type sock interface {
	io.Closer
	addrPort() netip.AddrPort // unmapped
}

// A tcpSock is one socket of a Listener.
type tcpSock struct {
	*net.TCPListener
	gate gate
}

func (s tcpSock) addrPort() netip.AddrPort {
	a, _ := s.Addr().(*net.TCPAddr) // nil if getsockname failed, of which package net says nothing
	return unmap(a.AddrPort())
}

// listenTCP listens on one loopback address with the rung of g in force.
func listenTCP(ctx context.Context, g gate, ap netip.AddrPort, multipath bool, control controlFunc) (s tcpSock, err error) {
	lc := net.ListenConfig{Control: g.control(control, false)}
	lc.SetMultipathTCP(multipath)
	ln, err := lc.Listen(ctx, "tcp"+familyOf(ap.Addr()), ap.String())
	if err != nil {
		return s, err
	}
	s = tcpSock{ln.(*net.TCPListener), g}
	if err := confirm(s, s.addrPort(), ap, control); err != nil {
		s.Close()
		return tcpSock{}, &net.OpError{Op: "listen", Net: "tcp", Addr: s.Addr(), Err: err}
	}
	return s, nil
}

// A packetSock is one socket of a PacketConn.
type packetSock struct {
	*net.UDPConn
	gate gate
}

func (s packetSock) addrPort() netip.AddrPort {
	a, _ := s.LocalAddr().(*net.UDPAddr) // nil as in tcpSock
	return unmap(a.AddrPort())
}

// listenUDP binds one loopback address with the rung of g in force.
func listenUDP(ctx context.Context, g gate, ap netip.AddrPort, control controlFunc) (s packetSock, err error) {
	lc := net.ListenConfig{Control: g.control(control, true)}
	c, err := lc.ListenPacket(ctx, "udp"+familyOf(ap.Addr()), ap.String())
	if err != nil {
		return s, err
	}
	s = packetSock{c.(*net.UDPConn), g}
	if err := confirm(s, s.addrPort(), ap, control); err != nil {
		s.Close()
		return packetSock{}, &net.OpError{Op: "listen", Net: "udp", Addr: s.LocalAddr(), Err: err}
	}
	return s, nil
}

// read reads a datagram; refused says why it is not let in.
func (s packetSock) read(b []byte) (n int, from netip.AddrPort, refused, err error) {
	if len(b) == 0 { // package net on Windows returns at once then, with nothing read
		_, from, refused, err = s.read(make([]byte, 1))
		return 0, from, refused, err
	}
	if s.gate.rung != IngressCheck {
		n, from, err = s.ReadFromUDPAddrPort(b)
		return n, unmap(from), s.gate.admitAddr(from.Addr()), err
	}
	var oob [sockctl.ControlSize]byte
	n, oobn, _, from, err := s.ReadMsgUDPAddrPort(b, oob[:])
	if refused = s.gate.admitAddr(from.Addr()); refused == nil {
		refused = s.gate.admitIndex(sockctl.DatagramInterface(oob[:oobn]))
	}
	return n, unmap(from), refused, err
}

func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// confirm looks at a new socket: got, which getsockname gave, must be what was
// wanted (FreeBSD jails put another address in its place), and if a control
// function had a hand in it, the socket must bear being inspected.
func confirm(c syscall.Conn, got, want netip.AddrPort, control controlFunc) error {
	if !got.IsValid() {
		return fmt.Errorf("%w: %w", ErrNotLoopback, sockctl.ErrNoName)
	}
	if got.Addr() != want.Addr() {
		return fmt.Errorf("%w: %v was wanted", ErrNotLoopback, want.Addr())
	}
	if control == nil {
		return nil
	}
	return Verify(c)
}

type controlFunc = func(network, address string, c syscall.RawConn) error

// control returns a control function for a new socket: first the caller's,
// then what g needs, so that the caller's cannot undo it.
func (g gate) control(user controlFunc, datagram bool) controlFunc {
	return func(network, address string, c syscall.RawConn) error {
		if user != nil {
			if err := user(network, address, c); err != nil {
				return controlError{err}
			}
		}
		if err := sockctl.Exclusive(c); err != nil {
			return err
		}
		return g.set(c, datagram)
	}
}

// familyOf returns the final digit of the networks that addr belongs to.
func familyOf(addr netip.Addr) string {
	if addr.Is6() {
		return "6"
	}
	return "4"
}
