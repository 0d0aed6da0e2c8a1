// Package socktab looks at sockets as the kernel lists them: who listens on a
// port, who is at the other end of a connection, and which are this process's
// own. The first two need a list that Linux has; on other systems the functions
// say [errors.ErrUnsupported].
package socktab

import (
	"net/netip"
	"strconv"
	"strings"
)

// Socket is a listening TCP or an unconnected UDP socket.
type Socket struct {
	Network string         // "tcp4", "tcp6", "udp4" or "udp6"
	Local   netip.AddrPort // [::] is also 0.0.0.0, unless Only6
	Only6   bool           // an IPv6 socket that takes no IPv4
	Device  int            // the index of the interface that it is bound to, or 0
	Full    bool           // a TCP socket: as many connections wait as may
	Owner   Owner
	Inode   uint32 // what tells the socket from others
}

// Owner is the user and the program of a socket.
type Owner struct {
	UID       uint32
	Named     bool      // UID is a user of this user namespace, and not the one that stands for all others
	Processes []Process // those that have the socket, as far as they can be seen, in the order of their ids
}

// Process is a process that has a socket.
type Process struct {
	PID   int
	Name  string // its command name
	Image string // what tells one execution of a program, with all that it forked, from others; "" if not known
}

// String returns the process as "name (pid)".
func (p Process) String() string { return p.Name + " (" + strconv.Itoa(p.PID) + ")" }

// OnPort returns the sockets that are bound to a port, TCP before UDP and IPv4
// before IPv6.
func OnPort(port uint16) ([]Socket, error) { return onPort(port) }

// TCP reports whether s is a listening TCP socket.
func (s Socket) TCP() bool { return strings.HasPrefix(s.Network, "tcp") }

// Covers reports whether s takes what is sent to addr, a loopback address.
func (s Socket) Covers(addr netip.Addr) bool {
	local := s.Local.Addr()
	switch {
	case s.Device != 0 && s.Device != loopbackIndex:
		return false
	case local == netip.IPv6Unspecified():
		return addr.Is6() || !s.Only6
	case local.IsUnspecified():
		return addr.Is4()
	}
	return local == addr
}

// SharesProgram reports whether the sockets of a and b may belong to one
// program: to one process, or to processes of which none executed a program
// after they were forked. It is true where this cannot be seen.
func (a Owner) SharesProgram(b Owner) bool {
	for _, p := range a.Processes {
		for _, q := range b.Processes {
			if p.PID == q.PID || p.Image == "" || q.Image == "" || p.Image == q.Image {
				return true
			}
		}
	}
	return len(a.Processes) == 0 || len(b.Processes) == 0
}
