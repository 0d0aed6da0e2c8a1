package loopback

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"example.com/loopback/internal/enum"
	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
)

// Ingress is how a socket that is bound to a loopback address keeps other
// machines out. On an ordinary machine the address is enough. Routing can be
// set so that it is not: by the kernel parameter route_localnet, by addresses
// of 127.0.0.0/8 on a link, by a packet filter that redirects a port to
// 127.0.0.0/8 or ::1.
//
// Local clients are served under IngressAuto, IngressDevice and IngressCheck
// whatever address of this machine they have. A client may be bound to another
// address than a loopback one, and a packet filter that masquerades gives it
// one. The exception is IPv6 where IngressDevice is in force: see there.
//
// The zero value is IngressAuto.
type Ingress uint8

const (
	// IngressAuto takes the first of IngressDevice, IngressCheck and
	// IngressRemote that serves a client of this machine.
	IngressAuto Ingress = iota

	// IngressDevice binds the socket to the loopback interface
	// (SO_BINDTODEVICE), so that the kernel delivers nothing that came in by
	// another. Remote addresses that are not this machine's own are refused as
	// well. Linux answers no IPv6 client that is bound to an address of another
	// interface. It needs Linux.
	IngressDevice

	// IngressCheck asks of every connection and datagram which interface it
	// came in by, and refuses all but the loopback interface. Remote addresses
	// that are not this machine's own are refused as well. It needs Linux.
	IngressCheck

	// IngressRemote refuses remote addresses that are not loopback, this
	// machine's own among them. Where routing lets other machines in, it stops
	// neither a machine that has an address of 127.0.0.0/8 nor a datagram with
	// a forged one.
	IngressRemote

	// IngressAny refuses nothing.
	IngressAny
)

var ingressNames = []string{
	IngressAuto: "auto", IngressDevice: "device", IngressCheck: "check", IngressRemote: "remote", IngressAny: "any",
}

// String returns the name of the mode: auto, device, check, remote or any.
func (i Ingress) String() string { return enum.Text(i, "Ingress", ingressNames) }

// MarshalText returns the String of the mode. The error is always nil.
func (i Ingress) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText sets the mode to the one that text names. Any other text is an
// error, and the mode stays as it is.
func (i *Ingress) UnmarshalText(text []byte) error {
	return enum.Parse(i, text, "Ingress", ingressNames)
}

// modes returns the modes that i stands for, the strongest first.
func (i Ingress) modes() ([]Ingress, error) {
	switch {
	case i == IngressAuto:
		return []Ingress{IngressDevice, IngressCheck, IngressRemote}, nil
	case i > IngressAny:
		return nil, fmt.Errorf("loopback: unknown %v", i)
	}
	return []Ingress{i}, nil
}

// A gate enforces one mode on one socket.
type gate struct {
	ingress   Ingress // never IngressAuto
	loopback  netif.Loopback
	addr      netip.Addr  // that the socket is bound to
	self      *netif.Self // nil where this machine's addresses cannot be asked for
	temporary bool        // the socket is one of a proof
}

// prepare sets on a socket, not yet bound, what the mode needs.
func (g gate) prepare(c syscall.RawConn, t transport) error {
	if g.temporary && t == transportTCP {
		if err := sockctl.NoReuse(c); err != nil {
			return err
		}
	}
	switch {
	case g.ingress == IngressDevice:
		return sockctl.BindToDevice(c, g.loopback.Name)
	case g.ingress == IngressCheck && t == transportUDP:
		return sockctl.ReportInterface(c, g.addr)
	}
	return nil
}

// A transport is the kind of network that a socket is of.
type transport string

const (
	transportTCP transport = "tcp"
	transportUDP transport = "udp"
)

// network returns the network that addr belongs to: "tcp4", "tcp6", "udp4" or
// "udp6".
func (t transport) network(addr netip.Addr) string {
	switch { // without an allocation
	case t == transportTCP && addr.Is6():
		return "tcp6"
	case t == transportTCP:
		return "tcp4"
	case addr.Is6():
		return "udp6"
	}
	return "udp4"
}

// admitConn returns nil if an accepted connection is let in, and else an error
// that wraps ErrRefused.
func (g gate) admitConn(c *net.TCPConn) error {
	if g.ingress == IngressCheck {
		index, err := sockctl.ConnInterface(c, g.addr)
		if err != nil {
			return fmt.Errorf("%w: the interface of the connection is unknown: %w", ErrRefused, err)
		}
		if err := g.admitInterface(index); err != nil {
			return err
		}
	}
	remote, _ := c.RemoteAddr().(*net.TCPAddr) // nil if getpeername failed
	return g.admitAddr(remote.AddrPort().Addr())
}

// admitDatagram does the same for a datagram that came in by the interface with
// the given index.
func (g gate) admitDatagram(remote netip.Addr, index int) error {
	if g.ingress == IngressCheck {
		if err := g.admitInterface(index); err != nil {
			return err
		}
	}
	return g.admitAddr(remote)
}

// admitInterface judges the index of the interface that something came in by.
func (g gate) admitInterface(index int) error {
	if index != g.loopback.Index || index == 0 {
		return fmt.Errorf("%w: came in by interface %d, not by %s", ErrRefused, index, g.loopback.Name)
	}
	return nil
}

// admitAddr judges a remote address. IngressDevice and IngressCheck vouch for
// the interface, so that an address of this machine is one that it has given
// to a local client.
func (g gate) admitAddr(remote netip.Addr) error {
	switch {
	case g.ingress == IngressAny || Is(remote):
		return nil
	case !g.vouches():
		return fmt.Errorf("%w: the remote address is not loopback", ErrRefused)
	}
	own, err := g.own(remote)
	switch {
	case err != nil:
		return fmt.Errorf("%w: the remote address is not loopback, and may not be this machine's own: %w", ErrRefused, err)
	case !own:
		return fmt.Errorf("%w: the remote address is neither loopback nor this machine's own", ErrRefused)
	}
	return nil
}

// mayReach reports whether a datagram to addr stays on this machine.
func (g gate) mayReach(addr netip.Addr) bool {
	var own bool
	var err error
	switch {
	case Is(addr):
		return true
	case g.vouches():
		own, err = g.own(addr)
	case g.ingress == IngressAny && !addr.IsUnspecified():
		own, err = netif.IsLocal(addr)
	}
	return err == nil && own
}

// own reports whether addr is one of this machine's. The unspecified address is
// none, though routes lead it here.
func (g gate) own(addr netip.Addr) (bool, error) {
	if addr = addr.Unmap(); addr.IsUnspecified() {
		return false, nil
	}
	return g.self.IsLocal(addr)
}

// vouches reports whether what the gate lets in came in by the loopback
// interface, and this machine's addresses can be asked for.
func (g gate) vouches() bool {
	return (g.ingress == IngressDevice || g.ingress == IngressCheck) && g.self != nil
}
