package loopback

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"example.com/loopback/internal/merge"
	"example.com/loopback/internal/sockctl"
)

// A socket is bound to one loopback address: a tcpSock or a packetSock.
type socket interface {
	io.Closer
	File() (*os.File, error)
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

// singlePath returns a configuration without multipath TCP: the interface of
// a multipath connection cannot be told.
func singlePath(user controlFunc) net.ListenConfig {
	lc := net.ListenConfig{Control: user}
	lc.SetMultipathTCP(false)
	return lc
}

// listenTCP listens on one loopback address with the mode of g in force. The
// Control of lc is the caller's.
func listenTCP(ctx context.Context, g gate, at netip.AddrPort, lc net.ListenConfig) (tcpSock, error) {
	user := lc.Control
	lc.Control = g.control(user, transportTCP)
	ln, err := lc.Listen(ctx, transportTCP.network(at.Addr()), at.String())
	if err != nil {
		return tcpSock{}, err
	}
	s := tcpSock{TCPListener: ln.(*net.TCPListener), gate: g}
	if err := confirm(s, s.addrPort(), at, user); err != nil {
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

// listenUDP binds one loopback address with the mode of g in force.
func listenUDP(ctx context.Context, g gate, at netip.AddrPort, user controlFunc) (packetSock, error) {
	lc := net.ListenConfig{Control: g.control(user, transportUDP)}
	c, err := lc.ListenPacket(ctx, transportUDP.network(at.Addr()), at.String())
	if err != nil {
		return packetSock{}, err
	}
	s := packetSock{UDPConn: c.(*net.UDPConn), gate: g}
	if err := confirm(s, s.addrPort(), at, user); err != nil {
		s.Close()
		return packetSock{}, &net.OpError{Op: "listen", Net: "udp", Addr: s.LocalAddr(), Err: err}
	}
	return s, nil
}

// source returns s as package merge receives from it.
func (s packetSock) source() merge.Source {
	return merge.Source{UDP: s.UDPConn, Interface: s.gate.ingress == IngressCheck}
}

func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// confirm looks at a new socket. Its address, which getsockname gave, must be
// the one that was wanted: FreeBSD jails put another in its place. If a control
// function had a hand in it, Verify must accept the socket.
func confirm(c syscall.Conn, got, want netip.AddrPort, user controlFunc) error {
	if !got.IsValid() {
		return fmt.Errorf("%w: %w", ErrNotLoopback, sockctl.ErrNoName)
	}
	if got.Addr() != want.Addr() {
		return fmt.Errorf("%w: %v was wanted", ErrNotLoopback, want.Addr())
	}
	if user == nil {
		return nil
	}
	return Verify(c)
}

type controlFunc = func(network, address string, c syscall.RawConn) error

// control returns a control function for a new socket: first the user's, then
// what g needs, so that the user's cannot undo it. It is nil where there is
// nothing to do.
func (g gate) control(user controlFunc, t transport) controlFunc {
	if user == nil && g.ingress == IngressAny && !g.temporary && !sockctl.ExclusiveOnRequest {
		return nil
	}
	return func(network, address string, c syscall.RawConn) error {
		if user != nil {
			if err := user(network, address, c); err != nil {
				return controlError{err}
			}
		}
		return cmp.Or(sockctl.Exclusive(c), g.prepare(c, t))
	}
}

// opError returns op with the cause of err. Errors of a Listener and of a
// PacketConn have the same network and address, whichever socket they came from.
func opError(op net.OpError, err error) *net.OpError {
	if inner, ok := err.(*net.OpError); ok {
		err = inner.Err
	}
	op.Err = err
	return &op
}
