package loopback

import (
	"fmt"
	"net/netip"
	"slices"

	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/socktab"
)

// Socket is a socket of this process that any peer can send to: a listener, or a
// bound datagram or raw socket that is not connected. Sockets can be compared
// with ==.
type Socket struct {
	// Network is "tcp", also for multipath TCP, "udp", "ip" for a raw socket,
	// or the name of another protocol or family: "sctp", "vsock", "packet".
	Network string `json:"network"`

	// Addr is the local address, unmapped and without a zone. A socket that is
	// bound to [::] usually receives IPv4, too. The port of a raw socket is its
	// IP protocol. Addr is the zero AddrPort for a family without IP addresses.
	Addr netip.AddrPort `json:"addr"`

	// FD is the descriptor. It is -1 on Windows, which does not report it.
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

// Sockets returns the sockets of this process that any peer can send to, in the
// order of their descriptors. It asks the descriptors themselves and therefore
// sees sockets of any origin: those of package net and of package syscall,
// inherited sockets, and sockets of another network namespace. A socket with two
// descriptors is listed twice. Sockets leaves out unix and netlink sockets,
// connections, connected datagram and raw sockets, and TCP sockets that are bound
// and do not listen.
//
// Sockets sees the sockets that are open when it looks. It lists a socket that is
// open during the whole call, whatever other goroutines open and close meanwhile.
// It does not see a socket that was closed before.
//
// Sockets needs no privilege. On Linux it works without /proc and with no
// descriptor left, and it lists vsock and packet sockets and those of other
// families as exposed. On other unix systems it does not see these. On Windows it
// lists the TCP and UDP sockets that the process has bound, without descriptors,
// connected UDP sockets among them. A socket that another process bound is that
// one's there. An error means that the list would not be complete. On js and wasip1
// the error is [errors.ErrUnsupported].
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
