//go:build !unix && !windows

package loopback

import (
	"errors"
	"syscall"
)

// bindFD is not supported: there are no sockets.
func bindFD(uintptr, syscall.Sockaddr) (syscall.Sockaddr, error) {
	return nil, errors.ErrUnsupported
}
