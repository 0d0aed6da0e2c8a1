package loopback

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// lookups are the answers of a resolver of package net for one name.
type lookups struct {
	all, v4, v6 lookup
	repeats     bool   // all has had an address twice
	server      string // the first DNS server that package net itself asked; "" if it asked none
	answerer    string // the first server that answered it with records
}

// A lookup is the answer for both families, or for one.
type lookup struct {
	addrs []netip.Addr // unmapped
	err   error
}

// lookupAll makes the lookup of net.Dial and net.Listen, and that of each family,
// all at once. With dnsFirst it asks the DNS servers once more where the C library
// asked them: that one does not say which it asked.
func lookupAll(ctx context.Context, r *net.Resolver, name string, dnsFirst bool) (l lookups) {
	w := serverWatch{dial: r.Dial}
	if w.dial == nil {
		w.dial = new(net.Dialer).DialContext
	}
	watched := &net.Resolver{PreferGo: r.PreferGo, StrictErrors: r.StrictErrors, Dial: w.dialContext}
	var wg sync.WaitGroup
	wg.Go(func() {
		ips, err := watched.LookupIPAddr(ctx, name)
		for _, ip := range ips {
			if addr, ok := netip.AddrFromSlice(ip.IP); ok {
				l.all.addrs = append(l.all.addrs, addr.Unmap().WithZone(ip.Zone))
			}
		}
		n := len(l.all.addrs)
		l.all.addrs, l.all.err = distinct(l.all.addrs), err
		l.repeats = len(l.all.addrs) < n
	})
	wg.Go(func() { l.v4.addrs, l.v4.err = watched.LookupNetIP(ctx, "ip4", name) })
	wg.Go(func() { l.v6.addrs, l.v6.err = watched.LookupNetIP(ctx, "ip6", name) })
	wg.Wait()
	if s := w.server.Load(); s != nil {
		l.server = *s
	} else if dnsFirst {
		asking := &net.Resolver{PreferGo: true, Dial: w.dialContext}
		_, _ = asking.LookupIPAddr(ctx, name) // w sees the server
	}
	if s := w.answerer.Load(); s != nil {
		l.answerer = *s
	}
	return l
}

// found returns the answer that net.Dial gets. If there is none, it returns what
// the lookups of the families got.
func (l *lookups) found() []netip.Addr {
	if l.all.err == nil {
		return l.all.addrs
	}
	return distinct(append(l.v6.addrs, l.v4.addrs...))
}

// failed returns the error of a lookup that says nothing about the name: the
// resolver failed or gave no answer in time.
func (l *lookups) failed() error {
	for _, err := range []error{l.all.err, l.v4.err, l.v6.err} {
		dns, ok := errors.AsType[*net.DNSError](err)
		switch {
		case err == nil || ok && dns.IsNotFound:
		case ok && (dns.IsTimeout || dns.IsTemporary):
			return err
		case err == l.all.err:
			return err // not a family that the name lacks
		}
	}
	return nil
}

// distinct unmaps addrs in place and drops all but the first of equal ones.
func distinct(addrs []netip.Addr) []netip.Addr {
	out := addrs[:0]
	for _, addr := range addrs {
		if addr = addr.Unmap(); !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}

// A serverWatch notes the DNS servers that package net asks. Package net dials
// only when it asks servers itself: the C library and the hosts file need no dial.
type serverWatch struct {
	dial             func(ctx context.Context, network, address string) (net.Conn, error)
	server, answerer atomic.Pointer[string]
}

func (w *serverWatch) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	w.server.CompareAndSwap(nil, &address)
	conn, err := w.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	watched := serverConn{Conn: conn, answered: func() { w.answerer.CompareAndSwap(nil, &address) }}
	if packets, ok := conn.(net.PacketConn); ok { // by which package net tells UDP
		return struct {
			serverConn
			net.PacketConn
		}{watched, packets}, nil
	}
	return watched, nil
}

// A serverConn is a connection to a DNS server. It calls answered when the server
// returns records.
type serverConn struct {
	net.Conn
	answered func()
}

func (c serverConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	// RFC 1035, section 4.1.1: QR, RCODE and ANCOUNT.
	if n >= 12 && b[2]&0x80 != 0 && b[3]&0x0f == 0 && b[6]|b[7] != 0 {
		c.answered()
	}
	return n, err
}
