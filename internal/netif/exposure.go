package netif

import (
	"net/netip"
	"slices"
)

// Exposure says whether routing delivers to an address of this machine what
// arrives on an interface. A packet filter may still refuse it.
type Exposure struct {
	Interface *Interface

	// Asked is false if the kernel was not asked, because the interface is
	// down.
	Asked bool

	// From are those source addresses, of the few asked about, that get in:
	// one of each network behind the interface, one of a network far away,
	// and a forged loopback address.
	From []netip.Addr

	// RouteLocalnet are the names of the kernel parameters route_localnet that
	// are on and hold for this interface. Without any, Linux discards what
	// other machines send to 127.0.0.0/8.
	RouteLocalnet []string
}

// Exposures returns the exposure of the IPv4 address to on each interface that
// is not a loopback one. Packets that arrive at a port of a bridge or a bond
// arrive on the bridge or bond, so ports have no exposure.
//
// Linux is asked for the route that such a packet would take. Other systems
// cannot be asked, and the error says so.
func Exposures(to netip.Addr, all []Interface) ([]Exposure, error) { return exposures(to, all) }

// maxSources bounds the questions asked about one interface.
const maxSources = 32

// sources returns the addresses that a packet may come from on an interface
// with networks behind it. Which of them get in depends on rp_filter, on
// accept_local and on policy routing. No address of this machine, which own
// has, is among those of the networks.
func sources(networks []netip.Prefix, own map[netip.Addr]bool) []netip.Addr {
	var out []netip.Addr
	for _, p := range networks {
		if !p.Addr().Is4() || p.Bits() == 0 || len(out) == maxSources {
			continue
		}
		p = p.Masked()
		a := p.Addr()
		if p.Bits() < 31 {
			a = a.Next() // the first is the network's own address
		}
		for own[a] {
			a = a.Next()
		}
		if p.Contains(a) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return append(out,
		netip.AddrFrom4([4]byte{192, 0, 2, 1}), // far away: RFC 5737
		netip.AddrFrom4([4]byte{127, 0, 0, 2}), // forged
	)
}
