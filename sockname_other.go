//go:build !unix && !windows

package loopback

import (
	"errors"
	"syscall"
)

// There are no sockets of a kernel here.

func socketInfoOf(uintptr) (socketInfo, error) { return socketInfo{}, errors.ErrUnsupported }

func bindFD(uintptr, syscall.Sockaddr) (syscall.Sockaddr, error) { return nil, errors.ErrUnsupported }
