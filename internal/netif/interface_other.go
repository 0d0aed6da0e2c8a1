//go:build !linux

package netif

import (
	"net"
	"net/netip"
)

// addrsByIndex returns the addresses of the interfaces by their indices.
func addrsByIndex(list []net.Interface) (map[int][]netip.Prefix, error) {
	byIndex := make(map[int][]netip.Prefix)
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				byIndex[i.Index] = append(byIndex[i.Index], p)
			}
		}
	}
	return byIndex, nil
}
