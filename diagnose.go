package loopback

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// A broken machine drops what is sent, and does not say so.
const (
	roundTime   = time.Second             // for a round trip, which takes less than a millisecond
	resolveTime = 1500 * time.Millisecond // for Resolve: DNS servers that do not answer
)

// rangeSamples are spread over 127.0.0.0/8; its last address is broadcast.
func rangeSamples() []netip.Addr {
	return []netip.Addr{
		IPv4(),
		netip.AddrFrom4([4]byte{127, 0, 0, 2}),
		netip.AddrFrom4([4]byte{127, 1, 2, 3}),
		netip.AddrFrom4([4]byte{127, 255, 255, 254}),
	}
}

// Diagnose examines what loopback is on this machine and what is wrong with
// it. It changes nothing, needs no privilege, and takes less than two seconds
// however broken the machine is. It sends nothing to other machines but the
// queries of [Resolve], and local traffic where policy routing sends that out.
//
// On Linux it asks the kernel whether routing lets other machines in to
// 127.0.0.1. No other system can be asked, and [Report.Wire] is nil there. The
// answer is about IPv4: Linux discards what other machines send to ::1 before
// routing (RFC 4291, section 2.5.3). A packet filter that redirects to ::1,
// together with a local route of ::1 on that interface, is not seen.
//
// The error is that of ctx, if it ends before the report is complete. What is
// wrong with the machine is in the report.
func Diagnose(ctx context.Context) (*Report, error) {
	r := &Report{
		IPv4:   FamilyReport{Addr: IPv4()},
		IPv6:   FamilyReport{Addr: IPv6()},
		Absent: []Absence{},
	}
	for _, addr := range rangeSamples() {
		r.Range = append(r.Range, RangeSample{Addr: addr})
	}
	both := []*FamilyReport{&r.IPv4, &r.IPv6}
	tcp, udp, samples := make([]round, len(both)), make([]round, len(both)), make([]round, len(r.Range))

	var wg sync.WaitGroup
	bounded, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	for i, f := range both {
		wg.Go(func() { tcp[i] = makeRound(bounded, f.Addr, transportTCP) })
		wg.Go(func() { udp[i] = makeRound(bounded, f.Addr, transportUDP) })
	}
	for i, s := range r.Range {
		wg.Go(func() { samples[i] = makeRound(bounded, s.Addr, transportTCP) })
	}
	var resolveErr error
	wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, resolveTime)
		defer cancel()
		r.Localhost, resolveErr = Resolve(ctx, "localhost")
	})
	m := r.examine()
	wg.Wait()
	if err := sockctl.Ended(ctx); err != nil {
		return nil, fmt.Errorf("loopback: diagnose: %w", err)
	}
	if resolveErr != nil {
		r.absent("localhost", resolveErr)
	}
	var auditErr error
	if r.Exposed, auditErr = Exposed(); auditErr != nil { // after the round trips, whose sockets are closed
		r.absent("exposed", auditErr)
	}
	for i := range r.Range {
		r.Range[i].Bind, r.Range[i].Connect = samples[i].bind, samples[i].trip
		m.absent[r.Range[i].Addr] = samples[i].absent
	}
	for i, f := range both {
		r.measured(&m, f, tcp[i], udp[i])
	}
	r.judge(m)
	return r, nil
}

// measured fills in what the round trips of a family say.
func (r *Report) measured(m *machine, f *FamilyReport, tcp, udp round) {
	f.Bind, f.TCP, f.UDP = tcp.bind, tcp.trip, udp.trip
	if udp.bind.Err != nil {
		f.UDP = udp.bind
	}
	f.TCPBy, f.TCPFrom = tcp.by, tcp.from(f.Addr)
	f.UDPBy, f.UDPFrom = udp.by, udp.from(f.Addr)
	m.compare("TCP", tcp)
	m.compare("UDP", udp)
	m.absent[f.Addr] = tcp.absent
	lo := r.loopbackInterface()
	m.loopback = lo.Name
	nonlocal := ""
	switch {
	case f.Bind.Err != nil:
		f.Cause, m.mend[f.Addr] = whyAbsent(f.Addr, f.Bind.Err, lo)
	case tcp.absent:
		f.Cause, m.mend[f.Addr] = howToAdd(f.Addr, lo)
		nonlocal = netif.NonlocalBind(f.Addr)
	default:
		return
	}
	switch {
	case f.Cause != "" || !r.configured(f.Addr) || f.Bind.Err != nil && !syserr.Missing(f.Bind.Err):
	case f.Bind.Err == nil && f.Addr.Is4() && nonlocal == "": // it has its local route, or could not be bound
		m.mend[f.Addr] = "look for the routing rule that keeps it from table local: ip rule"
	default:
		m.mend[f.Addr] = cmp.Or(localRouteCommand(f.Addr, lo.Name), m.mend[f.Addr])
	}
	if nonlocal != "" {
		f.Cause = then(nonlocal+"=1", f.Cause)
	}
}

// compare notes whether a packet filter rewrote the source of a round trip. An
// address that the kernel did not tell says nothing.
func (m *machine) compare(name string, done round) {
	if done.seen != done.has && done.has.IsValid() && done.seen.IsValid() {
		m.rewritten = append(m.rewritten, rewriting{transport: name, has: done.has, seen: done.seen})
	}
}

// configured reports whether a loopback interface has the address.
func (r *Report) configured(addr netip.Addr) bool {
	return slices.ContainsFunc(r.Interfaces, func(i InterfaceReport) bool {
		return slices.ContainsFunc(i.Addrs, func(a PlacedAddr) bool { return a.Addr.Addr() == addr })
	})
}

// loopbackInterface returns the name and the MTU of the loopback interface, or
// the usual ones if it is not known.
func (r *Report) loopbackInterface() net.Interface {
	if len(r.Interfaces) == 0 {
		return loopInterface()
	}
	return net.Interface{Name: r.Interfaces[0].Name, MTU: r.Interfaces[0].MTU}
}

func (r *Report) absent(part string, reason error) {
	r.Absent = append(r.Absent, Absence{Part: part, Reason: reason.Error()})
}

// examine fills in what interfaces and routing say.
func (r *Report) examine() machine {
	m := machine{absent: make(map[netip.Addr]bool), mend: make(map[netip.Addr]string)}
	all, err := netif.All()
	if err != nil {
		r.absent("interfaces", err)
		r.absent("misplaced", err)
		r.absent("wire", err)
		return m
	}
	r.Interfaces, r.Misplaced = []InterfaceReport{}, []PlacedAddr{}
	for _, i := range all {
		lo := i.IsLoopback()
		m.loTaken = m.loTaken || i.Name == "lo" && !lo
		placed := []PlacedAddr{}
		for _, p := range i.Addrs {
			a := PlacedAddr{Interface: i.Name, Addr: p, Kind: KindOf(p.Addr())}
			placed = append(placed, a)
			// BSDs give an IPv6 link-local address to their loopback interfaces.
			if lo != Is(p.Addr()) && !(lo && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()) {
				r.Misplaced = append(r.Misplaced, a)
			}
		}
		if lo {
			r.Interfaces = append(r.Interfaces, InterfaceReport{Name: i.Name, Index: i.Index, Up: i.IsUp(), MTU: i.MTU, Addrs: placed})
		}
	}
	exposures, err := netif.Exposures(IPv4(), all)
	if err != nil {
		r.absent("wire", err)
		return m
	}
	r.Wire = []WireReport{}
	for _, e := range exposures {
		r.Wire = append(r.Wire, wireReport(e))
	}
	return m
}

// wireReport returns the report of an exposure.
func wireReport(e netif.Exposure) WireReport {
	w := WireReport{
		Interface:     e.Interface.Name,
		Index:         e.Interface.Index,
		Up:            e.Interface.IsUp(),
		From:          e.From,
		RouteLocalnet: e.RouteLocalnet,
	}
	if e.Asked {
		exposed := len(e.From) > 0
		w.Exposed = &exposed
	}
	return w
}

// A round is how one round trip to an address through a temporary socket ended.
type round struct {
	passage
	bind, trip Outcome
	absent     bool   // this machine does not have the address, though it can be bound
	by         string // the interface by which it leaves, unless that is a loopback one
}

// makeRound binds a temporary socket to addr and sends something through it. It
// sends nothing where that would leave this machine for good.
func makeRound(ctx context.Context, addr netip.Addr, t transport) round {
	send, protocol := trial(tryTCP), netif.TCP
	if t == transportUDP {
		send, protocol = tryUDP, netif.UDP
	}
	var done round
	if err := sockctl.CanConnect(addr); err != nil {
		if local, localErr := netif.IsLocal(addr); localErr == nil && !local {
			if _, done.bind.Err = sockctl.BindOnly(ctx, addr); done.bind.Err == nil {
				done.trip, done.absent = Outcome{Tried: true, Err: err}, true
			}
			done.bind.Tried = true
			return done
		}
	}
	var err error
	done.passage, err = send(ctx, gate{ingress: IngressAny, addr: addr, temporary: true})
	if !done.bound {
		done.bind = Outcome{Tried: true, Err: err}
		return done
	}
	done.bind, done.trip = Outcome{Tried: true}, Outcome{Tried: true, Err: err}
	if name, err := netif.OutgoingInterface(addr, protocol); err == nil { // or it is not known
		if lo, err := netif.FindLoopback(); err == nil && name != lo.Name {
			done.by = name
		}
	}
	return done
}

// from returns the address that the server saw, if that is not addr.
func (r round) from(addr netip.Addr) netip.Addr {
	if seen := r.seen.Addr(); seen != addr {
		return seen
	}
	return netip.Addr{}
}
