package loopback

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
)

// Ingress is how a socket that is bound to a loopback address keeps out what
// comes over the wire. The binding alone is enough on an ordinary machine;
// routing can be set so that it is not: route_localnet, addresses of
// 127.0.0.0/8 used on a link, a port redirection into 127.0.0.0/8.
//
// The zero value is IngressAuto.
type Ingress uint8

const (
	// IngressAuto takes the first of Device, Check and Remote that serves a
	// client of this machine.
	IngressAuto Ingress = iota

	// IngressDevice binds the socket to the loopback interface
	// (SO_BINDTODEVICE): the kernel delivers nothing that came in elsewhere.
	// Remote addresses are checked as well. Linux.
	IngressDevice

	// IngressCheck asks of every connection and datagram which interface it
	// came in by, and refuses all but the loopback interface. Remote addresses
	// are checked as well. Linux.
	IngressCheck

	// IngressRemote refuses remote addresses that are not loopback, those of
	// this machine too, which a client has if it binds to one. Where routing
	// lets the wire in, it stops neither a neighbour that has an address of
	// 127.0.0.0/8 nor a datagram with a forged one.
	IngressRemote

	// IngressAny refuses nobody.
	IngressAny
)

// String returns the name of the rung: auto, device, check, remote or any.
func (i Ingress) String() string {
	switch i {
	case IngressAuto:
		return "auto"
	case IngressDevice:
		return "device"
	case IngressCheck:
		return "check"
	case IngressRemote:
		return "remote"
	case IngressAny:
		return "any"
	}
	return "Ingress(" + strconv.Itoa(int(i)) + ")"
}

// MarshalText returns the String of the rung. The error is always nil.
func (i Ingress) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// rungs returns what a new socket tries, strongest first.
func (i Ingress) rungs() ([]Ingress, error) {
	switch {
	case i == IngressAuto:
		return []Ingress{IngressDevice, IngressCheck, IngressRemote}, nil
	case i > IngressAny:
		return nil, fmt.Errorf("loopback: unknown %v", i)
	}
	return []Ingress{i}, nil
}

// A gate enforces one rung on one socket.
type gate struct {
	rung    Ingress
	loop    netif.Loopback
	addr    netip.Addr // of the socket
	forTrip bool       // the socket is a throwaway one of a rehearsal
}

// admitAddr checks a remote address, as every rung but IngressAny does.
func (g gate) admitAddr(addr netip.Addr) error {
	if g.rung != IngressAny && !Is(addr) {
		return fmt.Errorf("%w: the remote address is not loopback", ErrRefused)
	}
	return nil
}

// admitIndex checks the index of the interface that something came in by.
func (g gate) admitIndex(index int) error {
	if index != g.loop.Index || index == 0 {
		return fmt.Errorf("%w: it came in by interface %d, not by %s", ErrRefused, index, g.loop.Name)
	}
	return nil
}

// admitConn checks an accepted connection.
func (g gate) admitConn(c *net.TCPConn) error {
	if g.rung == IngressAny {
		return nil
	}
	if err := g.admitAddr(c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()); err != nil || g.rung != IngressCheck {
		return err
	}
	index, err := sockctl.ConnInterface(c, g.addr)
	if err != nil {
		return fmt.Errorf("%w: the interface it came in by is unknown: %w", ErrRefused, err)
	}
	return g.admitIndex(index)
}

// set prepares a socket, not yet bound, for the rung.
func (g gate) set(c syscall.RawConn, datagram bool) error {
	if g.forTrip && !datagram { // nobody comes back to its port
		if err := sockctl.NoReuse(c); err != nil {
			return err
		}
	}
	switch {
	case g.rung == IngressDevice:
		return sockctl.BindToDevice(c, g.loop.Name)
	case g.rung == IngressCheck && datagram:
		return sockctl.ReportInterface(c, g.addr)
	case g.rung == IngressCheck && sockctl.ControlSize == 0: // found out before anything is accepted
		return errors.ErrUnsupported
	}
	return nil
}
