// Package merge receives from several sockets as if they were one.
package merge

import (
	"net"
	"net/netip"
	"syscall"
	"time"
)

// A Source is one of the sockets that a Receiver receives from.
type Source struct {
	syscall.Conn
	SetReadDeadline func(time.Time) error
}

// A Result is what came out of one source: a connection, a datagram, or an
// error.
type Result struct {
	Source  int // its index
	Conn    *net.TCPConn
	N       int
	From    netip.AddrPort
	Refused error // why the datagram is not let in
	Err     error
}

// A Receive takes the next connection or datagram from the source with the
// given index, the datagram into b.
type Receive func(source int, b []byte) Result
