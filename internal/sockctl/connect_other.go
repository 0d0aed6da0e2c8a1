//go:build !linux

package sockctl

import (
	"net"
	"net/netip"
)

type connector struct{}

func (connector) close() {}

// from returns the source address of a UDP socket that is connected to addr, or
// the zero Addr where it is unknown.
func (connector) from(addr netip.Addr) (netip.Addr, error) {
	c, err := net.Dial("udp", netip.AddrPortFrom(addr, discardPort).String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	from, _ := c.LocalAddr().(*net.UDPAddr) // nil if getsockname failed
	return from.AddrPort().Addr().Unmap(), nil
}
