//go:build (unix && !linux) || windows

package netif

import (
	"net"
	"net/netip"
)

func isLocal(addr netip.Addr) (bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == addr.WithZone("") {
			return true, nil
		}
	}
	return false, nil
}
