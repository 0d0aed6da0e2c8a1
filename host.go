package loopback

import (
	"fmt"
	"net/netip"
	"strings"

	"example.com/loopback/internal/hosttext"
)

// IsName reports whether name is a name for loopback by RFC 6761, section
// 6.3: localhost, or a name below it, in any mix of ASCII case, with or
// without one final dot.
//
// The labels have to be what package net takes for a host name: letters,
// digits, hyphens and underscores, no hyphen at either end, at most 63 bytes
// each, and at most 253 bytes in all. So "*.localhost" and "a..localhost" are
// not names, and neither is anything that is not ASCII.
//
// What this machine makes of such a name is another question: Go and the C
// library ask the hosts file and DNS.
func IsName(name string) bool {
	return hosttext.EndsLikeLocalhost(name) && hosttext.IsLocalhost(name)
}

// IsHost reports whether host is loopback: an address that [netip.ParseAddr]
// reads and [Is] accepts, or a name that [IsName] accepts. There are no
// brackets and no port in it; an IPv6 address may have a zone, which does not
// matter.
//
// Every other way to write an address, "127.1" or "0x7f.0.0.1", is false
// here, although some programs read it as 127.0.0.1: see [Explain].
func IsHost(host string) bool {
	if host == "" {
		return false
	}
	switch host[0] {
	case '1':
		if hosttext.Loopback4(host) {
			return true
		}
	case '0', ':':
		if addr, zone, zoned := strings.Cut(host[:min(len(host), hosttext.MaxAddr6+2)], "%"); zoned {
			return zone != "" && hosttext.Loopback6(addr)
		}
		if hosttext.Loopback6(host) {
			return true
		}
	}
	return hosttext.EndsLikeLocalhost(host) && hosttext.IsLocalhost(host)
}

// IsHostHeader reports whether value, the value of an HTTP Host header or of
// the :authority of HTTP/2, names loopback: uri-host [":" *DIGIT], as in RFC
// 9110, section 7.2, where the host is an IPv4 address, an IPv6 address in
// brackets, or a name, and [IsHost] accepts it.
//
// Brackets are for IPv6 only, and an address in them has no zone. The port
// may be any row of digits, and empty: it is not compared with anything, and
// no number is too large. An empty value is false.
func IsHostHeader(value string) bool {
	host := value
	i := len(value)
	for i > 0 && value[i-1]-'0' <= 9 {
		i--
	}
	if i > 0 && value[i-1] == ':' {
		host = value[:i-1]
	}
	if host == "" {
		return false
	}
	switch last := len(host) - 1; host[0] {
	case '[':
		// Only zeros can lead to an address that is loopback.
		return host[last] == ']' && (host[1] == ':' || host[1] == '0') && hosttext.Loopback6(host[1:last])
	case '1':
		if hosttext.Loopback4(host) {
			return true
		}
	}
	return hosttext.EndsLikeLocalhost(host) && hosttext.IsLocalhost(host)
}

// loopbackAddrs returns the addresses that a host stands for in a network: one,
// or 127.0.0.1 and ::1.
func loopbackAddrs(network, host string) ([]netip.Addr, error) {
	only4, only6 := strings.HasSuffix(network, "4"), strings.HasSuffix(network, "6")
	refuse := func(why string) ([]netip.Addr, error) { return nil, fmt.Errorf("%w: %s", ErrNotLoopback, why) }
	if host == "" || IsName(host) {
		switch {
		case only4:
			return []netip.Addr{IPv4()}, nil
		case only6:
			return []netip.Addr{IPv6()}, nil
		}
		return []netip.Addr{IPv4(), IPv6()}, nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return refuse("the host is neither a loopback address nor localhost")
	}
	unmapped := addr.Unmap().WithZone("")
	switch {
	case KindOf(addr) == KindUnspecified:
		return refuse("the address means every interface")
	case !Is(addr):
		return refuse("the address is outside 127.0.0.0/8 and not ::1")
	case unmapped == broadcast4:
		return refuse("nothing can connect to the broadcast address")
	case only6 && unmapped.Is4(), only4 && unmapped.Is6():
		return refuse("the address is not one of " + network)
	}
	return []netip.Addr{unmapped}, nil
}

// broadcast4 can be bound, but TCP cannot connect to it.
var broadcast4 = netip.AddrFrom4([4]byte{127, 255, 255, 255})
