//go:build !linux

package netif

import (
	"errors"
	"net/netip"
)

func exposures(netip.Addr, []Interface) ([]Exposure, error) {
	return nil, errors.New("only Linux can be asked how it would route a packet")
}
