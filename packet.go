package loopback

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/loopback/internal/merge"
)

// ListenPacket announces on loopback addresses for datagrams: the network is
// "udp", "udp4" or "udp6", the address is read as by [Listen].
func ListenPacket(network, address string) (*PacketConn, error) {
	return new(ListenConfig).ListenPacket(context.Background(), network, address)
}

// A PacketConn sends and receives datagrams on one or two loopback addresses
// as if they were one. A datagram goes out from the address of its family, so
// that a reply comes from where the question went to. It comes from
// ListenPacket; the zero value is of no use. Its methods may be called from
// several goroutines.
type PacketConn struct {
	socks    []packetSock
	bindings []Binding
	merged   *merge.Receiver // if there are two
	onReject func(error)
	closed   atomic.Bool
}

var _ net.PacketConn = (*PacketConn)(nil)

// ListenPacket announces as the function [ListenPacket] does, with the options
// of lc. The context bounds the call, not the connection.
func (lc *ListenConfig) ListenPacket(ctx context.Context, network, address string) (*PacketConn, error) {
	want, err := lc.parse(ctx, "udp", network, address)
	if err != nil {
		return nil, listenError(network, err)
	}
	socks, bindings, err := bindAll(ctx, lc, want, rehearseUDP,
		func(g gate, ap netip.AddrPort) (packetSock, error) { return listenUDP(ctx, g, ap, lc.Control) })
	if err != nil {
		return nil, listenError(network, err)
	}
	c := &PacketConn{socks: socks, bindings: bindings, onReject: lc.OnReject}
	if len(socks) > 1 {
		conns := make([]merge.Source, len(socks))
		for i, s := range socks {
			conns[i] = merge.Source{Conn: s, SetReadDeadline: s.SetReadDeadline}
		}
		if c.merged, err = merge.New(conns, c.receive, maxDatagram); err != nil {
			_ = closeAll(socks) // the first error is the one to report
			return nil, listenError(network, err)
		}
	}
	return c, nil
}

// maxDatagram is the largest payload of a UDP datagram, with room to spare.
const maxDatagram = 1 << 16

// receive reads a datagram from one socket.
func (c *PacketConn) receive(i int, b []byte) merge.Result {
	n, from, refused, err := c.socks[i].read(b)
	return merge.Result{Source: i, N: n, From: from, Refused: refused, Err: err}
}

// ReadFromUDPAddrPort waits for the next datagram that is let in, copies it
// into b, cutting off what does not fit, and returns its length and sender.
// Refused datagrams do not end the wait. After Close the error wraps
// [net.ErrClosed].
func (c *PacketConn) ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error) {
	for {
		var r merge.Result
		if c.merged != nil {
			r = c.merged.Next(b)
		} else {
			r = c.receive(0, b)
		}
		switch {
		case r.Err != nil:
			return r.N, r.From, c.opError("read", r.Err)
		case r.Refused == nil:
			return r.N, r.From, nil
		case c.onReject != nil:
			c.onReject(&net.OpError{Op: "read", Net: "udp", Source: c.socks[r.Source].LocalAddr(),
				Addr: net.UDPAddrFromAddrPort(r.From), Err: r.Refused})
		}
	}
}

// ReadFrom is ReadFromUDPAddrPort with a [*net.UDPAddr].
func (c *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(addr), nil
}

// WriteToUDPAddrPort sends b to addr, which must be loopback, from the address
// of the same family; a mapped address is its IPv4 address, a zone is dropped.
// For any other address the error wraps [ErrNotLoopback], and nothing is sent.
func (c *PacketConn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	to := netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
	if !Is(to.Addr()) {
		return 0, c.writeError(addr, ErrNotLoopback)
	}
	for _, s := range c.socks {
		if s.gate.addr.Is6() == to.Addr().Is6() {
			return s.WriteToUDPAddrPort(b, to)
		}
	}
	return 0, c.writeError(addr, errors.New("loopback: no socket of this family is bound"))
}

func (c *PacketConn) writeError(addr netip.AddrPort, err error) error {
	return &net.OpError{Op: "write", Net: "udp", Source: c.LocalAddr(), Addr: net.UDPAddrFromAddrPort(addr), Err: err}
}

// WriteTo is WriteToUDPAddrPort; the address is a [*net.UDPAddr]. A loopback
// address of another type is [syscall.EINVAL], as in package net.
func (c *PacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if a, ok := addr.(*net.UDPAddr); ok {
		return c.WriteToUDPAddrPort(b, a.AddrPort())
	}
	err := ErrNotLoopback
	if IsNetAddr(addr) {
		err = syscall.EINVAL
	}
	return 0, &net.OpError{Op: "write", Net: "udp", Source: c.LocalAddr(), Addr: addr, Err: err}
}

// LocalAddr returns the first of AddrPorts, a [*net.UDPAddr].
func (c *PacketConn) LocalAddr() net.Addr { return c.socks[0].LocalAddr() }

// AddrPorts returns what is bound, 127.0.0.1 before ::1.
func (c *PacketConn) AddrPorts() []netip.AddrPort { return boundTo(c.bindings) }

// Port returns the port, the same on all addresses.
func (c *PacketConn) Port() uint16 { return c.AddrPorts()[0].Port() }

// Bindings returns what was bound and how the wire is kept out, and what was
// to be bound but is not, and why.
func (c *PacketConn) Bindings() []Binding { return slices.Clone(c.bindings) }

// SetDeadline sets the deadlines of reading and of writing.
func (c *PacketConn) SetDeadline(t time.Time) error {
	return cmp.Or(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the time after which reading fails with an error whose
// Timeout is true; the zero Time is none.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	setDeadline := c.socks[0].SetReadDeadline
	if c.merged != nil {
		setDeadline = c.merged.SetDeadline
	}
	if err := setDeadline(t); err != nil {
		return c.opError("set", err)
	}
	return nil
}

// SetWriteDeadline sets the time after which writing fails with an error whose
// Timeout is true; the zero Time is none.
func (c *PacketConn) SetWriteDeadline(t time.Time) error {
	for _, s := range c.socks {
		if err := s.SetWriteDeadline(t); err != nil {
			return c.opError("set", err)
		}
	}
	return nil
}

// Close closes the sockets; reads return. A second Close is an error that
// wraps [net.ErrClosed].
func (c *PacketConn) Close() error {
	if c.closed.Swap(true) {
		return c.opError("close", net.ErrClosed)
	}
	err := closeAll(c.socks) // first: a receive that waits on one ends
	if c.merged != nil {
		c.merged.Close()
	}
	return err
}

// opError gives err, which came from some socket or none, the form it has in
// package net.
func (c *PacketConn) opError(op string, err error) error {
	if c.closed.Load() {
		err = net.ErrClosed
	}
	if _, ok := err.(*net.OpError); ok {
		return err
	}
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
}
