//go:build !linux

package loopback

import (
	"errors"
	"net"
	"net/netip"
)

func wire([]iface) ([]WireReport, error) {
	return nil, errors.New("only Linux can be asked how it would route a packet")
}

// addrsByIndex returns the addresses of the interfaces by their indices.
func addrsByIndex(list []net.Interface) (map[int][]netip.Prefix, error) {
	out := make(map[int][]netip.Prefix)
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out[i.Index] = append(out[i.Index], p)
			}
		}
	}
	return out, nil
}
