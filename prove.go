package loopback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// A round trip takes a fraction of a millisecond, or will never end. These
// bound it; the second is for a loopback interface known to be down.
const (
	proofTime     = 500 * time.Millisecond
	proofTimeDown = 20 * time.Millisecond
)

var errLoopbackDown = errors.New("loopback: the loopback interface is down")

// A proof is what was found out about the gate for one address.
//
// If missing is nil, gate is the one to use, and note says why no stronger mode
// is in force, why this one is not proved, or both; nil if it is proved and the
// first of those asked for. If missing is not nil, this machine does not have
// the address, missing says why, and gate.ingress is the mode that was to be.
type proof struct {
	gate    gate
	note    error
	missing error
}

// A prover finds out which modes serve a client of this machine.
type prover struct {
	loopback netif.Loopback // not known to IngressAny
	self     *netif.Self    // nil where this machine's addresses cannot be asked for
	foreign  error          // why nothing can be proved about the socket at hand: it is of another network namespace
	try      trial
	excludes func(Ingress) error // why the socket at hand cannot have a mode; nil if it can have each

	somethingPasses bool // a client gets through without any mode
}

// newProver returns a prover of modes, in the network namespace of the calling
// thread. The error is a lack of descriptors or memory.
func newProver(modes []Ingress, try trial) (prover, error) {
	p := prover{try: try}
	if modes[0] == IngressAny {
		return p, nil
	}
	var err error
	if p.loopback, err = netif.FindLoopback(); err != nil {
		return prover{}, err
	}
	if modes[0] == IngressDevice || modes[0] == IngressCheck {
		self, err := netif.OpenSelf()
		switch {
		case err == nil:
			p.self = self
		case syserr.Exhausted(err):
			return prover{}, err
		}
	}
	return p, nil
}

// A trial makes one round trip through a gate: it binds a temporary socket, with
// a port of its own, to the address of the gate, and connects to it. The error
// is nil if the socket could be bound with the mode in force, and the gate then
// let its client in.
//
// The socket that is handed out is never used for it. A connection to oneself
// there would be given to the caller, or a client's be taken for it.
type trial func(ctx context.Context, g gate) (passage, error)

// A passage is how far a trial came, and what it saw.
type passage struct {
	bound     bool           // the socket could be bound
	has, seen netip.AddrPort // the address of the client, and what the server saw; zero if nothing arrived
}

// prove returns the proof for addr with the first of the modes that serves a
// client of this machine; unreached is what [sockctl.CanConnect] says of addr.
// Where nothing gets through, with any mode or none, or no port is left to try
// it on, nothing can be proved. The proof then has the first mode that can be
// set.
//
// The error wraps [errors.ErrUnsupported] if each mode failed. Else it is the
// end of ctx, or a lack of descriptors or memory.
func (p prover) prove(ctx context.Context, modes []Ingress, addr netip.Addr, unreached error) (proof, error) {
	g := gate{ingress: modes[0], loopback: p.loopback, addr: addr, self: p.self}
	if p.foreign == nil {
		if err := absent(ctx, addr, unreached); syserr.Exhausted(err) {
			return proof{}, err
		} else if err != nil {
			return proof{gate: g, missing: err}, nil
		}
	}
	if g.ingress == IngressAny {
		return proof{gate: g}, nil
	}
	var stronger error // why the modes before are not in force
	for _, g.ingress = range modes {
		if err := p.exclusion(g.ingress); err != nil {
			stronger = joined(stronger, fmt.Errorf("ingress %v: %w", g.ingress, err))
			continue
		}
		if p.foreign != nil {
			return unproved(g, stronger, fmt.Errorf("not proved: %w", p.foreign)), nil
		}
		r := p.examine(ctx, g)
		switch {
		case r.blocked != nil:
			return unproved(g, stronger, fmt.Errorf("not proved, nothing gets through: %w", r.blocked)), nil
		case r.err == nil:
			return unproved(g, stronger, nil), nil
		case sockctl.Ended(ctx) != nil:
			return proof{}, sockctl.Ended(ctx)
		case syserr.Exhausted(r.err), errors.Is(r.err, sockctl.ErrNoName):
			return proof{}, r.err
		case !r.bound && syserr.Missing(r.err):
			return proof{gate: g, missing: r.err}, nil
		case !r.bound && (failedAt(r.err, "bind") || failedAt(r.err, "socket")): // all ports are in use, or a sandbox forbids it
			return unproved(g, stronger, fmt.Errorf("not proved, no port can be had for it: %w", r.err)), nil
		}
		stronger = joined(stronger, fmt.Errorf("ingress %v: %w", g.ingress, r.err))
	}
	return proof{}, fmt.Errorf("%w: %w", errors.ErrUnsupported, stronger)
}

// exclusion returns why the socket at hand cannot have a mode, or nil.
func (p prover) exclusion(mode Ingress) error {
	switch {
	case (mode == IngressDevice || mode == IngressCheck) && sockctl.ControlSize == 0:
		return errors.ErrUnsupported // js and wasip1 would not call the control function that says so
	case p.excludes == nil:
		return nil
	}
	return p.excludes(mode)
}

// A trialResult is how the trials of one mode ended.
type trialResult struct {
	bound   bool  // the temporary socket could be bound with the mode in force
	err     error // nil if its client was let in
	blocked error // why nothing gets through without any mode either; nil if something does, or err is nil
}

// examine tries the mode of g. If its client is not let in, it finds out whether
// a client is without any mode, which it remembers for the other modes.
func (p *prover) examine(ctx context.Context, g gate) trialResult {
	bound, err := p.round(ctx, g)
	if err != nil && bound && !p.somethingPasses && !syserr.Exhausted(err) && sockctl.Ended(ctx) == nil {
		open := g
		open.ingress = IngressAny
		_, all := p.round(ctx, open)
		switch {
		case syserr.Exhausted(all):
			return trialResult{bound: bound, err: all}
		case all != nil && sockctl.Ended(ctx) == nil:
			return trialResult{bound: bound, err: err, blocked: all}
		}
		p.somethingPasses = true
	}
	if bound && timedOut(err) && sockctl.Ended(ctx) == nil { // the machine may have stood still
		bound, err = p.round(ctx, g)
	}
	return trialResult{bound: bound, err: err}
}

// absent returns why this machine does not have addr, or a lack of descriptors
// or memory, and else nil; err is what [sockctl.CanConnect] says of addr. It
// binds nothing where addr can be connected to. With the loopback interface
// down nothing can be connected to.
func absent(ctx context.Context, addr netip.Addr, err error) error {
	switch {
	case err == nil:
		return nil
	case syserr.Exhausted(err):
		return err
	case syserr.Is(err, "ENETUNREACH"):
		if lo, lerr := netif.FindLoopback(); lerr != nil || down(lo) {
			return lerr
		}
	case !syserr.Missing(err):
		return nil
	}
	if _, berr := sockctl.BindOnly(ctx, addr); syserr.Exhausted(berr) || syserr.Missing(berr) {
		return berr
	}
	return fmt.Errorf("%w: bound, but not connected to: %w", syscall.EADDRNOTAVAIL, err)
}

func down(lo netif.Loopback) bool { return lo.Index != 0 && !lo.Up }

// round makes a trial, bounded in time.
func (p prover) round(ctx context.Context, g gate) (bound bool, err error) {
	limit := proofTime
	if down(p.loopback) {
		limit = proofTimeDown
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	g.temporary = true
	got, err := p.try(ctx, g)
	if got.bound && err != nil && down(p.loopback) {
		err = errLoopbackDown
	}
	return got.bound, err
}

// unproved returns the proof that g is to be used; stronger says why no stronger
// mode is in force, and why that g is not proved. Either may be nil.
func unproved(g gate, stronger, why error) proof {
	note := joined(stronger, why)
	if stronger != nil && g.ingress == IngressRemote {
		note = fmt.Errorf("other machines could forge a loopback address if routing let them in: %w", note)
	}
	return proof{gate: g, note: note}
}

// joined returns an error that says a and b, either of which may be nil.
func joined(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w; %w", a, b)
}

// failedAt reports whether err came from the system call.
func failedAt(err error, call string) bool {
	e, ok := errors.AsType[*os.SyscallError](err)
	return ok && e.Syscall == call
}

// tryTCP is the trial of a TCP listener.
func tryTCP(ctx context.Context, g gate) (passage, error) {
	return tryListener(ctx, g, singlePath(nil))
}

// tryMultipathTCP is the trial of a listener of multipath TCP, which Adopt may
// be given.
func tryMultipathTCP(ctx context.Context, g gate) (passage, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	return tryListener(ctx, g, lc)
}

func tryListener(ctx context.Context, g gate, lc net.ListenConfig) (passage, error) {
	s, err := listenTCP(ctx, g, netip.AddrPortFrom(g.addr, 0), lc)
	if err != nil {
		return passage{}, err
	}
	defer s.Close()
	return connectTo(ctx, s)
}

// connectTo connects to s, and returns what its gate says of the connection.
func connectTo(ctx context.Context, s tcpSock) (passage, error) {
	got := passage{bound: true}
	err := sockctl.RoundTripThrough(ctx, s.TCPListener, func(client, server *net.TCPConn) error {
		got.has, got.seen = addrPortOf(client.LocalAddr()), addrPortOf(server.RemoteAddr())
		return s.gate.admitConn(server)
	})
	return got, err
}

// addrPortOf returns the address of one end of a connection, without a zone; the
// zero AddrPort if the kernel did not tell.
func addrPortOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return withoutZone(a.AddrPort())
	case *net.UDPAddr:
		return withoutZone(a.AddrPort())
	}
	return netip.AddrPort{}
}

func withoutZone(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// expire makes a deadline pass when ctx ends, until release is called.
func expire(ctx context.Context, setDeadline func(time.Time) error) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = setDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// tryUDP is the trial of a UDP socket.
func tryUDP(ctx context.Context, g gate) (passage, error) {
	s, err := listenUDP(ctx, g, netip.AddrPortFrom(g.addr, 0), nil)
	if err != nil {
		return passage{}, err
	}
	defer s.Close()
	return sendTo(ctx, s)
}

// sendTo sends a datagram to s and, if its gate lets that in, one back.
func sendTo(ctx context.Context, s packetSock) (passage, error) {
	got := passage{bound: true}
	defer expire(ctx, s.SetDeadline)()
	var d net.Dialer
	client, err := d.DialContext(ctx, "udp", s.LocalAddr().String())
	if err != nil {
		return got, err
	}
	defer client.Close()
	defer expire(ctx, client.SetDeadline)()
	nonce := rand.Text()
	for range 2 { // the second finds out, as a rule, whether the first was refused
		if _, err := client.Write([]byte(nonce)); err != nil {
			return got, err
		}
	}
	buf := make([]byte, len(nonce)+1)
	for {
		r := s.source().Receive(buf)
		if r.Err != nil {
			return got, r.Err
		}
		if string(buf[:r.N]) == nonce {
			got.has, got.seen = addrPortOf(client.LocalAddr()), withoutZone(r.From)
			if err := s.gate.admitDatagram(r.From.Addr(), r.Interface); err != nil {
				return got, err
			}
			if _, err := s.WriteToUDPAddrPort([]byte(nonce), r.From); err != nil {
				return got, err
			}
			_, err := client.Read(buf)
			return got, err
		}
	}
}
