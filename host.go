package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"example.com/loopback/internal/hosttext"
)

// IsName reports whether name is a name for loopback by RFC 6761, section
// 6.3: localhost or a name below it, in any mix of ASCII case, with or without
// one final dot.
//
// Each label must be one that package net accepts. It has 1 to 63 letters,
// digits, hyphens and underscores, and no hyphen at either end. The name has at
// most 253 bytes besides the final dot. So "*.localhost", "a..localhost" and
// names that are not ASCII are false.
//
// IsName does not say what this machine makes of the name. Go and the C
// library ask the hosts file and DNS; [Resolve] reports what they find.
func IsName(name string) bool {
	return hosttext.EndsLikeLocalhost(name) && hosttext.IsLocalhost(name)
}

// IsHost reports whether host is loopback: an address that [netip.ParseAddr]
// reads and [Is] accepts, or a name that [IsName] accepts. An IPv6 address may
// have a zone, which does not matter. Brackets and ports are not accepted, and
// an empty host is false.
//
// All other spellings of an address are false, such as "127.1" and
// "0x7f.0.0.1", which some programs read as 127.0.0.1. [Explain] says which.
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

// IsHostHeader reports whether value, an HTTP Host header or the :authority of
// HTTP/2, names loopback. It must have the form uri-host [":" *DIGIT] of RFC
// 9110, section 7.2, and [IsHost] must accept the host.
//
// An IPv6 address is in brackets and has no zone, and nothing else is in
// brackets. The port may be empty, and no number is too large for it. An empty
// value is false.
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

// splitHostPort is [net.SplitHostPort] with the input quoted in the error.
func splitHostPort(address string) (host, service string, err error) {
	host, service, err = net.SplitHostPort(address)
	if a, ok := errors.AsType[*net.AddrError](err); ok {
		err = &net.AddrError{Err: strings.TrimSuffix(a.Err, " in address"), Addr: quote(address)}
	}
	return host, service, err
}

// lookupPort is [net.Resolver.LookupPort], which asks no DNS, with the input
// quoted in the error.
func lookupPort(ctx context.Context, network, service string) (uint16, error) {
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	switch e := err.(type) {
	case *net.AddrError:
		err = &net.AddrError{Err: e.Err, Addr: quote(service)}
	case *net.DNSError:
		unknown := *e
		unknown.Name = quote(e.Name)
		err = &unknown
	}
	return uint16(port), err
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
