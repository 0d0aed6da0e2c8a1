package loopback

import (
	"net"
	"net/netip"
	"syscall"
	"time"
)

// A muxed is one of the sockets that a mux receives from.
type muxed struct {
	syscall.Conn
	setReadDeadline func(time.Time) error
}

// received is what came out of one socket of a mux: a connection, a datagram,
// or an error.
type received struct {
	sock    int
	conn    *net.TCPConn
	n       int
	from    netip.AddrPort
	refused error // why the datagram is not let in
	err     error
}

// A receiver takes the next connection or datagram from the socket with the
// given index, the datagram into b.
type receiver func(sock int, b []byte) received
