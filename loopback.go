// Package loopback answers what a Go program has to know about loopback: which
// addresses and texts mean this machine, what "localhost" is here and where
// IPv4 and IPv6 disagree about it, and how to listen so that no other
// machine can connect.
//
// # What this package is for
//
//   - Is an address, a text or a Host header loopback? [Is], [IsNetAddr],
//     [IsHost], [IsName], [IsHostHeader]; [KindOf] tells in which way.
//   - Where does a connection to a text lead, and who reads it differently?
//     [Explain].
//   - What is "localhost" on this machine? [Resolve]. Its addresses without a
//     query: [LookupNetIP].
//   - What answers on a port of localhost? [Probe].
//   - Listen for this machine only: [Listen], [ListenPacket], and
//     [ListenConfig] for one user, both families or inherited sockets.
//   - Keep a listener or a dialer of package net on loopback: [Require]. Is a
//     socket on loopback, and nowhere else? [Verify].
//   - Connect to loopback and nothing else: [DialContext].
//   - Keep a client off this machine (SSRF): [Forbid], [ForbidSelf]. Is an
//     address one of this machine's own? [IsSelf].
//   - Which user is at the other end of a connection? [PeerUID].
//   - Which sockets of this process can other machines reach? [Exposed],
//     [Sockets].
//   - An address of 127.0.0.0/8 for a service: [For]. Addresses that no other
//     process takes: [Acquire]. The whole range: [Range], [Set], [Addrs],
//     [AddrAt], [Index], [Prefix4], [Prefix6]; the usual addresses: [IPv4],
//     [IPv6].
//   - What is wrong with loopback on this machine? [Diagnose].
//   - Protect an HTTP server from DNS rebinding and from other sites: package
//     [example.com/loopback/loopbackhttp].
//   - Test a service, or a check, dialer or listener of one's own: package
//     [example.com/loopback/loopbacktest].
//
// # Listening
//
// Listen takes the place of net.Listen. Beware of one difference: the address
// ":8080" means both loopback addresses, 127.0.0.1 and ::1, in this package,
// and EVERY interface of the machine in package net. So do "localhost:8080"
// (package net binds one address, whichever the hosts file or DNS names) and
// "" (a port of the kernel's choice). Anything that is not loopback is refused
// before a socket exists, with an error that wraps [ErrNotLoopback].
//
// # What loopback is
//
// 127.0.0.0/8 (RFC 1122, section 3.2.1.3), ::1 (RFC 4291, section 2.5.3), and
// 127.0.0.0/8 written as an IPv4-mapped IPv6 address. Zones do not matter.
// The name localhost, and any name below it, is loopback by RFC 6761, section
// 6.3; what a machine really makes of the name is another question.
//
// # What loopback is not
//
// A boundary against other machines is not authentication: every process of
// this machine, of whatever user, and every web page in a local browser can
// connect to a loopback port.
package loopback

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"

	"example.com/loopback/internal/enum"
)

// Is reports whether addr is a loopback address: in 127.0.0.0/8, ::1, or
// 127.0.0.0/8 as an IPv4-mapped IPv6 address, with or without a zone.
// It is false for the zero Addr.
func Is(addr netip.Addr) bool { return addr.IsLoopback() }

// IsNetAddr reports whether addr is the address of a loopback socket or
// interface: a [*net.TCPAddr], [*net.UDPAddr], [*net.IPAddr] or [*net.IPNet]
// (the address counts, not the mask), or any other type whose String is an
// address, an address with a port, or an address with a prefix length, that
// [Is] accepts. It is false for nil, and for a unix socket whatever its name.
func IsNetAddr(addr net.Addr) bool {
	switch a := addr.(type) {
	case nil:
		return false
	case *net.TCPAddr:
		return Is(a.AddrPort().Addr())
	case *net.UDPAddr:
		return Is(a.AddrPort().Addr())
	case *net.IPAddr:
		return a != nil && a.IP.IsLoopback()
	case *net.IPNet:
		return a != nil && a.IP.IsLoopback()
	case *net.UnixAddr:
		return false
	}
	if strings.HasPrefix(addr.Network(), "unix") {
		return false
	}
	s := addr.String()
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return Is(ap.Addr())
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return Is(p.Addr())
	}
	ip, err := netip.ParseAddr(s)
	return err == nil && Is(ip)
}

// IPv4 returns the IPv4 loopback address in common use, 127.0.0.1.
func IPv4() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// IPv6 returns the IPv6 loopback address, ::1.
func IPv6() netip.Addr { return netip.IPv6Loopback() }

// Kind says in which way, if any, an address has to do with this machine.
// The zero value is KindNone.
type Kind uint8

const (
	KindNone        Kind = iota // nothing to do with loopback
	KindIPv4                    // in 127.0.0.0/8
	KindIPv6                    // ::1
	KindMapped                  // 127.0.0.0/8 as an IPv4-mapped address, ::ffff:127.0.0.1
	KindUnspecified             // 0.0.0.0, ::, ::ffff:0.0.0.0: dialled, this machine; bound, every interface
	KindEmbedded                // 127.0.0.0/8 or 0.0.0.0 inside the address of a transition mechanism
)

// IsLoopback reports whether an address of this kind is a loopback address:
// whether [Is] is true for it.
func (k Kind) IsLoopback() bool {
	return k == KindIPv4 || k == KindIPv6 || k == KindMapped
}

var kindNames = []string{
	KindNone: "none", KindIPv4: "IPv4", KindIPv6: "IPv6", KindMapped: "mapped",
	KindUnspecified: "unspecified", KindEmbedded: "embedded",
}

// String returns the name of the kind: none, IPv4, IPv6, mapped, unspecified
// or embedded.
func (k Kind) String() string { return enum.Text(k, "Kind", kindNames) }

// MarshalText returns the String of the kind. The error is always nil.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText sets the kind to the one that text names. Any other text is an
// error, and the kind stays as it is.
func (k *Kind) UnmarshalText(text []byte) error { return enum.Parse(k, text, "Kind", kindNames) }

// KindOf returns the kind of addr, whatever its zone. It is KindNone for the
// zero Addr.
//
// KindEmbedded is decided by the bits alone. An ordinary machine routes such
// an address out to the network; it reaches this machine where a translator or
// a tunnel endpoint runs here, or brings the packet back.
func KindOf(addr netip.Addr) Kind {
	v4 := addr.Unmap()
	switch {
	case !addr.IsValid():
		return KindNone
	case addr.IsLoopback():
		switch {
		case addr.Is4():
			return KindIPv4
		case addr.Is4In6():
			return KindMapped
		}
		return KindIPv6
	case v4.WithZone("").IsUnspecified():
		return KindUnspecified
	case v4.Is4():
		return KindNone
	case embeds(addr.As16()):
		return KindEmbedded
	}
	return KindNone
}

// embeds reports whether a, which is neither IPv4-mapped nor :: nor ::1, is an
// address of a transition mechanism that carries 127.0.0.0/8 or 0.0.0.0.
func embeds(a [16]byte) bool {
	hi := be64(a[:8])
	switch {
	case hi == 0 && be32(a[8:]) == 0: // IPv4-compatible, ::/96: RFC 4291, 2.5.5.1
		return a[12] == 127 // 0.0.0.0 would be :: itself, and ::1 is taken
	case hi == 0 && be32(a[8:]) == 0xffff0000: // IPv4-translated, ::ffff:0:0:0/96: RFC 2765, 2.1
		return local4(be32(a[12:]))
	case hi == 0x0064ff9b<<32 && be32(a[8:]) == 0: // NAT64 well-known prefix, 64:ff9b::/96: RFC 6052, 2.1
		return local4(be32(a[12:]))
	case hi>>16 == 0x0064ff9b0001: // NAT64 local use, 64:ff9b:1::/48: RFC 8215
		// Where the IPv4 address begins depends on the prefix length of the
		// deployment, 48, 56, 64 or 96: RFC 6052, 2.2. Were a zero found in
		// any of these places taken for 0.0.0.0, every client behind such a
		// NAT64 would be local.
		return a[6] == 127 || a[7] == 127 || a[9] == 127 || a[12] == 127 ||
			hi&0xffff == 0 && be64(a[8:]) == 0
	case hi>>48 == 0x2002 && local4(be32(a[2:])): // 6to4, 2002::/16: RFC 3056, 2
		return true
	case hi>>32 == 0x20010000 && // Teredo, 2001::/32: RFC 4380, 4
		(local4(be32(a[4:])) || local4(^be32(a[12:]))): // server; client, inverted
		return true
	}
	// ISATAP, an interface identifier under any prefix; the bit 0x02 tells
	// whether the IPv4 address is globally unique: RFC 5214, 6.1.
	return be32(a[8:])&^0x02000000 == 0x00005efe && local4(be32(a[12:]))
}

// local4 reports whether the IPv4 address v is in 127.0.0.0/8 or is 0.0.0.0.
func local4(v uint32) bool { return v>>24 == 127 || v == 0 }

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
