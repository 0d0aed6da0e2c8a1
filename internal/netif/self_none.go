//go:build !unix && !windows

package netif

import (
	"errors"
	"net/netip"
)

func isLocal(netip.Addr) (bool, error) { return false, errors.ErrUnsupported }
