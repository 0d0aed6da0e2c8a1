package netif

import (
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
)

type self struct{ conn *netlink.Conn }

func openSelf() (self, error) {
	c, err := netlink.Open(unix.NETLINK_ROUTE)
	return self{c}, err
}

func (s self) close() error { return s.conn.Close() }

func (s self) isLocal(addr netip.Addr) (bool, error) { return byZone(addr, s.conn.Local) }

func (s self) isLocalTo(to netip.AddrPort, protocol uint8) (bool, error) {
	return byZone(to.Addr(), func(addr netip.Addr, oif int) (bool, error) {
		return s.conn.LocalTo(netip.AddrPortFrom(addr, to.Port()), oif, protocol)
	})
}

// byZone asks local about addr on the interface of its zone, and on any.
func byZone(addr netip.Addr, local func(addr netip.Addr, oif int) (bool, error)) (bool, error) {
	zone := addr.Zone()
	addr = addr.WithZone("")
	if yes, err := local(addr, zoneIndex(zone)); yes || err != nil || zone == "" {
		return yes, err
	}
	// The address may be that of another interface on the same link.
	return local(addr, 0)
}

// zoneIndex returns the index of the interface that zone names, or is; 0, which
// stands for any, if there is none.
func zoneIndex(zone string) int {
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return ifi.Index
	}
	index, _ := strconv.ParseUint(zone, 10, 31)
	return int(index)
}
