//go:build !unix && !windows

package sockctl

import (
	"errors"
	"syscall"
)

func inspect(uintptr) (Info, error) { return Info{}, errors.ErrUnsupported }

func bind(uintptr, syscall.Sockaddr) (syscall.Sockaddr, error) { return nil, errors.ErrUnsupported }
