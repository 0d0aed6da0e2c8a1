package loopback

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"example.com/loopback/internal/merge"
	"example.com/loopback/internal/syserr"
)

// Listen announces on loopback addresses of this machine, and on no other
// address. The network is "tcp", "tcp4" or "tcp6". The address is a host and a
// port as for [net.Listen], with one of these hosts:
//
//   - no host, or localhost (see [IsName]), means 127.0.0.1 and ::1 on one port.
//     No resolver is asked. A family that this machine does not have is left
//     out, and [Listener.Bindings] says so. A port in use in either family is an
//     error.
//   - an address for which [Is] is true means that address. A mapped address is
//     its IPv4 address, and a zone is dropped. 127.255.255.255 is refused, as
//     nothing can connect to it.
//
// Every other host and every other network is an error that wraps
// [ErrNotLoopback]. Mind that ":8080" and "" mean every interface in package
// net, and both loopback addresses here.
//
// Every error is a [*net.OpError]. Listen is [ListenConfig.Listen] without
// options.
func Listen(network, address string) (*Listener, error) {
	return new(ListenConfig).Listen(context.Background(), network, address)
}

// Listen announces as the function [Listen] does, with the options of lc. The
// context bounds the call, not the listener.
func (lc *ListenConfig) Listen(ctx context.Context, network, address string) (*Listener, error) {
	l, err := lc.listen(ctx, network, address)
	if err != nil {
		return nil, listenError(network, err)
	}
	return l, nil
}

func (lc *ListenConfig) listen(ctx context.Context, network, address string) (*Listener, error) {
	r, err := lc.parse(ctx, transportTCP, network, address)
	if err != nil {
		return nil, err
	}
	all, err := bindAll(ctx, lc, r, tryTCP,
		func(g gate, at netip.AddrPort) (tcpSock, error) { return listenTCP(ctx, g, at, singlePath(lc.Control)) })
	if err != nil {
		return nil, err
	}
	var l *Listener
	if all.users, err = lc.userCheck(ctx, all.addrPorts()); err == nil {
		l, err = newListener(all, lc.OnReject)
	}
	if err != nil {
		_ = all.close() // the first error is the one to report
		return nil, err
	}
	return l, nil
}

// A Listener accepts TCP connections on one or several loopback addresses as
// if they were one. It comes from Listen or Adopt; the zero value cannot be
// used. Its methods may be called from several goroutines.
//
// A Listener is not one socket, and has no File and no SyscallConn. A library
// that needs them, such as one that restarts a server, takes the sockets of
// [Listener.Files], or makes one for each address with [Require]. Adopt makes one
// Listener of those that it hands on.
type Listener struct {
	all      sockets[tcpSock]
	merged   merge.Receiver // if there are several
	onReject func(error)
	closed   atomic.Bool
}

var _ net.Listener = (*Listener)(nil)

// newListener makes one listener of all. On an error all stays open.
func newListener(all sockets[tcpSock], onReject func(error)) (*Listener, error) {
	l := &Listener{all: all, onReject: onReject}
	if len(all.socks) > 1 {
		sources := make([]merge.Source, len(all.socks))
		for i, s := range all.socks {
			sources[i] = merge.Source{TCP: s.TCPListener}
		}
		var err error
		if l.merged, err = merge.New(sources); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// receive accepts from one of the sockets.
func (l *Listener) receive() merge.Result {
	if l.merged != nil {
		return l.merged.Next(nil)
	}
	return merge.Source{TCP: l.all.socks[0].TCPListener}.Receive(nil)
}

// Accept waits for the next connection that is let in, as
// [Listener.AcceptTCP] does. The connection is a [*net.TCPConn].
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err // not a nil *net.TCPConn in an interface
	}
	return c, nil
}

// AcceptTCP waits for the next connection that is let in. A connection that is
// refused is reset and does not end the wait. Neither does one that failed
// before it was accepted. A lack of descriptors or memory is returned as an
// error whose Temporary is true. After Close the error wraps [net.ErrClosed].
//
// Several goroutines may wait. On Linux a connection is taken from the
// kernel's queue only for a call that returns it. Elsewhere a listener on
// several addresses may take one more from each address than was asked for,
// and keeps it for the next call.
func (l *Listener) AcceptTCP() (*net.TCPConn, error) {
	for {
		r := l.receive()
		switch {
		case r.Err == nil:
			refusal := l.all.socks[r.Source].gate.admitConn(r.Conn)
			if refusal == nil {
				refusal = l.all.users.admit(r.Conn)
			}
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
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.all.addrPorts()[0]) }

// AddrPorts returns the addresses that are bound: 127.0.0.1 before ::1, or in
// the order that was given to Adopt.
func (l *Listener) AddrPorts() []netip.AddrPort { return l.all.addrPorts() }

// Port returns the port of Addr. All addresses have the same port, unless they
// came from Adopt.
func (l *Listener) Port() uint16 { return l.all.addrPorts()[0].Port() }

// URL returns the start of a URL with the given scheme, such as
// "http://127.0.0.1:8080" for "http". It has the address of Addr, which needs no
// resolver, and no final slash.
func (l *Listener) URL(scheme string) string {
	return scheme + "://" + l.all.addrPorts()[0].String()
}

// Bindings returns what was bound and how other machines are kept out, and
// what was to be bound but is not, and why.
func (l *Listener) Bindings() []Binding { return slices.Clone(l.all.bindings) }

// Files returns duplicates of the sockets, in the order of AddrPorts, for
// another process that adopts them: see [ListenConfig.Adopt]. The caller closes
// them. Closing them does not affect the Listener, and closing the Listener
// does not affect them. Connections that wait are accepted by whichever process
// accepts first. On Windows, as in package net, other processes cannot use the
// files, and a call of Accept that waits may make it an error. On js and wasip1 it
// is an error.
func (l *Listener) Files() ([]*os.File, error) {
	files, err := l.all.files()
	if err != nil {
		return nil, l.opError("file", err)
	}
	return files, nil
}

// SetDeadline sets the time after which Accept fails with an error whose
// Timeout is true. The zero Time means no deadline.
func (l *Listener) SetDeadline(t time.Time) error {
	setDeadline := l.all.socks[0].SetDeadline
	if l.merged != nil {
		setDeadline = l.merged.SetDeadline
	}
	if err := setDeadline(t); err != nil {
		return l.opError("set", err)
	}
	return nil
}

// Close stops listening on all addresses. Calls of Accept return, and a
// connection that was not accepted is reset, unless another process has the
// socket too. A second Close is an error that wraps [net.ErrClosed].
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		return l.opError("close", net.ErrClosed)
	}
	err := l.all.close() // first: a receive that waits on one ends
	if l.merged != nil {
		l.merged.Close()
	}
	if err != nil {
		return opError(net.OpError{Op: "close", Net: "tcp", Addr: l.Addr()}, err)
	}
	return nil
}

// opError returns err, which came from some socket or none, as one of l.
func (l *Listener) opError(op string, err error) error {
	if l.closed.Load() {
		err = net.ErrClosed
	}
	return opError(net.OpError{Op: op, Net: "tcp", Addr: l.Addr()}, err)
}
