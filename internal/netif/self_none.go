//go:build !unix && !windows

package netif

import (
	"errors"
	"net/netip"
)

type self struct{}

func openSelf() (self, error) { return self{}, errors.ErrUnsupported }

func (self) close() error { return nil }

func (self) isLocal(netip.Addr) (bool, error) { return false, errors.ErrUnsupported }

func (self) isLocalTo(netip.AddrPort, uint8) (bool, error) { return false, errors.ErrUnsupported }
