package loopback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// Listen announces on loopback addresses of this machine and nowhere else. The
// network is "tcp", "tcp4" or "tcp6", the address a host and a port as for
// [net.Listen], of which only these are taken:
//
//   - no host, or localhost (see [IsName]): 127.0.0.1 and ::1, on one port. No
//     resolver is asked. A family that this machine does not have is left out,
//     and [Listener.Bindings] says so; a port in use on either is an error.
//   - an address for which [Is] is true: that address. A mapped one is its
//     IPv4 address, a zone is dropped. 127.255.255.255 is refused, as nobody
//     can connect to it.
//
// Every other host and every other network is an error that wraps
// [ErrNotLoopback]. Mind that ":8080" and "" mean every interface in package
// net, and both loopback addresses here.
//
// Every error is a [*net.OpError]. Listen is the Listen of a zero
// [ListenConfig], which says more.
func Listen(network, address string) (*Listener, error) {
	return new(ListenConfig).Listen(context.Background(), network, address)
}

// ListenConfig holds the options of a listener. Its zero value is what
// [Listen] and [ListenPacket] use. It is not changed by its methods, which may
// be called from several goroutines.
type ListenConfig struct {
	// RequireBoth makes it an error if one of 127.0.0.1 and ::1 cannot be
	// had. With an address or a network of one family it is always an error.
	RequireBoth bool

	// Ingress is how strictly the wire is kept out. The zero value,
	// IngressAuto, takes the strictest way that works here. One asked for by
	// name that does not work here is an error wrapping errors.ErrUnsupported.
	// Either is found out by a round trip over sockets made for it, in about a
	// millisecond; nothing is remembered, as routing changes. Where none can be
	// made, with the loopback interface down or no port left for it, the
	// strictest that can be set is taken, and the Err of the Binding says so.
	Ingress Ingress

	// OnReject is called for each connection and each datagram refused after
	// it was received, with a *net.OpError that wraps ErrRefused, Source being
	// the local address and Addr the remote. It is called in the goroutine that
	// accepts or reads, perhaps in several at once, and must not block. If it
	// is nil, peers are refused silently.
	OnReject func(err error)

	// Control is called as [net.ListenConfig] calls it, for each socket that
	// is handed out, before it is bound. If it fails, so does the call.
	Control func(network, address string, c syscall.RawConn) error
}

// A Binding is one address that a listener was to have.
type Binding struct {
	Network string         // "tcp4", "tcp6", "udp4" or "udp6"
	Addr    netip.AddrPort // with the port in use, if bound
	Ingress Ingress        // the rung in force or, if not bound, the one that was to be; never IngressAuto

	// Err says why the address is not bound or, if it is, why no stronger
	// rung is in force, or why this one is not proved to serve anybody. It is
	// nil if there is nothing to say.
	Err error

	bound bool
}

// netAddr returns Addr as package net has it.
func (b Binding) netAddr() net.Addr {
	if strings.HasPrefix(b.Network, "udp") {
		return net.UDPAddrFromAddrPort(b.Addr)
	}
	return net.TCPAddrFromAddrPort(b.Addr)
}

// Bound reports whether the address is bound. It is false for the zero Binding.
func (b Binding) Bound() bool { return b.bound }

// String returns the binding as text: "tcp4 127.0.0.1:8080 (ingress device)".
func (b Binding) String() string {
	s := b.Network + " " + b.Addr.String()
	if b.bound {
		s += " (ingress " + b.Ingress.String() + ")"
	} else {
		s += " (not bound)"
	}
	if b.Err != nil {
		s += ": " + b.Err.Error()
	}
	return s
}

// Listen announces as the function [Listen] does, with the options of lc. The
// context bounds the call, not the listener.
func (lc *ListenConfig) Listen(ctx context.Context, network, address string) (*Listener, error) {
	want, err := lc.parse(ctx, "tcp", network, address)
	if err != nil {
		return nil, listenError(network, err)
	}
	socks, bindings, err := bindAll(ctx, lc, want, rehearseTCP(false),
		func(g gate, ap netip.AddrPort) (tcpSock, error) { return listenTCP(ctx, g, ap, false, lc.Control) })
	if err != nil {
		return nil, listenError(network, err)
	}
	l, err := newListener(socks, bindings, lc.OnReject)
	if err != nil {
		_ = closeAll(socks) // the first error is the one to report
		return nil, listenError(network, err)
	}
	return l, nil
}

// A request is what a network and an address ask for.
type request struct {
	transport string       // "tcp" or "udp"
	addrs     []netip.Addr // one, or 127.0.0.1 and ::1
	port      uint16
}

// parse reads the arguments of Listen or, with the transport "udp", of
// ListenPacket.
func (lc *ListenConfig) parse(ctx context.Context, transport, network, address string) (request, error) {
	family, ok := strings.CutPrefix(network, transport)
	if !ok || family != "" && family != "4" && family != "6" {
		return request{}, fmt.Errorf("%w: %w", ErrNotLoopback, net.UnknownNetworkError(network))
	}
	if err := ctx.Err(); err != nil {
		return request{}, err
	}
	refuse := func(why string) (request, error) {
		return request{}, fmt.Errorf("%s: %w: %s", quote(address), ErrNotLoopback, why)
	}

	var host, service string
	if address != "" {
		var err error
		if host, service, err = net.SplitHostPort(address); err != nil {
			if !IsHost(address) && !IsHostHeader(address) { // it is not the port alone that is wrong
				err = fmt.Errorf("%s: %w: %w", quote(address), ErrNotLoopback, err)
			}
			return request{}, err
		}
	}
	r := request{transport: transport}
	switch addr, err := netip.ParseAddr(host); {
	case host == "" || IsName(host):
		r.addrs = []netip.Addr{IPv4(), IPv6()}
		switch family {
		case "4":
			r.addrs = r.addrs[:1]
		case "6":
			r.addrs = r.addrs[1:]
		}
	case err != nil:
		return refuse("the host is neither a loopback address nor localhost")
	case KindOf(addr) == KindUnspecified:
		return refuse("it means every interface")
	case !Is(addr):
		return refuse("it is outside 127.0.0.0/8 and not ::1")
	case addr.Unmap() == broadcast4:
		return refuse("it is the broadcast address, to which nobody can connect")
	case family == "6" && addr.Unmap().Is4(), family == "4" && addr.Unmap().Is6():
		return refuse("it is not an address of " + network)
	default:
		r.addrs = []netip.Addr{addr.Unmap().WithZone("")}
	}
	if lc.RequireBoth && len(r.addrs) != 2 {
		return request{}, fmt.Errorf("loopback: RequireBoth is set, but %s %s asks for %v alone", network, quote(address), r.addrs[0])
	}

	port, err := net.DefaultResolver.LookupPort(ctx, network, service) // asks no DNS
	if err != nil {
		return request{}, err
	}
	r.port = uint16(port)
	return r, nil
}

// broadcast4 can be bound, but TCP cannot connect to it.
var broadcast4 = netip.AddrFrom4([4]byte{127, 255, 255, 255})

// portTries bounds the search for a port that both families have free.
const portTries = 256

// A place is a binding to be made.
type place struct {
	Binding
	gate    gate
	missing bool // this machine does not have the address
}

// plan decides how each address of r is to be guarded. One that this machine
// does not have gets the error that says so.
func (lc *ListenConfig) plan(ctx context.Context, r request, rehearse rehearsal) ([]place, error) {
	rungs, err := lc.Ingress.rungs()
	if err != nil {
		return nil, err
	}
	var lo netif.Loopback
	if lc.Ingress != IngressAny {
		if lo, err = netif.FindLoopback(); err != nil {
			return nil, err
		}
	}
	places := make([]place, len(r.addrs))
	for i, addr := range r.addrs {
		p := &places[i]
		p.Network, p.Addr, p.Ingress = r.transport+familyOf(addr), netip.AddrPortFrom(addr, r.port), rungs[0]
		g, note, err := choose(ctx, rungs, lo, addr, rehearse)
		if err == nil {
			p.gate, p.Ingress, p.Err = g, g.rung, note
			continue
		}
		if op, ok := err.(*net.OpError); ok { // of a throwaway socket
			err = op.Err
		}
		p.Err = &net.OpError{Op: "listen", Net: p.Network, Addr: p.netAddr(), Err: err}
		if errors.Is(err, errors.ErrUnsupported) || !syserr.Missing(err) {
			return nil, p.Err
		}
		p.missing = true
	}
	return places, nil
}

// bindAll binds the addresses of r with open. What this machine does not have is
// left out, and stands in the bindings with its error. If bindAll fails, nothing
// is left open.
func bindAll[S sock](ctx context.Context, lc *ListenConfig, r request, rehearse rehearsal,
	open func(gate, netip.AddrPort) (S, error),
) (socks []S, bindings []Binding, err error) {
	places, err := lc.plan(ctx, r, rehearse)
	if err != nil {
		return nil, nil, err
	}
	for try := range portTries {
		reserve := try%2 == 0 // not always: a Control may turn SO_REUSEADDR off, which it relies on
		socks, bindings, err = bindOnce(r, places, reserve, open)
		if !syserr.InUse(err) || r.port != 0 || len(r.addrs) == 1 {
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	var lacking error
	for _, b := range bindings {
		switch {
		case b.bound:
		case lacking == nil:
			lacking = b.Err
		default:
			lacking = fmt.Errorf("%w; %w", lacking, b.Err)
		}
	}
	if len(socks) == 0 || lc.RequireBoth && lacking != nil {
		_ = closeAll(socks) // the first error is the one to report
		return nil, nil, lacking
	}
	return socks, bindings, nil
}

// bindOnce binds the places on one port, which is any if r has none; reserve
// is to ask ReservePort for it.
func bindOnce[S sock](r request, places []place, reserve bool, open func(gate, netip.AddrPort) (S, error),
) (socks []S, bindings []Binding, err error) {
	done := false
	defer func() { // also if a Control panics
		if !done {
			_ = closeAll(socks) // the first error is the one to report
		}
	}()
	port := r.port
	if reserve && port == 0 && r.transport == "tcp" && len(places) > 1 {
		var release func()
		port, release = sockctl.ReservePort()
		defer release()
	}
	for _, p := range places {
		b := p.Binding
		if !p.missing {
			s, err := open(p.gate, netip.AddrPortFrom(b.Addr.Addr(), port))
			switch {
			case err == nil:
				socks = append(socks, s)
				b.Addr, b.bound = s.addrPort(), true
				port = b.Addr.Port()
			case syserr.Missing(err):
				b.Err = err
			default:
				return socks, nil, err
			}
		}
		bindings = append(bindings, b)
	}
	done = true
	return socks, bindings, nil
}

// closeAll closes the sockets and returns the first error.
func closeAll[S sock](socks []S) (err error) {
	for _, s := range socks {
		err = cmp.Or(err, s.Close())
	}
	return err
}

// boundTo returns the addresses of the bindings that are bound.
func boundTo(bindings []Binding) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, b := range bindings {
		if b.bound {
			addrs = append(addrs, b.Addr)
		}
	}
	return addrs
}

// listenError gives err the form of an error of net.Listen: its Net is the
// network that was asked for.
func listenError(network string, err error) error {
	if op, ok := err.(*net.OpError); ok && op.Op == "listen" {
		op.Net = network
		if c, ok := op.Err.(controlError); ok {
			op.Err = c.error
		}
		return err
	}
	return &net.OpError{Op: "listen", Net: network, Err: err}
}
