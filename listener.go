package loopback

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"example.com/loopback/internal/merge"
	"example.com/loopback/internal/syserr"
)

// A Listener accepts TCP connections on one or several loopback addresses as
// if they were one. It comes from Listen or Adopt; the zero value is of no use.
// Its methods may be called from several goroutines.
type Listener struct {
	socks    []tcpSock
	bindings []Binding
	merged   *merge.Receiver // if there are several
	onReject func(error)
	closed   atomic.Bool
}

// newListener makes one listener of socks, and nothing on an error.
func newListener(socks []tcpSock, bindings []Binding, onReject func(error)) (*Listener, error) {
	l := &Listener{socks: socks, bindings: bindings, onReject: onReject}
	if len(socks) > 1 {
		conns := make([]merge.Source, len(socks))
		for i, s := range socks {
			conns[i] = merge.Source{Conn: s, SetReadDeadline: s.SetDeadline}
		}
		var err error
		if l.merged, err = merge.New(conns, l.receive, 0); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// receive accepts from one socket.
func (l *Listener) receive(i int, _ []byte) merge.Result {
	c, err := l.socks[i].AcceptTCP()
	return merge.Result{Source: i, Conn: c, Err: err}
}

// Accept waits for the next connection that is let in; it is a [*net.TCPConn].
// See [Listener.AcceptTCP].
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err // not a nil *net.TCPConn in an interface
	}
	return c, nil
}

// AcceptTCP waits for the next connection that is let in. One that is refused
// is reset, and does not end the wait; neither does a connection that failed
// before it was accepted. A lack of descriptors or memory is returned, with
// Temporary true; after Close it is an error that wraps [net.ErrClosed].
//
// Several goroutines may wait. On Linux a connection is taken from the
// kernel's queue only for a call that returns it. Elsewhere a listener on
// several addresses may take one more from each address than was asked for,
// keeping it for the next call.
func (l *Listener) AcceptTCP() (*net.TCPConn, error) {
	for {
		var r merge.Result
		if l.merged != nil {
			r = l.merged.Next(nil)
		} else {
			r = l.receive(0, nil)
		}
		switch {
		case r.Err == nil:
			refusal := l.socks[r.Source].gate.admitConn(r.Conn)
			if refusal == nil {
				return r.Conn, nil
			}
			l.reject(r.Conn, refusal)
		case syserr.Exhausted(r.Err):
			return nil, l.opError("accept", syserr.Temporary(r.Err))
		case !syserr.ConnectionFailed(r.Err):
			return nil, l.opError("accept", r.Err)
		}
	}
}

// reject resets a connection that is not let in.
func (l *Listener) reject(c *net.TCPConn, refusal error) {
	c.SetLinger(0)
	c.Close()
	if l.onReject != nil {
		l.onReject(&net.OpError{Op: "accept", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: refusal})
	}
}

// Addr returns the first of AddrPorts, a [*net.TCPAddr].
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.socks[0].addrPort()) } // not a mapped one

// AddrPorts returns what is bound: 127.0.0.1 before ::1, or in the order that
// was given to Adopt.
func (l *Listener) AddrPorts() []netip.AddrPort { return boundTo(l.bindings) }

// Port returns the port of Addr; all sockets of a listener have it, unless
// they came from Adopt.
func (l *Listener) Port() uint16 { return boundTo(l.bindings)[0].Port() }

// URL returns the address as the start of a URL, "http://127.0.0.1:8080" for
// the scheme "http". It has the address of Addr, which needs no resolver, and
// no final slash.
func (l *Listener) URL(scheme string) string {
	return scheme + "://" + boundTo(l.bindings)[0].String()
}

// Bindings returns what was bound and how the wire is kept out, and what was
// to be bound but is not, and why.
func (l *Listener) Bindings() []Binding { return slices.Clone(l.bindings) }

// SetDeadline sets the time after which Accept fails with an error whose
// Timeout is true; the zero Time is none.
func (l *Listener) SetDeadline(t time.Time) error {
	setDeadline := l.socks[0].SetDeadline
	if l.merged != nil {
		setDeadline = l.merged.SetDeadline
	}
	if err := setDeadline(t); err != nil {
		return l.opError("set", err)
	}
	return nil
}

// Close stops listening on all addresses. Calls of Accept return; a
// connection not yet accepted is reset. A second Close is an error that wraps
// [net.ErrClosed].
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		return l.opError("close", net.ErrClosed)
	}
	err := closeAll(l.socks) // first: a receive that waits on one ends
	if l.merged != nil {
		l.merged.Close()
	}
	return err
}

// opError gives err, which came from some socket or none, the form it has in
// package net.
func (l *Listener) opError(op string, err error) error {
	if l.closed.Load() {
		err = net.ErrClosed
	}
	if _, ok := err.(*net.OpError); ok {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: l.Addr(), Err: err}
}
