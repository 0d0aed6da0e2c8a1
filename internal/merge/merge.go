// Package merge receives from several sockets as if they were one.
package merge

import (
	"net"
	"net/netip"
	"time"

	"example.com/loopback/internal/sockctl"
)

// A Source is one of the sockets. Either TCP or UDP is set, the same for all
// sources of a Receiver.
type Source struct {
	TCP *net.TCPListener
	UDP *net.UDPConn

	// Interface makes each Result name the interface of its datagram. It needs
	// sockctl.ReportInterface.
	Interface bool
}

// A Result is what came out of one source: a connection, a datagram, or an
// error.
type Result struct {
	Source    int // the index of the source
	Conn      *net.TCPConn
	N         int            // the length of the datagram, as far as there was room for it
	From      netip.AddrPort // its sender, unmapped, with a zone as package net names it
	Interface int            // the index of the interface it came in by; 0 if that is unknown
	Err       error
}

// A Receiver receives from several sources. Its methods may be called from
// several goroutines.
//
// A source that always has something keeps none of the others waiting for more
// than a few results. Another process may have the same socket, and may take
// what was there: then the others are still served within a moment.
type Receiver interface {
	// Next waits for a source that has something. It copies a datagram into b,
	// and cuts off what does not fit, which is an error on Windows, as in package
	// net. An error of one source is returned once and does not end the Receiver.
	// On Linux nothing is received but what Next returns. Elsewhere one connection
	// or datagram of each source may be received before it is asked for, and is
	// kept for the next call.
	//
	// A deadline that has passed comes before what waits:
	// [os.ErrDeadlineExceeded]. After Close the error is [net.ErrClosed].
	Next(b []byte) Result

	// SetDeadline sets the time after which Next fails, also the calls that
	// wait. The zero Time is none.
	SetDeadline(t time.Time) error

	// Close ends every Next, after the caller has closed the sources. It drops
	// what was kept. It is called once.
	Close()
}

// New returns a Receiver of the sources. From now on no other goroutine may
// receive from them or set their deadlines. On an error nothing is left open
// but the sources.
func New(sources []Source) (Receiver, error) { return newReceiver(sources) }

// Receive waits for a connection or a datagram of one source. It is for a
// source that is not in a Receiver.
func (s Source) Receive(b []byte) Result {
	switch {
	case s.TCP != nil:
		c, err := s.TCP.AcceptTCP()
		return Result{Conn: c, Err: err}
	case len(b) == 0: // package net on Windows returns at once then, with nothing read
		r := s.Receive(make([]byte, 1))
		r.N = 0
		return r
	case !s.Interface:
		n, from, err := s.UDP.ReadFromUDPAddrPort(b)
		return Result{N: n, From: unmap(from), Err: err}
	}
	var control [sockctl.ControlSize]byte
	n, controlled, _, from, err := s.UDP.ReadMsgUDPAddrPort(b, control[:])
	return Result{N: n, From: unmap(from), Interface: sockctl.DatagramInterface(control[:controlled]), Err: err}
}

func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
