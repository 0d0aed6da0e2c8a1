package loopback

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// ListenConfig holds the options of a listener. Its zero value is what
// [Listen] and [ListenPacket] use. Its methods do not change it, and may be
// called from several goroutines.
type ListenConfig struct {
	// RequireBoth makes Listen, ListenPacket, Adopt and AdoptPacket fail unless
	// they have both families. Listen and ListenPacket then have 127.0.0.1 and
	// ::1. An address or a network of one family is an error.
	RequireBoth bool

	// Ingress is how other machines are kept out where routing would let them
	// in. The zero value, IngressAuto, takes the strongest mode that works here,
	// and the Binding names it. A mode asked for by name that does not work
	// here is an error that wraps errors.ErrUnsupported.
	//
	// Each mode is proved before it is used: a temporary socket is bound with
	// the mode in force and connected to, which takes about a millisecond.
	// Nothing is remembered between calls, as routing changes. Where nothing
	// can be proved, because the loopback interface is down, a packet filter
	// drops what is sent to it, or no port is left for the temporary socket, the
	// strongest mode that can be set is taken, and the Err of the Binding says
	// so. With such a filter that takes a second for each address.
	Ingress Ingress

	// SameUser makes the Listener refuse connections of every user but the
	// effective one of this process at Listen or Adopt. Root is refused as well,
	// unless it is that user. AllowUIDs admits further users.
	//
	// The check is on if SameUser is set or AllowUIDs is not nil. Then a
	// connection is refused unless [PeerUID] knows its user. Listen and Adopt
	// prove that the kernel tells users here, and fail where it does not: with
	// the loopback interface down, with a packet filter that drops or rewrites
	// what is sent to it, in a sandbox without netlink, for a process whose own
	// user has no id in its user namespace, for a socket of another network
	// namespace, and with errors.ErrUnsupported on systems other than Linux, for
	// ListenPacket and for AdoptPacket.
	SameUser bool

	// AllowUIDs are users to admit. If it is empty and not nil, and SameUser is
	// not set, no connection is admitted.
	AllowUIDs []uint32

	// OnReject is called for each connection and each datagram that was
	// received and refused, with a *net.OpError that wraps ErrRefused. Its
	// Source is the local address, its Addr the remote one. OnReject is called
	// in the goroutine that accepts or reads, perhaps in several at once, and
	// must not block. If it is nil, nothing is reported.
	OnReject func(err error)

	// Control is called as by [net.ListenConfig], before the socket is bound,
	// for each socket that the caller gets; not for temporary ones, and not by
	// Adopt and AdoptPacket. Its error is that of the call.
	Control func(network, address string, c syscall.RawConn) error
}

// A Binding is one address that a listener was to have. The zero Binding is not
// bound.
//
// As JSON it is an object with network, addr, ingress and bound, and with error
// and errno where there is an Err. An error read back has the same text, and
// [errors.Is] finds the [syscall.Errno] in it if this platform has one of that
// name.
type Binding struct {
	Network string         // "tcp4", "tcp6", "udp4" or "udp6"
	Addr    netip.AddrPort // with the port in use, if it is bound
	Ingress Ingress        // the mode in force or, if not bound, the one that was to be; never IngressAuto

	// Err says of an address that is not bound why not. Of one that is bound
	// it says why no stronger mode is in force, or that the mode is not proved.
	// It is nil if there is nothing to say.
	Err error

	bound bool
}

// Bound reports whether the address is bound.
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

// bindingJSON is the form of a Binding.
type bindingJSON struct {
	Network string         `json:"network"`
	Addr    netip.AddrPort `json:"addr"`
	Ingress Ingress        `json:"ingress"`
	Bound   bool           `json:"bound"`
	Error   *string        `json:"error,omitempty"`
	Errno   string         `json:"errno,omitempty"`
}

// MarshalJSON returns the binding as described at [Binding].
func (b Binding) MarshalJSON() ([]byte, error) {
	out := bindingJSON{Network: b.Network, Addr: b.Addr, Ingress: b.Ingress, Bound: b.bound}
	if b.Err != nil {
		text := inUTF8(b.Err.Error())
		out.Error, out.Errno = &text, errnoOf(b.Err)
	}
	return marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes. On an error the binding stays as
// it is.
func (b *Binding) UnmarshalJSON(text []byte) error {
	var in bindingJSON
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*b = Binding{Network: in.Network, Addr: in.Addr, Ingress: in.Ingress, bound: in.Bound}
	if in.Error != nil {
		b.Err = errorRead{text: *in.Error, errno: in.Errno}
	}
	return nil
}

// checksUsers reports whether connections are admitted by their user.
func (lc *ListenConfig) checksUsers() bool { return lc.SameUser || lc.AllowUIDs != nil }

// userCheck returns the check of connections to the addresses, or nil if they
// are not admitted by their user.
func (lc *ListenConfig) userCheck(ctx context.Context, addrs []netip.AddrPort) (*userCheck, error) {
	if !lc.checksUsers() {
		return nil, nil
	}
	uids := slices.Clone(lc.AllowUIDs)
	if lc.SameUser {
		uids = append(uids, uint32(os.Geteuid()))
	}
	return newUserCheck(ctx, uids, addrs)
}

// suits returns an error if an option of lc is of no use to sockets of t.
func (lc *ListenConfig) suits(t transport) error {
	if t == transportUDP && lc.checksUsers() {
		return fmt.Errorf("loopback: SameUser or AllowUIDs is set: %w: the user who sent a datagram is not known", errors.ErrUnsupported)
	}
	return nil
}

// opError returns err, which may be that of a temporary socket, as the error of
// a Listen of the binding.
func (b Binding) opError(err error) error {
	return opError(net.OpError{Op: "listen", Net: b.Network, Addr: netAddr(b.Network, b.Addr)}, err)
}

// A request is what a network and an address ask for.
type request struct {
	transport transport
	addrs     []netip.Addr // one, or 127.0.0.1 and ::1
	port      uint16
}

// parse reads the arguments of Listen or, with transportUDP, of ListenPacket.
func (lc *ListenConfig) parse(ctx context.Context, t transport, network, address string) (request, error) {
	if err := t.checkNetwork(network); err != nil {
		return request{}, err
	}
	if err := lc.suits(t); err != nil {
		return request{}, err
	}
	if err := ctx.Err(); err != nil {
		return request{}, err
	}
	host, service, err := splitAddress(address)
	if err != nil {
		return request{}, err
	}
	addrs, err := loopbackAddrs(network, host)
	if err != nil {
		return request{}, fmt.Errorf("%s: %w", quote(address), err)
	}
	if lc.RequireBoth && len(addrs) != 2 {
		return request{}, fmt.Errorf("loopback: RequireBoth is set, but %s %s asks for %v alone", network, quote(address), addrs[0])
	}
	port, err := lookupPort(ctx, network, service)
	if err != nil {
		return request{}, err
	}
	return request{transport: t, addrs: addrs, port: port}, nil
}

// checkNetwork returns an error unless network is one of t.
func (t transport) checkNetwork(network string) error {
	switch strings.TrimSuffix(strings.TrimSuffix(network, "4"), "6") {
	case string(t):
		if len(network) <= len(t)+1 {
			return nil
		}
	case string(transportTCP):
		return fmt.Errorf("%q is for Listen, not for ListenPacket: %w: %w", network, ErrNotLoopback, net.UnknownNetworkError(network))
	case string(transportUDP):
		return fmt.Errorf("%q is for ListenPacket, not for Listen: %w: %w", network, ErrNotLoopback, net.UnknownNetworkError(network))
	}
	return fmt.Errorf("%w: %w", ErrNotLoopback, net.UnknownNetworkError(network))
}

// splitAddress is [net.SplitHostPort], in which the empty address is that of
// any port on no host. A text that has no port is said not to be loopback only
// if it is a host, and not a port.
func splitAddress(address string) (host, service string, err error) {
	if address == "" {
		return "", "", nil
	}
	host, service, err = splitHostPort(address)
	if err == nil {
		return host, service, nil
	}
	isPort := strings.Trim(address, "0123456789") == ""
	if !isPort && !IsHost(address) && !IsHostHeader(address) {
		err = fmt.Errorf("%w: %w", ErrNotLoopback, err)
	}
	return "", "", err
}

// portAttempts bounds the search for a port that both families have free.
const portAttempts = 256

// A plannedBinding is an address to be bound.
type plannedBinding struct {
	Binding
	gate    gate
	missing bool // this machine does not have the address, and Err says why
}

// plan decides how each address of r is to be guarded.
func (p prover) plan(ctx context.Context, modes []Ingress, r request) ([]plannedBinding, error) {
	planned := make([]plannedBinding, len(r.addrs))
	unreached := sockctl.CanConnectAll(r.addrs)
	for i, addr := range r.addrs {
		b := &planned[i]
		b.Network, b.Addr = r.transport.network(addr), netip.AddrPortFrom(addr, r.port)
		proof, err := p.prove(ctx, modes, addr, unreached[i])
		if err != nil {
			return nil, b.opError(err)
		}
		b.gate, b.Ingress, b.Err = proof.gate, proof.gate.ingress, proof.note
		if proof.missing != nil {
			b.missing, b.Err = true, b.opError(proof.missing)
		}
	}
	return planned, nil
}

// Sockets are what a listener consists of: its sockets, and what its gates need.
type sockets[S socket] struct {
	socks    []S
	bindings []Binding
	self     *netif.Self // that of the gates; may be nil
	users    *userCheck
}

// close closes everything and returns the first error.
func (b sockets[S]) close() error {
	var err error
	for _, s := range b.socks {
		err = cmp.Or(err, s.Close())
	}
	return cmp.Or(err, b.self.Close(), b.users.close())
}

// addrPorts returns the addresses that are bound.
func (b sockets[S]) addrPorts() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, binding := range b.bindings {
		if binding.bound {
			addrs = append(addrs, binding.Addr)
		}
	}
	return addrs
}

// files returns duplicates of the sockets, all or none.
func (b sockets[S]) files() ([]*os.File, error) {
	files := make([]*os.File, len(b.socks))
	for i, s := range b.socks {
		var err error
		if files[i], err = s.File(); err != nil {
			for _, f := range files[:i] {
				f.Close()
			}
			return nil, err
		}
	}
	return files, nil
}

// bindAll binds the addresses of r with open, each of which is proved with try.
// An address that this machine does not have is left out, and stands in the
// bindings with its error. If bindAll fails, nothing is left open.
func bindAll[S socket](ctx context.Context, lc *ListenConfig, r request, try trial,
	open func(gate, netip.AddrPort) (S, error),
) (all sockets[S], err error) {
	modes, err := lc.Ingress.modes()
	if err != nil {
		return all, err
	}
	p, err := newProver(modes, try)
	if err != nil {
		return all, err
	}
	done := false
	defer func() { // also if a Control panics
		if !done {
			_ = sockets[S]{self: p.self}.close() // the first error is the one to report
		}
	}()
	planned, err := p.plan(ctx, modes, r)
	if err != nil {
		return all, err
	}
	for attempt := range portAttempts {
		reserve := attempt%2 == 0 // not always: a Control may turn SO_REUSEADDR off, which it relies on
		all, err = bindOnce(r, planned, reserve, open)
		if !syserr.InUse(err) || r.port != 0 || len(r.addrs) == 1 {
			break
		}
	}
	if err != nil {
		return sockets[S]{}, err
	}
	var missing error
	for _, b := range all.bindings {
		if !b.bound {
			missing = joined(missing, b.Err)
		}
	}
	if len(all.socks) == 0 || lc.RequireBoth && missing != nil {
		_ = all.close() // the first error is the one to report
		return sockets[S]{}, missing
	}
	all.self, done = p.self, true
	return all, nil
}

// bindOnce binds what is planned on one port, which is any if r has none;
// reserve is to ask ReservePort for it.
func bindOnce[S socket](r request, planned []plannedBinding, reserve bool, open func(gate, netip.AddrPort) (S, error),
) (all sockets[S], err error) {
	done := false
	defer func() { // also if a Control panics
		if !done {
			_ = all.close() // the first error is the one to report
		}
	}()
	all = sockets[S]{socks: make([]S, 0, len(planned)), bindings: make([]Binding, 0, len(planned))}
	port := r.port
	if reserve && port == 0 && r.transport == transportTCP && len(planned) > 1 {
		var release func()
		port, release = sockctl.ReservePort()
		defer release()
	}
	for _, p := range planned {
		b := p.Binding
		if !p.missing {
			s, err := open(p.gate, netip.AddrPortFrom(b.Addr.Addr(), port))
			switch {
			case err == nil:
				all.socks = append(all.socks, s)
				b.Addr, b.bound = s.addrPort(), true
				port = b.Addr.Port()
			case syserr.Missing(err):
				b.Err = err
			default:
				return all, err
			}
		}
		all.bindings = append(all.bindings, b)
	}
	done = true
	return all, nil
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
