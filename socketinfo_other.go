//go:build !unix && !windows

package loopback

import "errors"

// socketInfoOf cannot ask: there are no sockets of a kernel here.
func socketInfoOf(uintptr) (socketInfo, error) { return socketInfo{}, errors.ErrUnsupported }
