package netif

import (
	"net"
	"net/netip"
	"strings"
)

// Parameter returns the name of a kernel parameter of an interface, as sysctl
// of Linux has it: "net.ipv4.conf.lo.route_localnet". A dot in the name of the
// interface is written as a slash.
func Parameter(family, iface, key string) string {
	return "net." + family + ".conf." + strings.ReplaceAll(iface, ".", "/") + "." + key
}

// NonZero returns the name of a kernel parameter that is not 0, and nothing of
// one that is 0 or cannot be read.
func NonZero(family, iface, key string) []string { return nonZero(family, iface, key) }

// IPv6Off returns what keeps ::1 off the loopback interface lo, and the
// command that mends it. Both are empty where the reason is not known.
func IPv6Off(lo net.Interface) (cause, fix string) { return ipv6Off(lo) }

// NonlocalBind returns the name of the kernel parameter that lets sockets be
// bound to addresses of the family of addr that this machine does not have; ""
// if it is off or cannot be read.
func NonlocalBind(addr netip.Addr) string { return nonlocalBind(addr) }
