package loopback

import (
	"fmt"
	"net/netip"
	"slices"

	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/socktab"
)

// Socket is a socket of this process that takes what any peer sends: one that
// listens, or one of datagrams that is bound to a port and not connected.
// Sockets can be compared with ==.
type Socket struct {
	// Network is "tcp", also for multipath TCP, "udp", "ip" for a raw socket,
	// or the name of another protocol or family: "sctp", "vsock", "packet".
	Network string `json:"network"`

	// Addr is what the socket is bound to, without a zone; a mapped address is
	// its IPv4 address. [::] is often 0.0.0.0, too. The port of a raw socket is
	// its IP protocol. Addr is the zero AddrPort for a family without IP
	// addresses.
	Addr netip.AddrPort `json:"addr"`

	// FD is the descriptor, or -1 on Windows, which does not tell it.
	FD int `json:"fd"`

	// Exposed says that other machines may reach the socket. It is set for a
	// socket that [Verify] refuses, and for every raw socket: a raw socket takes
	// the packets of its protocol whatever port they are for.
	Exposed bool `json:"exposed"`
}

// String returns the network and the address, the descriptor if that is known,
// and whether the socket is exposed: "tcp [::]:8080 (descriptor 7, exposed)".
func (s Socket) String() string {
	text, details := s.Network, ""
	if s.Addr.IsValid() {
		text += " " + s.Addr.String()
	}
	if s.FD >= 0 {
		details = fmt.Sprintf("descriptor %d", s.FD)
	}
	if s.Exposed && details != "" {
		details += ", "
	}
	if s.Exposed {
		details += "exposed"
	}
	if details == "" {
		return text
	}
	return text + " (" + details + ")"
}

// Sockets returns the sockets of this process that take what any peer sends, in
// the order of their descriptors. It asks the descriptors themselves, so that it
// sees sockets of any origin: of package net and of package syscall, inherited
// ones, and those of another network namespace. A socket that has two
// descriptors is listed with each. Sockets that no other machine can send to are
// not listed: unix and netlink sockets, connections, and what is bound and does
// not listen.
//
// Sockets sees what is open when it looks. A socket that is open during the
// whole call is listed, whatever other goroutines open and close meanwhile; one
// that was closed before is not.
//
// It needs no privilege. On Linux it works without /proc and with no descriptor
// left, and lists sockets of vsock, of packets and of other families as exposed.
// On the other unix systems these are not seen. Windows lists the TCP and UDP
// sockets of the process without descriptors, and connected UDP sockets among
// them. The error says that the sockets could not all be told; on js and wasip1
// it is [errors.ErrUnsupported].
func Sockets() ([]Socket, error) {
	own, err := socktab.Own()
	if err != nil {
		return nil, fmt.Errorf("loopback: listing the sockets of this process: %w", err)
	}
	sockets := make([]Socket, len(own))
	for i, s := range own {
		sockets[i] = Socket{Network: s.Network, Addr: s.Info.Local, FD: s.FD, Exposed: s.Info.Type == sockctl.Raw || exposure(s.Info) != ""}
	}
	return sockets, nil
}

// Exposed returns those of [Sockets] that other machines may reach, unless
// something else keeps them away: sockets that are not bound to loopback alone,
// raw sockets, and sockets of families without loopback addresses. A socket that
// is bound to every interface is exposed on a machine without a network, too.
func Exposed() ([]Socket, error) {
	sockets, err := Sockets()
	return slices.DeleteFunc(sockets, func(s Socket) bool { return !s.Exposed }), err
}
