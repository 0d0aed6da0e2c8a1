package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
)

// DialContext connects to a loopback address of this machine, and to nothing
// else. The network is "tcp" or "udp", alone or with a final 4 or 6. The
// address is a host and a port as for [net.Dial], where the host is a loopback
// address, a localhost name (see [IsName]) or empty, which means localhost.
//
// A localhost name is 127.0.0.1 and ::1, and no resolver is asked. TCP tries
// ::1 first, and 127.0.0.1 as soon as that fails or takes longer than a
// fraction of a second (RFC 8305); the first connection wins. UDP takes ::1 if
// this machine has it, and 127.0.0.1 otherwise. A mapped address is its IPv4
// address, and a zone is dropped.
//
// Any other host, and any other network, is refused before anything is sent or
// asked, with an error that wraps [ErrNotLoopback]. So is an address of the
// other family than the network's. An address that this machine does not have
// is not tried: the network might carry a connection to it elsewhere.
//
// Every error is a [*net.OpError]. If a name cannot be connected to, its Err
// lists the attempt of each address and has Unwrap() []error. Timeout is true
// if all of them timed out. On js and wasip1, where package net has no sockets,
// every call is an error.
//
// DialContext is the DialContext of [net/http.Transport] and the dial function
// of many database clients as it is. A client that looks a name up before it
// dials asks its own resolver: pgx unless its LookupFunc returns the name as it
// is, and gRPC unless the target begins with "passthrough:///".
func DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	addrs, err := dialAddrs(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	conn, errs := race(ctx, network, addrs, dialOne)
	switch {
	case conn != nil:
		return conn, nil
	case len(errs) == 1:
		return nil, errs[0]
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: errs}
}

// dialAddrs returns the addresses that DialContext tries, in this order.
func dialAddrs(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return nil, fmt.Errorf("%w: %w", ErrNotLoopback, net.UnknownNetworkError(network))
	}
	host, service, err := splitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := loopbackAddrs(network, host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote(address), err)
	}
	slices.Reverse(addrs) // ::1 first: RFC 6724
	port, err := lookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	targets := make([]netip.AddrPort, len(addrs))
	for i, addr := range addrs {
		targets[i] = netip.AddrPortFrom(addr, port)
	}
	return targets, nil
}

// attemptDelay is how long an attempt may take before the next one starts
// beside it: RFC 8305, section 5, allows 100 milliseconds and more. On loopback
// an answer takes microseconds.
const attemptDelay = 100 * time.Millisecond

// race connects with dial to the first of addrs that answers. An attempt that
// takes attemptDelay is overtaken by the next one. The errors are those of the
// attempts, in the order of addrs. No attempt goes on after race has returned.
func race(ctx context.Context, network string, addrs []netip.AddrPort,
	dial func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, *net.OpError),
) (net.Conn, attemptErrors) {
	ctx, cancel := context.WithCancel(ctx)
	type attempt struct {
		i    int
		conn net.Conn
		err  *net.OpError
	}
	attempts := make(chan attempt)
	next, running := 0, 0
	start := func() {
		i := next
		next++
		running++
		go func() {
			conn, err := dial(ctx, network, addrs[i])
			attempts <- attempt{i: i, conn: conn, err: err}
		}()
	}
	var won net.Conn
	errs := make(attemptErrors, len(addrs))
	for won == nil && (running > 0 || next < len(addrs)) {
		if running == 0 {
			start()
		}
		var late <-chan time.Time
		if next < len(addrs) {
			late = time.After(attemptDelay)
		}
		select {
		case <-late:
			start()
		case a := <-attempts:
			running--
			won, errs[a.i] = a.conn, a.err
		}
	}
	cancel()
	for range running {
		if a := <-attempts; a.conn != nil {
			a.conn.Close()
		}
	}
	return won, errs
}

// dialOne connects to a loopback address. It does not try one that this machine
// does not have, as routing may lead that out to the network.
func dialOne(ctx context.Context, network string, to netip.AddrPort) (net.Conn, *net.OpError) {
	d := net.Dialer{Control: Require}
	d.SetMultipathTCP(false)
	var conn net.Conn
	err := sockctl.HasAddr(ctx, to.Addr())
	if err == nil {
		conn, err = d.DialContext(ctx, network, to.String())
	}
	if err != nil {
		return nil, opError(net.OpError{Op: "dial", Net: network, Addr: netAddr(network, to)}, err)
	}
	return conn, nil
}

// netAddr returns ap as package net has it.
func netAddr(network string, ap netip.AddrPort) net.Addr {
	if strings.HasPrefix(network, "udp") {
		return net.UDPAddrFromAddrPort(ap)
	}
	return net.TCPAddrFromAddrPort(ap)
}

// attemptErrors are the errors of the attempts of one call.
type attemptErrors []*net.OpError

func (e attemptErrors) Error() string {
	texts := make([]string, len(e))
	for i, op := range e {
		texts[i] = op.Addr.String() + ": " + op.Err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e attemptErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, op := range e {
		errs[i] = op
	}
	return errs
}

// Timeout reports whether every attempt timed out.
func (e attemptErrors) Timeout() bool {
	return !slices.ContainsFunc(e, func(op *net.OpError) bool { return !op.Timeout() })
}

// Forbid is a Control function for [net.Dialer] that refuses to connect to this
// machine's loopback, for clients whose addresses come from outside
// (server-side request forgery). It refuses loopback, unspecified and embedded
// addresses (see [Kind]), unix sockets, and whatever it cannot parse, with an
// error that wraps [ErrSelf]. The RawConn is not used and may be nil.
//
// A Control function judges the final address: after all resolving, for each
// address of a name and for each redirect, and before any packet. No spelling,
// DNS answer or change of a DNS answer gets around it.
//
// A Control function does not see the connections of another program, such as a
// proxy (set Proxy of the [net/http.Transport] to nil), QUIC, or the datagrams of
// an unconnected socket. A Dialer with ControlContext ignores Control. Broadcast
// and multicast are not refused, although datagrams to them reach wildcard
// sockets of this machine as well. Other addresses of this machine are for
// [ForbidSelf]. Private networks and metadata services are for another library.
func Forbid(network, address string, _ syscall.RawConn) error {
	_, err := outside(network, address)
	return err
}

// ForbidSelf is [Forbid] that refuses every other address of this machine as
// well, as [IsSelf] tells them. On Linux it also refuses an address that policy
// routing delivers to this machine for that protocol or port alone. It does not
// see a rule for a source address (LocalAddr of the Dialer) or a mark. It refuses
// every address if the kernel cannot be asked.
func ForbidSelf(network, address string, _ syscall.RawConn) error {
	addr, err := outside(network, address)
	if err != nil {
		return err
	}
	switch self, err := isSelfTo(network, address, addr); {
	case err != nil:
		return fmt.Errorf("%s %s: %w: %w", network, quote(address), ErrSelf, err)
	case self:
		return fmt.Errorf("%s %s: %w: routing delivers it here", network, quote(address), ErrSelf)
	}
	return nil
}

// isSelfTo is IsSelf of addr, and of TCP or UDP to the port of address.
func isSelfTo(network, address string, addr netip.Addr) (bool, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil || addr.Unmap().IsMulticast() { // of the networks "ip*", or with a port that has a name
		return IsSelf(addr)
	}
	protocol := uint8(syscall.IPPROTO_TCP)
	if strings.HasPrefix(network, "udp") {
		protocol = syscall.IPPROTO_UDP
	}
	return netif.IsLocalTo(netip.AddrPortFrom(addr.Unmap(), to.Port()), protocol)
}

// outside returns the address that package net hands to a Control function, or
// an error if that may be this machine's loopback.
func outside(network, address string) (netip.Addr, error) {
	addr, ok := controlAddr(network, address)
	if !ok {
		return addr, fmt.Errorf("%s %s: %w: no IP address", network, quote(address), ErrSelf)
	}
	if kind := KindOf(addr); kind != KindNone {
		return addr, fmt.Errorf("%s %s: %w: its kind is %v", network, quote(address), ErrSelf, kind)
	}
	return addr, nil
}

// IsSelf reports whether addr is an address of this machine, so that packets to
// it arrive here. Loopback and unspecified addresses are. On Linux so is every
// address that routing delivers to this machine although no interface has it
// (AnyIP). An address that cannot be reached, one whose packets are dropped, and
// a multicast or broadcast address are not. A mapped address is its IPv4
// address. A link-local address is looked up on the interface of its zone, and
// then on all.
//
// IsSelf sends nothing and remembers nothing. It is about the network namespace
// of the caller. The error is for the zero Addr and for a kernel that cannot be
// asked. On js and wasip1 it is [errors.ErrUnsupported].
func IsSelf(addr netip.Addr) (bool, error) {
	switch kind := KindOf(addr); {
	case !addr.IsValid():
		return false, errors.New("loopback: the zero Addr is no address")
	case kind.IsLoopback() || kind == KindUnspecified:
		return true, nil
	case addr.Unmap().IsMulticast():
		return false, nil
	}
	self, err := netif.IsLocal(addr.Unmap())
	if err != nil {
		err = fmt.Errorf("loopback: asking for the route to %v: %w", addr, err)
	}
	return self, err
}
