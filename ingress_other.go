//go:build !linux

package loopback

import (
	"errors"
	"net"
	"syscall"
)

// available returns why this machine does not have the rung.
func (g gate) available() error {
	if g.rung == IngressDevice || g.rung == IngressCheck {
		return errors.ErrUnsupported
	}
	return nil
}

// set has nothing to prepare for the rungs that are left.
func (g gate) set(syscall.RawConn, bool) error { return nil }

// The following are for IngressCheck, which is not available.

func ingressOf(*net.TCPConn, bool) (int, error) { return 0, errors.ErrUnsupported }

const oobSize = 0

func datagramIngress([]byte) int { return 0 }
