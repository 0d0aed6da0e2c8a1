//go:build !unix && !windows

package sockctl

import (
	"errors"
	"io"
	"net/netip"
)

func hold(netip.AddrPort) (io.Closer, error) { return nil, errors.ErrUnsupported }
