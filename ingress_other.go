//go:build !linux

package loopback

import (
	"errors"
	"net"
	"syscall"
)

func findLoop() (loop, error) { return scanForLoop() }

// set prepares a socket, not yet bound, for the rung.
func (g gate) set(syscall.RawConn, bool) error {
	if g.rung == IngressDevice || g.rung == IngressCheck {
		return errors.ErrUnsupported
	}
	return nil
}

// The following are for IngressCheck, which set refuses.

func ingressOf(*net.TCPConn, bool) (int, error) { return 0, errors.ErrUnsupported }

const oobSize = 0

func datagramIngress([]byte) int { return 0 }
