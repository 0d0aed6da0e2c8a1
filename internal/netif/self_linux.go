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

func (s self) isLocal(addr netip.Addr) (bool, error) {
	if zone := addr.Zone(); zone != "" {
		index := zoneIndex(zone)
		if local, err := s.conn.Local(addr.WithZone(""), index); local || err != nil || index == 0 {
			return local, err
		}
	}
	// Also with a zone: the address may be that of another interface on the
	// same link.
	return s.conn.Local(addr.WithZone(""), 0)
}

// zoneIndex returns the index of the interface that zone names, or is; 0 if
// there is none.
func zoneIndex(zone string) int {
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return ifi.Index
	}
	index, _ := strconv.ParseUint(zone, 10, 31)
	return int(index)
}
