package loopback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// Adopt makes one Listener of TCP listeners that were made elsewhere, such as
// those of systemd, which hands over one for each family, or those of
// [Listener.Files]. Each must be a [*net.TCPListener] that [Verify] accepts, and
// may be given once. On an error nothing was adopted and all stay open.
// Otherwise the Listener closes them.
//
// Adopt sets no option on them, since another process may have them too. So
// IngressAuto means IngressCheck, then IngressRemote. IngressDevice is an error
// unless the socket is bound to the loopback interface already. Connections by
// multipath TCP, whose interface cannot be told, are refused under
// IngressCheck. RequireBoth asks for a listener of either family. Control is
// not called.
//
// A listener of another network namespace serves the loopback interface of that
// namespace. Nothing can be proved about it here, and its Binding says so.
// Clients of it must have loopback addresses.
func (lc *ListenConfig) Adopt(lns ...net.Listener) (*Listener, error) {
	a, err := lc.newAdoption(transportTCP, len(lns))
	if err != nil {
		return nil, err
	}
	var all sockets[tcpSock]
	for _, ln := range lns {
		t, ok := ln.(*net.TCPListener)
		if !ok {
			return nil, a.fail(nil, fmt.Errorf("%w: a %T cannot be adopted, only a *net.TCPListener", ErrNotLoopback, ln))
		}
		t = cmp.Or(t, new(net.TCPListener)) // which has no socket either
		g, err := a.add(t)
		if err != nil {
			return nil, a.fail(t, err)
		}
		all.socks = append(all.socks, tcpSock{TCPListener: t, gate: g})
	}
	if all.bindings, err = a.finish(); err != nil {
		return nil, a.fail(nil, err)
	}
	all.self = a.prover.self
	if all.users, err = lc.userCheck(context.Background(), all.addrPorts()); err != nil {
		return nil, a.fail(nil, err)
	}
	l, err := newListener(all, lc.OnReject)
	if err != nil {
		_ = all.users.close() // the first error is the one to report
		return nil, a.fail(nil, err)
	}
	return l, nil
}

// AdoptPacket makes one PacketConn of UDP sockets that were made elsewhere, such
// as those of ListenDatagram of systemd or those of [PacketConn.Files]. Each
// must be a [*net.UDPConn] that [Verify] accepts, that is not connected, and
// that is the only one of its family. On an error nothing was adopted and all
// stay open. Otherwise the PacketConn closes them.
//
// AdoptPacket sets no option on them, since another process may have them too.
// So IngressAuto means IngressDevice for a socket that is bound to the loopback
// interface already, IngressCheck for one that reports the interface of each
// datagram already (IP_PKTINFO, PassPacketInfo of systemd), and IngressRemote for
// others. The Binding says so. Asked for by name, IngressDevice and IngressCheck
// are errors for others. What [ListenConfig.Adopt] says of namespaces and of the
// other options holds here too.
func (lc *ListenConfig) AdoptPacket(conns ...net.PacketConn) (*PacketConn, error) {
	a, err := lc.newAdoption(transportUDP, len(conns))
	if err != nil {
		return nil, err
	}
	var all sockets[packetSock]
	for _, c := range conns {
		u, ok := c.(*net.UDPConn)
		if !ok {
			return nil, a.fail(nil, fmt.Errorf("%w: a %T cannot be adopted, only a *net.UDPConn", ErrNotLoopback, c))
		}
		u = cmp.Or(u, new(net.UDPConn)) // which has no socket either
		g, err := a.add(u)
		if err != nil {
			return nil, a.fail(u, err)
		}
		all.socks = append(all.socks, packetSock{UDPConn: u, gate: g})
	}
	if all.bindings, err = a.finish(); err != nil {
		return nil, a.fail(nil, err)
	}
	all.self = a.prover.self
	c, err := newPacketConn(all, lc.OnReject)
	if err != nil {
		return nil, a.fail(nil, err)
	}
	return c, nil
}

// An adoption is one call of Adopt or AdoptPacket. The sockets stay the
// caller's.
type adoption struct {
	config    *ListenConfig
	transport transport
	modes     []Ingress
	prover    prover
	namespace uint64 // this one; 0 where the system does not say
	unknown   error  // why this one is not known
	given     []syscall.Conn
	bindings  []Binding
}

// newAdoption begins the adoption of n sockets.
func (lc *ListenConfig) newAdoption(t transport, n int) (*adoption, error) {
	a := &adoption{config: lc, transport: t}
	if n == 0 {
		return nil, a.fail(nil, errors.New("loopback: no listener or socket to adopt was given"))
	}
	if err := lc.suits(t); err != nil {
		return nil, a.fail(nil, err)
	}
	var err error
	if a.modes, err = lc.Ingress.modes(); err != nil {
		return nil, a.fail(nil, err)
	}
	if a.namespace, a.unknown = netif.Namespace(); syserr.Exhausted(a.unknown) {
		return nil, a.fail(nil, a.unknown)
	}
	if a.prover, err = newProver(a.modes, nil); err != nil {
		return nil, a.fail(nil, err)
	}
	return a, nil
}

// add looks at one more socket, and returns its gate.
func (a *adoption) add(c syscall.Conn) (gate, error) {
	if slices.Contains(a.given, c) {
		return gate{}, errors.New("loopback: the socket was given twice")
	}
	if err := Verify(c); err != nil {
		return gate{}, err
	}
	info, err := inspect(c)
	if err != nil {
		return gate{}, err
	}
	if err := a.suits(info); err != nil {
		return gate{}, err
	}
	modes := a.modes
	if a.config.Ingress == IngressAuto && (a.transport == transportTCP || !info.OnLoopback) {
		modes = modes[1:] // without IngressDevice
	}
	p := a.proverFor(info)
	if p.foreign != nil && a.config.checksUsers() {
		return gate{}, fmt.Errorf("loopback: SameUser or AllowUIDs is set, and the users of connections are not told: %w", p.foreign)
	}
	found, err := p.prove(context.Background(), modes, info.Local.Addr(), sockctl.CanConnect(info.Local.Addr()))
	if err != nil {
		return gate{}, err
	}
	note := found.note
	if found.missing != nil { // a temporary socket cannot have its address
		note = fmt.Errorf("not proved: %w", found.missing)
	}
	a.given = append(a.given, c)
	a.bindings = append(a.bindings, Binding{
		Network: a.transport.network(info.Local.Addr()),
		Addr:    info.Local,
		Ingress: found.gate.ingress,
		Err:     note,
		bound:   true,
	})
	return found.gate, nil
}

// suits returns why a socket that Verify accepts cannot be adopted, or nil.
func (a *adoption) suits(info sockctl.Info) error {
	sameFamily := func(b Binding) bool { return b.Network == a.transport.network(info.Local.Addr()) }
	switch {
	case a.transport == transportTCP && !info.Listening:
		return fmt.Errorf("%w: the socket does not listen", ErrNotLoopback)
	case a.transport == transportTCP:
		return nil
	case info.Peer.IsValid():
		return fmt.Errorf("%w: the socket is connected to %v", ErrNotLoopback, info.Peer)
	case slices.ContainsFunc(a.bindings, sameFamily):
		return errors.New("loopback: another socket of the same family was given")
	}
	return nil
}

// proverFor returns the prover of the modes that a socket can have without an
// option being set on it.
func (a *adoption) proverFor(info sockctl.Info) prover {
	p := a.prover
	switch {
	case a.transport == transportUDP:
		p.try = tryUDP
	case info.Multipath:
		p.try = tryMultipathTCP
	default:
		p.try = tryTCP
	}
	p.excludes = func(mode Ingress) error {
		switch {
		case mode == IngressDevice && !info.OnLoopback:
			return errors.New("the socket is not bound to the loopback interface, and others may have it")
		case mode == IngressCheck && a.transport == transportUDP && !info.ReportsInterface:
			return errors.New("the socket does not report the interface of a datagram (IP_PKTINFO), and others may have it")
		}
		return nil
	}
	switch {
	case info.Namespace == a.namespace:
	case a.unknown != nil:
		p.foreign, p.self = fmt.Errorf("the network namespace of this process is unknown: %w", a.unknown), nil
	default:
		p.foreign, p.self = errors.New("the socket is of another network namespace"), nil
	}
	return p
}

// finish returns the bindings of all sockets.
func (a *adoption) finish() ([]Binding, error) {
	is4 := func(b Binding) bool { return b.Addr.Addr().Is4() }
	is6 := func(b Binding) bool { return b.Addr.Addr().Is6() }
	if a.config.RequireBoth && !(slices.ContainsFunc(a.bindings, is4) && slices.ContainsFunc(a.bindings, is6)) {
		return nil, errors.New("loopback: RequireBoth is set, but there is no socket of one family")
	}
	return a.bindings, nil
}

// fail ends the adoption, and returns err as that of the call, about the socket
// c if it is not nil.
func (a *adoption) fail(c syscall.Conn, err error) error {
	_ = a.prover.self.Close() // the first error is the one to report
	op := net.OpError{Op: "adopt", Net: string(a.transport)}
	switch c := c.(type) {
	case *net.TCPListener:
		if _, err := c.SyscallConn(); err == nil { // Addr of a zero one panics
			op.Addr = c.Addr()
		}
	case *net.UDPConn:
		op.Addr = c.LocalAddr()
	}
	return opError(op, err)
}
