package socktab

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netlink"
)

const loopbackIndex = netif.LoopbackIndex

func onPort(port uint16) ([]Socket, error) {
	c, err := netlink.Open(unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	sockets := []Socket{}
	for _, table := range []struct {
		network          string
		family, protocol uint8
	}{
		{network: "tcp4", family: unix.AF_INET, protocol: unix.IPPROTO_TCP},
		{network: "tcp6", family: unix.AF_INET6, protocol: unix.IPPROTO_TCP},
		{network: "udp4", family: unix.AF_INET, protocol: unix.IPPROTO_UDP},
		{network: "udp6", family: unix.AF_INET6, protocol: unix.IPPROTO_UDP},
	} {
		err := c.OnPort(table.family, table.protocol, port, func(s netlink.Socket) {
			sockets = append(sockets, Socket{
				Network: table.network,
				Local:   local(s),
				Only6:   s.Only6,
				Device:  int(s.Device),
				Full:    table.protocol == unix.IPPROTO_TCP && s.Queued > s.Room,
				Owner:   Owner{UID: s.UID, Named: named(s.UID)},
				Inode:   s.Inode,
			})
		})
		if err == unix.ENOENT { // the kernel has no such table: no UDP, or no list of it
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	if len(sockets) > 0 {
		holders := processesOf(sockets)
		for i := range sockets {
			sockets[i].Owner.Processes = holders[sockets[i].Inode]
		}
	}
	return sockets, nil
}

// local returns the address of a socket. That of a link has the interface for a
// zone.
func local(s netlink.Socket) netip.AddrPort {
	addr := s.Local.Addr()
	if addr.IsLinkLocalUnicast() {
		if ifi, err := net.InterfaceByIndex(int(s.Device)); err == nil {
			return netip.AddrPortFrom(addr.WithZone(ifi.Name), s.Local.Port())
		}
	}
	return s.Local
}
