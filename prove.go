package loopback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

var errLoopDown = errors.New("loopback: the loopback interface is down")

// A round trip takes a fraction of a millisecond, or will never end. These
// bound it; the second is for a loopback interface known to be down.
const (
	proofTime     = 500 * time.Millisecond
	proofTimeDown = 20 * time.Millisecond
)

// A rehearsal binds a throwaway socket, with a port of its own, to addr and
// sets the rung of g on it; trip proves that a client of this machine gets
// through. It is never done on the socket that is handed out: a connection to
// oneself there would be given to a stranger, or a stranger's be taken.
type rehearsal func(ctx context.Context, g gate, addr netip.Addr) (trip func() error, err error)

// choose returns the gate of the first of the rungs that serves a client of
// this machine at addr; note says why no stronger one does. Where nothing gets
// through at all, rung or no rung, or no port is left to try it on, nothing can
// be proved: then it is the first rung that can be set, and the note says that.
//
// An err for which missing holds, and that is not errors.ErrUnsupported, which
// says that no rung served, is of a machine that has no such address;
// g has the rung at which that came out.
func choose(ctx context.Context, rungs []Ingress, lo netif.Loopback, addr netip.Addr, rehearse rehearsal) (g gate, note, err error) {
	down := lo.Index != 0 && !lo.Up
	bound := proofTime
	if down {
		bound = proofTimeDown
	}
	try := func(rung Ingress) (g gate, set bool, err error) {
		g = gate{rung: rung, loop: lo, addr: addr}
		ctx, cancel := context.WithTimeout(ctx, bound)
		defer cancel()
		trip, err := rehearse(ctx, g, addr)
		if err != nil {
			return g, false, err
		}
		if err = trip(); err != nil && down {
			err = errLoopDown
		}
		return g, true, err
	}

	if rungs[0] == IngressAny {
		return gate{rung: IngressAny, loop: lo, addr: addr}, nil, nil
	}
	// taken says why the rung of g is not a stronger one, and if it is not proved.
	taken := func(g gate, unproved error) (gate, error, error) {
		switch {
		case note == nil:
			return g, unproved, nil
		case unproved != nil:
			note = fmt.Errorf("%w; %w", note, unproved)
		}
		if g.rung == IngressRemote {
			note = fmt.Errorf("a neighbour could forge a loopback address if routing let it in: %w", note)
		}
		return g, note, nil
	}
	asked := false // whether anything gets through
	for _, rung := range rungs {
		g, set, err := try(rung)
		if err != nil && set && !asked && !syserr.Exhausted(err) {
			asked = true
			_, _, all := try(IngressAny)
			switch {
			case syserr.Exhausted(all):
				err = all
			case all != nil && ended(ctx) == nil:
				return taken(g, fmt.Errorf("not proved, nothing gets through: %w", all))
			}
		}
		if set && timedOut(err) && ended(ctx) == nil { // yet something gets through: the machine may have stood still
			g, set, err = try(rung)
		}
		switch {
		case err == nil:
			return taken(g, nil)
		case ended(ctx) != nil:
			return gate{}, nil, ended(ctx)
		case syserr.Exhausted(err), errors.Is(err, sockctl.ErrNoName), !set && syserr.Missing(err):
			return g, nil, err
		case !set && (failedAt(err, "bind") || failedAt(err, "socket")): // all ports are in use, or a sandbox forbids it
			return taken(g, fmt.Errorf("not proved, no port can be had for it: %w", err))
		}
		err = fmt.Errorf("ingress %v: %w", rung, err)
		if note != nil {
			err = fmt.Errorf("%w; %w", note, err)
		}
		note = err
	}
	return gate{}, nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, note)
}

// failedAt reports whether err came from the system call.
func failedAt(err error, syscall string) bool {
	e, ok := errors.AsType[*os.SyscallError](err)
	return ok && e.Syscall == syscall
}

// rehearseTCP is the rehearsal of a listener; a multipath one for
// ListenConfig.Adopt.
func rehearseTCP(multipath bool) rehearsal {
	return func(ctx context.Context, g gate, addr netip.Addr) (func() error, error) {
		g.forTrip = true
		ln, err := listenTCP(ctx, g, netip.AddrPortFrom(addr, 0), multipath, nil)
		if err != nil {
			return nil, err
		}
		return func() error {
			defer ln.Close()
			return tripTCP(ctx, ln)
		}, nil
	}
}

// tripTCP connects to ln and asks its gate to admit what arrives.
func tripTCP(ctx context.Context, ln tcpSock) error {
	defer expire(ctx, ln.SetDeadline)()
	var d net.Dialer
	d.SetMultipathTCP(false) // whatever GODEBUG says: see Adopt
	client, err := d.DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	client.(*net.TCPConn).SetLinger(0) // no TIME_WAIT is left behind
	for {
		c, err := ln.AcceptTCP()
		if err != nil {
			return err
		}
		defer c.Close()
		if withoutZone(c.RemoteAddr()) == withoutZone(client.LocalAddr()) { // not a passing stranger
			return ln.gate.admitConn(c)
		}
	}
}

// withoutZone returns the address of one end of a TCP connection as the other
// end has it: a link-local address has a zone only where it came in.
func withoutZone(a net.Addr) netip.AddrPort {
	tcp, _ := a.(*net.TCPAddr) // nil if getsockname failed
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().WithZone(""), ap.Port())
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

// ended returns ctx.Err(), and after the deadline of ctx its error also before
// ctx has noticed: package net has timers of its own.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// rehearseUDP is the rehearsal of a packet socket.
func rehearseUDP(ctx context.Context, g gate, addr netip.Addr) (func() error, error) {
	s, err := listenUDP(ctx, g, netip.AddrPortFrom(addr, 0), nil)
	if err != nil {
		return nil, err
	}
	return func() error {
		defer s.Close()
		return tripUDP(ctx, s)
	}, nil
}

// tripUDP sends a datagram to s and asks its gate to admit what arrives.
func tripUDP(ctx context.Context, s packetSock) error {
	defer expire(ctx, s.SetDeadline)()
	var d net.Dialer
	client, err := d.DialContext(ctx, "udp", s.LocalAddr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	nonce := rand.Text()
	for range 2 { // the second finds out, as a rule, if the first was refused
		if _, err := client.Write([]byte(nonce)); err != nil {
			return err
		}
	}
	buf := make([]byte, len(nonce)+1)
	for {
		n, _, refused, err := s.read(buf)
		if err != nil {
			return err
		}
		if string(buf[:n]) == nonce {
			return refused
		}
	}
}
