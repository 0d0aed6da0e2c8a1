package loopback

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"example.com/loopback/internal/netif"
)

// A broken machine drops what is sent, and does not say so.
const (
	tripTime    = time.Second             // for a round trip, which takes less than a millisecond
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
// it. It changes nothing, needs no privilege, sends nothing to other machines
// but the queries of [Resolve], and takes less than two seconds however broken
// the machine is.
//
// On Linux it asks the kernel whether routing lets other machines in to
// 127.0.0.1; no other system can be asked, and [Report.Wire] is nil there.
// Linux answers for IPv4: what comes over the wire for ::1 it discards before
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

	var wg sync.WaitGroup
	trip, cancel := context.WithTimeout(ctx, tripTime)
	defer cancel()
	for _, f := range []*FamilyReport{&r.IPv4, &r.IPv6} {
		wg.Go(func() { f.Bind, f.TCP = try(trip, f.Addr, tryTCP) })
		wg.Go(func() {
			var arrived Outcome
			if f.UDP, arrived = try(trip, f.Addr, tryUDP); f.UDP.OK() {
				f.UDP = arrived
			}
		})
	}
	for i := range r.Range {
		s := &r.Range[i]
		wg.Go(func() { s.Bind, s.Connect = try(trip, s.Addr, tryTCP) })
	}
	var resolveErr error
	wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, resolveTime)
		defer cancel()
		r.Localhost, resolveErr = Resolve(ctx, "localhost")
	})
	r.examine()
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("loopback: diagnose: %w", err)
	}
	if resolveErr != nil {
		r.absent("localhost", resolveErr)
	}
	for _, f := range []*FamilyReport{&r.IPv4, &r.IPv6} {
		if f.Bind.Err != nil {
			f.Cause, f.fix = whyAbsent(f.Addr, f.Bind.Err, r.lo())
		}
	}
	r.conclude()
	return r, nil
}

func (r *Report) absent(part string, reason error) {
	r.Absent = append(r.Absent, Absence{Part: part, Reason: reason.Error()})
}

// examine fills in what interfaces and routing say.
func (r *Report) examine() {
	all, err := netif.All()
	if err != nil {
		r.absent("interfaces", err)
		r.absent("misplaced", err)
		r.absent("wire", err)
		return
	}
	r.Interfaces, r.Misplaced = []InterfaceReport{}, []PlacedAddr{}
	for _, i := range all {
		lo := i.IsLoopback()
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
		return
	}
	r.Wire = []WireReport{}
	for _, e := range exposures {
		r.Wire = append(r.Wire, wireReport(e))
	}
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

// try binds a temporary socket to addr and sends something through it.
func try(ctx context.Context, addr netip.Addr, t trial) (bind, trip Outcome) {
	bound, err := t(ctx, gate{ingress: IngressAny, addr: addr, temporary: true})
	if !bound {
		return Outcome{Tried: true, Err: err}, Outcome{}
	}
	return Outcome{Tried: true}, Outcome{Tried: true, Err: err}
}
