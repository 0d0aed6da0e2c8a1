package netif

import (
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
)

func isLocal(addr netip.Addr) (bool, error) {
	c, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return false, err
	}
	defer c.Close()
	if zone := addr.Zone(); zone != "" {
		index := zoneIndex(zone)
		if local, err := c.Local(addr.WithZone(""), index); local || err != nil || index == 0 {
			return local, err
		}
	}
	// Also with a zone: the address may be that of another interface on the
	// same link.
	return c.Local(addr.WithZone(""), 0)
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
