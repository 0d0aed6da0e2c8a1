package loopback

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/loopback/internal/merge"
)

// ListenPacket announces for datagrams on loopback addresses of this machine,
// and on no other address. The network is "udp", "udp4" or "udp6". The address
// is a host and a port as for [net.ListenPacket], with one of these hosts:
//
//   - no host, or localhost (see [IsName]), means 127.0.0.1 and ::1 on one port.
//     No resolver is asked. A family that this machine does not have is left
//     out, and [PacketConn.Bindings] says so. A port in use in either family is
//     an error.
//   - an address for which [Is] is true means that address. A mapped address is
//     its IPv4 address, and a zone is dropped. 127.255.255.255 is refused.
//
// Every other host and every other network is an error that wraps
// [ErrNotLoopback]. Mind that ":5353" and "" mean every interface in package
// net, and both loopback addresses here.
//
// Every error is a [*net.OpError]. ListenPacket is
// [ListenConfig.ListenPacket] without options.
func ListenPacket(network, address string) (*PacketConn, error) {
	return new(ListenConfig).ListenPacket(context.Background(), network, address)
}

// ListenPacket announces as the function [ListenPacket] does, with the options
// of lc. The context bounds the call, not the connection.
func (lc *ListenConfig) ListenPacket(ctx context.Context, network, address string) (*PacketConn, error) {
	c, err := lc.listenPacket(ctx, network, address)
	if err != nil {
		return nil, listenError(network, err)
	}
	return c, nil
}

func (lc *ListenConfig) listenPacket(ctx context.Context, network, address string) (*PacketConn, error) {
	r, err := lc.parse(ctx, transportUDP, network, address)
	if err != nil {
		return nil, err
	}
	all, err := bindAll(ctx, lc, r, tryUDP,
		func(g gate, at netip.AddrPort) (packetSock, error) { return listenUDP(ctx, g, at, lc.Control) })
	if err != nil {
		return nil, err
	}
	c, err := newPacketConn(all, lc.OnReject)
	if err != nil {
		_ = all.close() // the first error is the one to report
		return nil, err
	}
	return c, nil
}

// A PacketConn sends and receives datagrams on one or two loopback addresses
// as if they were one. A datagram goes out from the address of its family, so
// that a reply comes from where the question went to. It comes from
// ListenPacket or AdoptPacket; the zero value cannot be used. Its methods may be
// called from several goroutines.
//
// A PacketConn is not one socket, and has no SyscallConn and no ReadMsgUDP. A
// library that needs them, such as ipv4 and ipv6 of golang.org/x/net, is given a
// [*net.UDPConn] for each family: see the example of [Require].
type PacketConn struct {
	all      sockets[packetSock]
	merged   merge.Receiver // if there are two
	onReject func(error)
	closed   atomic.Bool
}

var _ net.PacketConn = (*PacketConn)(nil)

// newPacketConn makes one PacketConn of all. On an error all stays open.
func newPacketConn(all sockets[packetSock], onReject func(error)) (*PacketConn, error) {
	c := &PacketConn{all: all, onReject: onReject}
	if len(all.socks) > 1 {
		sources := make([]merge.Source, len(all.socks))
		for i, s := range all.socks {
			sources[i] = s.source()
		}
		var err error
		if c.merged, err = merge.New(sources); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// receive reads a datagram from one of the sockets.
func (c *PacketConn) receive(b []byte) merge.Result {
	if c.merged != nil {
		return c.merged.Next(b)
	}
	return c.all.socks[0].source().Receive(b)
}

// ReadFromUDPAddrPort waits for the next datagram that is let in, copies it
// into b, cutting off what does not fit, and returns its length and sender. On
// Windows a datagram that does not fit is an error, as in package net. Refused
// datagrams do not end the wait. After Close the error wraps [net.ErrClosed].
func (c *PacketConn) ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error) {
	for {
		r := c.receive(b)
		if r.Err != nil {
			return r.N, r.From, c.opError("read", r.Err)
		}
		s := &c.all.socks[r.Source]
		refusal := s.gate.admitDatagram(r.From.Addr(), r.Interface)
		if refusal == nil {
			return r.N, r.From, nil
		}
		if c.onReject != nil {
			c.onReject(&net.OpError{Op: "read", Net: "udp", Source: s.LocalAddr(), Addr: net.UDPAddrFromAddrPort(r.From), Err: refusal})
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

// WriteToUDPAddrPort sends b to addr from the address of the same family. A
// mapped address is its IPv4 address, and the zone of a loopback address is
// dropped.
//
// The address must be loopback. Under every mode but IngressRemote it may be
// another one of this machine, since a local client may have that. For any
// other address the error wraps [ErrNotLoopback], and nothing is sent.
func (c *PacketConn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	to := unmap(addr)
	if Is(to.Addr()) {
		to = netip.AddrPortFrom(to.Addr().WithZone(""), to.Port())
	}
	i := slices.IndexFunc(c.all.socks, func(s packetSock) bool { return s.gate.addr.Is6() == to.Addr().Is6() })
	if i < 0 && Is(to.Addr()) {
		return 0, c.writeError(addr, errors.New("loopback: no socket of this family is bound"))
	}
	if i < 0 || !c.all.socks[i].gate.mayReach(to.Addr()) {
		return 0, c.writeError(addr, ErrNotLoopback)
	}
	n, err := c.all.socks[i].WriteToUDPAddrPort(b, to)
	if err != nil {
		return n, c.writeError(addr, err)
	}
	return n, nil
}

// writeError returns err, which came from some socket or none, as one of c.
func (c *PacketConn) writeError(addr netip.AddrPort, err error) error {
	return opError(net.OpError{Op: "write", Net: "udp", Source: c.LocalAddr(), Addr: net.UDPAddrFromAddrPort(addr)}, err)
}

// WriteTo is WriteToUDPAddrPort with a [*net.UDPAddr]. A loopback address of
// another type is [syscall.EINVAL], as in package net.
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
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.all.addrPorts()[0]) }

// AddrPorts returns the addresses that are bound: 127.0.0.1 before ::1, or in
// the order that was given to AdoptPacket.
func (c *PacketConn) AddrPorts() []netip.AddrPort { return c.all.addrPorts() }

// Port returns the port of LocalAddr. All addresses have the same port, unless
// they came from AdoptPacket.
func (c *PacketConn) Port() uint16 { return c.all.addrPorts()[0].Port() }

// Bindings returns what was bound and how other machines are kept out, and
// what was to be bound but is not, and why.
func (c *PacketConn) Bindings() []Binding { return slices.Clone(c.all.bindings) }

// Files returns duplicates of the sockets, in the order of AddrPorts, for
// another process that adopts them: see [ListenConfig.AdoptPacket]. The caller
// closes them. Closing them does not affect the PacketConn, and closing the
// PacketConn does not affect them. Datagrams that wait are read by whichever
// process reads first. On Windows, as in package net, other processes cannot use
// the files, and a call that waits for a datagram may make it an error. On js and
// wasip1 it is an error.
func (c *PacketConn) Files() ([]*os.File, error) {
	files, err := c.all.files()
	if err != nil {
		return nil, c.opError("file", err)
	}
	return files, nil
}

// SetReadBuffer sets the size of the receive buffer of every socket: see
// [net.UDPConn.SetReadBuffer].
func (c *PacketConn) SetReadBuffer(bytes int) error {
	return c.setAll(func(s packetSock) error { return s.SetReadBuffer(bytes) })
}

// SetWriteBuffer sets the size of the transmit buffer of every socket: see
// [net.UDPConn.SetWriteBuffer].
func (c *PacketConn) SetWriteBuffer(bytes int) error {
	return c.setAll(func(s packetSock) error { return s.SetWriteBuffer(bytes) })
}

// SetDeadline sets the deadlines of reading and of writing.
func (c *PacketConn) SetDeadline(t time.Time) error {
	return cmp.Or(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the time after which reading fails with an error whose
// Timeout is true. The zero Time means no deadline.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	if c.merged == nil {
		return c.setAll(func(s packetSock) error { return s.SetReadDeadline(t) })
	}
	if err := c.merged.SetDeadline(t); err != nil {
		return c.opError("set", err)
	}
	return nil
}

// SetWriteDeadline sets the time after which writing fails with an error whose
// Timeout is true. The zero Time means no deadline.
func (c *PacketConn) SetWriteDeadline(t time.Time) error {
	return c.setAll(func(s packetSock) error { return s.SetWriteDeadline(t) })
}

// setAll calls set for every socket, and returns the first error.
func (c *PacketConn) setAll(set func(packetSock) error) error {
	var err error
	for _, s := range c.all.socks {
		err = cmp.Or(err, set(s))
	}
	if err != nil {
		return c.opError("set", err)
	}
	return nil
}

// Close closes the sockets, and calls that read return. A second Close is an
// error that wraps [net.ErrClosed].
func (c *PacketConn) Close() error {
	if c.closed.Swap(true) {
		return c.opError("close", net.ErrClosed)
	}
	err := c.all.close() // first: a receive that waits on one ends
	if c.merged != nil {
		c.merged.Close()
	}
	if err != nil {
		return opError(net.OpError{Op: "close", Net: "udp", Source: c.LocalAddr()}, err)
	}
	return nil
}

// opError returns err, which came from some socket or none, as one of c.
func (c *PacketConn) opError(op string, err error) error {
	if c.closed.Load() {
		err = net.ErrClosed
	}
	if op == "set" { // of which package net gives the local address as Addr
		return opError(net.OpError{Op: op, Net: "udp", Addr: c.LocalAddr()}, err)
	}
	return opError(net.OpError{Op: op, Net: "udp", Source: c.LocalAddr()}, err)
}
