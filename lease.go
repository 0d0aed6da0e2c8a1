package loopback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// GuardPort is the TCP port of the sockets that mark the addresses of a
// [Lease]. A process that holds a TCP socket bound to an address of 127.0.0.0/8
// and this port, without SO_REUSEADDR, has leased that address. The socket never
// listens. This rule is a contract between the versions of this package, and with
// other programs that follow it. The port needs no privilege, and is below the
// ranges that systems use for outgoing connections.
const GuardPort = 9127

// A Lease is a set of loopback addresses that no other lease has, of this or
// any other process of the machine. It comes from [Acquire]; the zero value
// has no addresses. Its methods may be called from several goroutines.
type Lease struct {
	mu     sync.Mutex
	addrs  []netip.Addr
	guards []io.Closer
	closed bool
}

// Acquire leases n different addresses of 127.0.0.0/8, so that a test or a
// cluster on one machine can use any port of them without a race, but for
// GuardPort and those that a program has on every interface. They are outside
// 127.0.0.0/16, which system services use, and do not end in 0 or 255. Acquire
// has made a connection to each before it returns.
//
// A socket bound to the address and [GuardPort] is the lock. Close releases it,
// and so does the end of the process, even by a signal. Child processes do not
// inherit it. Each address needs one descriptor. A lease keeps other leases away,
// but not programs that do not lease. [For] may return a leased address.
//
// If fewer than n addresses are available, nothing is leased, and the error wraps
// [ErrFewAddrs] and says how many there were and why there are no more. macOS and
// the BSDs have 127.0.0.1 alone until others are configured (ifconfig lo0 alias
// 127.1.2.3). Acquire also fails if n is less than 1, if ctx ends, and if there
// are not enough descriptors. On js and wasip1 the error is
// [errors.ErrUnsupported].
func Acquire(ctx context.Context, n int) (*Lease, error) {
	return acquire(ctx, n, roundTrip)
}

// Addrs returns the addresses, in no particular order; none after Close.
func (l *Lease) Addrs() []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.addrs)
}

// Close releases the addresses. The error of a second Close wraps
// [net.ErrClosed].
func (l *Lease) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("loopback: close lease: %w", net.ErrClosed)
	}
	var err error
	for _, g := range l.guards {
		err = cmp.Or(err, g.Close())
	}
	l.addrs, l.guards, l.closed = nil, nil, true
	return err
}

// maxMisses is how many addresses in a row may be leased, absent or broken
// before Acquire gives up. On an ordinary machine nearly all are free, so that a
// long row has one reason.
const maxMisses = 256

// acquire is Acquire with the round trip that an address has to pass.
func acquire(ctx context.Context, n int, prove func(context.Context, netip.Addr) error) (_ *Lease, err error) {
	fail := func(err error) (*Lease, error) {
		return nil, fmt.Errorf("loopback: acquire %d addresses: %w", n, err)
	}
	switch {
	case n < 1:
		return fail(errors.New("n is less than 1"))
	case n > numFree:
		return fail(fmt.Errorf("%w: 127.0.0.0/8 has %d", ErrFewAddrs, numFree))
	}
	l := new(Lease)
	defer func() {
		if err != nil {
			_ = l.Close() // err is the one to report
		}
	}()
	var misses missed
	for addr := range candidates() {
		guard, err := sockctl.Hold(netip.AddrPortFrom(addr, GuardPort))
		miss := misses.add
		if err == nil {
			miss = misses.addUnproved
			if err = prove(ctx, addr); err != nil {
				_ = guard.Close() // err is the one to report
			}
		}
		switch {
		case err == nil:
			l.addrs, l.guards = append(l.addrs, addr), append(l.guards, guard)
			if len(l.addrs) == n {
				return l, nil
			}
			misses.row = 0
			continue
		case sockctl.Ended(ctx) != nil:
			return fail(sockctl.Ended(ctx))
		case errors.Is(err, errors.ErrUnsupported):
			return fail(err)
		case syserr.Exhausted(err):
			return fail(fmt.Errorf("%d available: %w", len(l.addrs), err))
		}
		if miss(err); misses.enough() {
			break
		}
	}
	return fail(fmt.Errorf("%w: %d available; %v", ErrFewAddrs, len(l.addrs), &misses))
}

// candidates yields addresses to lease, in a random order. Where the first of
// them are missing, those of the interfaces may be the only ones there are, and
// come next.
func candidates() iter.Seq[netip.Addr] {
	const first, step = 16, 10_007_081 // the step has no divisor in common with numFree, and so visits each once
	return func(yield func(netip.Addr) bool) {
		n := mathrand.Uint32N(numFree)
		for i := range numFree {
			if i == first && !yieldOwn(yield) {
				return
			}
			n = (n + step) % numFree
			if !yield(freeAddr(n)) {
				return
			}
		}
	}
}

// yieldOwn yields those addresses of the interfaces that may be leased, then the
// rest of their prefixes, which Linux has on the loopback interface. It reports
// whether to go on. Where package net cannot list them, the search goes on
// without.
func yieldOwn(yield func(netip.Addr) bool) bool {
	var prefixes []netip.Prefix
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if n, ok := freeIndex(p.Addr()); ok && !yield(freeAddr(n)) {
			return false
		}
		if p.Bits() > Prefix4().Bits() && Prefix4().Contains(p.Addr()) {
			prefixes = append(prefixes, p)
		}
	}
	for _, p := range prefixes {
		for addr := p.Masked().Addr(); p.Contains(addr); addr = addr.Next() {
			if n, ok := freeIndex(addr); ok && addr != p.Addr() && !yield(freeAddr(n)) {
				return false
			}
		}
	}
	return true
}

// brokenLimit is how many addresses that can be bound may fail the round trip,
// which takes its time, before Acquire gives up.
const brokenLimit = 4

// missed counts the addresses that could not be leased, by reason.
type missed struct {
	row                     int // since the last one that was leased
	inUse, absent, broken   int
	whyAbsent, whyNotProved error
}

// add counts an address whose guard port could not be bound.
func (m *missed) add(err error) {
	if !syserr.InUse(err) {
		m.addUnproved(err)
		return
	}
	m.row++
	m.inUse++
}

// addUnproved counts an address that failed the round trip. A port in use is
// then none of a lease: the system has no other left.
func (m *missed) addUnproved(err error) {
	m.row++
	if syserr.Missing(err) {
		m.absent++
		m.whyAbsent = err
		return
	}
	m.broken++
	m.whyNotProved = err
}

// enough reports whether Acquire gives up.
func (m *missed) enough() bool { return m.row >= maxMisses || m.broken >= brokenLimit }

func (m *missed) String() string {
	var parts []string
	if m.inUse > 0 {
		parts = append(parts, fmt.Sprintf("%d have their guard port %d in use, by a lease or another program", m.inUse, GuardPort))
	}
	if m.absent > 0 {
		parts = append(parts, fmt.Sprintf("%d are not configured on this machine (%v)", m.absent, m.whyAbsent))
	}
	if m.broken > 0 {
		parts = append(parts, fmt.Sprintf("%d carry no connection (%v)", m.broken, m.whyNotProved))
	}
	return "of those tried, " + strings.Join(parts, ", ")
}

// roundTrip proves that addr carries a connection.
func roundTrip(ctx context.Context, addr netip.Addr) error {
	return sockctl.RoundTrip(ctx, addr, func(_, _ *net.TCPConn) error { return nil })
}
