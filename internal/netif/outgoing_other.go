//go:build !linux

package netif

import (
	"errors"
	"net/netip"
)

func outgoingInterface(netip.Addr, Transport) (string, error) { return "", errors.ErrUnsupported }
