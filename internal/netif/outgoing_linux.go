package netif

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
)

func outgoingInterface(addr netip.Addr, t Transport) (string, error) {
	c, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return "", err
	}
	defer c.Close()
	protocol := unix.IPPROTO_TCP
	if t == UDP {
		protocol = unix.IPPROTO_UDP
	}
	index, err := c.OutgoingInterface(addr, protocol)
	if index == 0 || err != nil {
		return "", err
	}
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return "", err
	}
	return ifi.Name, nil
}
