// Package sockctl deals with one socket in hand: what it is bound to, the
// options for which package net has no method, and the interface that a
// connection or a datagram came in by.
package sockctl

import (
	"net/netip"
	"syscall"
)

// Type is the kind of a socket.
type Type uint8

const (
	NotSocket   Type = iota // a file of another kind
	NotInternet             // a socket whose address is not an IP address
	Stream
	Datagram
	Raw // its port is an IP protocol
)

// Info is what the kernel says of a socket. Only Type is set for a socket that
// is not an internet socket.
type Info struct {
	Type        Type
	Local       netip.AddrPort // unmapped; the zero value if Windows says that it is not bound
	Peer        netip.AddrPort // unmapped; the zero value if it is not connected
	Listening   bool
	Protocol    int    // as SO_PROTOCOL says; 0 on systems other than Linux
	Multipath   bool   // multipath TCP
	Namespace   uint64 // as netif.Namespace; 0 where the system does not say
	Transparent bool   // IP_TRANSPARENT: it is given connections to other addresses
	OnLoopback  bool   // it is bound to the loopback interface
	Device      string // another interface that it is bound to; "" if there is none

	ReportsInterface bool // a datagram comes with its interface: see ReportInterface
}

// Inspect asks the kernel about the socket fd. It opens nothing and changes
// nothing. The error is [errors.ErrUnsupported] where there are no sockets of a
// kernel.
func Inspect(fd uintptr) (Info, error) { return inspect(fd) }

// Exclusive keeps other processes from binding the port of a socket that is
// about to be bound. Windows alone needs it: SO_REUSEADDR would let any process
// do so there.
func Exclusive(c syscall.RawConn) error { return exclusive(c) }

// ExclusiveOnRequest reports whether Exclusive does something on this system.
const ExclusiveOnRequest = exclusiveOnRequest

// NoReuse turns off SO_REUSEADDR, which package net sets on TCP listeners, on a
// temporary socket that is about to be bound to any port: with it Linux
// searches one half of the port range before the other. Elsewhere it does
// nothing.
func NoReuse(c syscall.RawConn) error { return noReuse(c) }

// BindToDevice makes the kernel deliver to a socket nothing but what came in by
// the interface: socket(7), SO_BINDTODEVICE. It is [errors.ErrUnsupported] on
// systems other than Linux.
func BindToDevice(c syscall.RawConn, name string) error { return bindToDevice(c, name) }

// ReportInterface makes a UDP socket report the interface of each datagram in
// its control messages: ip(7), IP_PKTINFO; RFC 3542, section 6.2. The address
// is the one that the socket is bound to, or will be. It is
// [errors.ErrUnsupported] on systems other than Linux.
func ReportInterface(c syscall.RawConn, local netip.Addr) error { return reportInterface(c, local) }

// DatagramInterface returns the index of the interface that the control
// messages of a datagram name, or 0 if they name none.
func DatagramInterface(control []byte) int { return datagramInterface(control) }

// ControlSize is the room that the control messages of ReportInterface need,
// and those before them, such as time stamps, that another user of the same
// socket asked for. It is 0 on systems other than Linux.
const ControlSize = controlSize

// ConnInterface returns the index of the interface that the handshake of an
// accepted TCP connection came in by. The address is the local one of its
// listener. A multipath TCP connection cannot be asked. On an IPv4 connection
// it leaves IP_PKTINFO set, which changes nothing for a stream.
func ConnInterface(c syscall.Conn, local netip.Addr) (index int, err error) {
	err = control(c, func(fd uintptr) error {
		index, err = connInterface(fd, local)
		return err
	})
	return index, err
}

// ReservePort asks the kernel for a port that is free for TCP in both families.
// The port is held against the kernel's own choice, though not against another
// process that asks for it by number, until release. It is 0 where that cannot
// be done, as without IPv6.
func ReservePort() (port uint16, release func()) { return reservePort() }

// control runs f on the descriptor of c.
func control(c syscall.Conn, f func(fd uintptr) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return rawControl(rc, f)
}

// rawControl runs f on the descriptor of c.
func rawControl(c syscall.RawConn, f func(fd uintptr) error) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = f(fd) }); cerr != nil {
		return cerr
	}
	return err
}
